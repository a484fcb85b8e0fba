"""Which features to give back first: orders of directions, by leakage and what is left to see.

    python examples/benchmarks/compare_orders.py --data DATA --cache DIR [--json OUT] [--picture
    OUT.svg]

LFW-89, validation images, the autoencoder that ``benchmark_faces.py`` left in the cache. Every
order is found on half of the enrolled photos (and the people outside the gallery); the first k
directions of it are given back, the rest is drawn. Attackers are linear and see the given-back
features bare: once they have learned from the same half, once from the other one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmark_data import ATTRIBUTES, Cache, load_benchmark, together
from benchmark_faces import missing
from matplotlib.figure import Figure
from scipy.linalg import eigh

from edials._labels import encode_attributes, encode_labels
from edials._validation import to_tensor
from edials.audit.report.charts import draw_tradeoff
from edials.latent.identity_basis import fit_identity_basis, picture_metric
from edials.metrics.risk import attribute_cells
from edials.metrics.ssim import structural_similarity
from edials.strength.capacity import RetainedFeatures
from edials.strength.leakage import measure

COUNTS = (8, 16, 32, 64, 128, 256)
TEMPERATURE, SHOWN = 0.3, 200


def orders(latents: np.ndarray, people: np.ndarray, kept: np.ndarray, metric: np.ndarray) -> Any:
    """Directions by name, as columns, the one to give back first first."""
    several = people >= 0
    total = np.cov(latents[several].T)
    ours = fit_identity_basis(latents, people, kept, metric)
    yield "picture for identity", ours.forward[:, ::-1]
    # Between-person over within-person variance, whatever shows: every direction in turn.
    plain = fit_identity_basis(latents, people, kept, np.linalg.inv(total))
    yield "least identity", plain.forward[:, ::-1]
    yield "most picture", eigh(total @ metric @ total, total)[1][:, ::-1]
    generator = np.random.default_rng(0)
    yield "random", np.linalg.qr(generator.standard_normal(total.shape))[0]
    yield "smallest latents", np.eye(len(total))[:, np.argsort(latents.std(axis=0))]


def halves_of(people: np.ndarray) -> np.ndarray:
    """A half, 0 or 1, for every photo of every person."""
    generator = np.random.default_rng(0)
    half = np.zeros(len(people), dtype=int)
    for person in np.unique(people):
        own = generator.permutation(np.flatnonzero(people == person))
        half[own] = np.arange(len(own)) % 2
    return half


def seen(
    decode: Any, latents: np.ndarray, mean: np.ndarray, total: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Pictures of which the directions ``kept`` are given back and the rest is drawn."""
    slope = total @ kept @ np.linalg.inv(kept.T @ total @ kept)
    rest = total - slope @ (kept.T @ total)
    values, vectors = np.linalg.eigh((rest + rest.T) / 2)
    noise = np.random.default_rng(0).standard_normal(latents.shape)
    drawn = TEMPERATURE * (noise * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return decode((mean + (latents - mean) @ kept @ slope.T + drawn).astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="SVG")
    options = parser.parse_args()

    data = load_benchmark("lfw", options.data, size=64, quick=False)
    autoencoder = Cache(options.cache).get("autoencoder", missing)
    rows = together(data.enrol, data.others)
    latents = autoencoder.encode(rows.images).astype(np.float64)
    asked = autoencoder.encode(data.validation.images).astype(np.float64)
    table = encode_attributes(rows.attributes, len(rows))
    names = encode_labels(rows.identity, name="identity", n_samples=len(rows))
    enrolled = np.arange(len(data.enrol))
    people = np.unique(data.enrol.identity.astype(str), return_inverse=True)[1]
    first = np.unique(people, return_index=True)[1]
    named = attribute_cells(people, data.enrol.attributes[list(ATTRIBUTES)])[first]
    cells = np.unique(named, return_inverse=True)[1]
    of_asked = np.searchsorted(
        np.unique(data.enrol.identity.astype(str)), data.validation.identity.astype(str)
    )
    turn = halves_of(people)
    halves = {"same photos": enrolled[turn == 0], "other photos": enrolled[turn == 1]}
    fitted = np.delete(np.arange(len(rows)), halves["other photos"])
    metric = picture_metric(autoencoder.decode, latents[fitted])
    mean, total = latents[fitted].mean(axis=0), np.cov(latents[fitted].T)
    shown = np.linspace(0, len(asked) - 1, SHOWN).astype(int)
    originals = to_tensor(data.validation.images[shown])

    def similarity(kept: np.ndarray) -> float:
        pictures = seen(autoencoder.decode, asked[shown], mean, total, kept)
        return float(structural_similarity(originals, to_tensor(pictures)).mean())

    found = []
    arguments = (latents[fitted], names.codes[fitted], table.one_hot()[fitted], metric)
    with torch.inference_mode():
        for name, directions in orders(*arguments):
            for count in COUNTS:
                kept = directions[:, :count].astype(np.float64)
                row: dict[str, Any] = {"order": name, "n_retained": count}
                row["ssim"] = similarity(kept)
                judged = RetainedFeatures((asked - mean) @ kept, of_asked)
                for which, photos in halves.items():
                    known = (latents[photos] - mean) @ kept
                    gallery = RetainedFeatures(known, people[photos])
                    told = measure(gallery, judged, cells[of_asked], cells, 0, counts=[count])
                    row[which] = float(told["leakage_bits"][0])
                    row[f"{which}, error"] = float(told["leakage_error"][0])
                found.append(row)
                print(json.dumps(row), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"rows": found}, indent=1))
    if options.picture is not None:
        rows = [row for row in found if row["n_retained"] in (16, 64)]
        names = [f"{row['order']}, {row['n_retained']}" for row in rows]
        table = pd.DataFrame(rows, index=names).rename(columns={"other photos": "leakage_bits"})
        figure = Figure(figsize=(8, 4), layout="constrained")
        draw_tradeoff(figure.subplots(), table.assign(leakage_low=np.nan, leakage_high=np.nan))
        figure.savefig(options.picture)


if __name__ == "__main__":
    main()
