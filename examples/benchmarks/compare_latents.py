"""Which latents to give back: the photo's own, or less of the person, as learned in several ways.

    python examples/benchmarks/compare_latents.py --data DATA --cache DIR [--json OUT] [--taught]

LFW-89, validation images, the networks that ``benchmark_faces.py`` left in the cache. Everything is
fitted on half of the enrolled photos and the people outside the gallery. In every space the
directions that show most for what they tell are given back first, the rest of the photo's latents
is drawn; attackers are linear, see what is given back bare, and learn from the other half. With
``--taught``, the spaces are those of autoencoders that went on learning, see ``taught_latents.py``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmark_data import ATTRIBUTES, Cache, load_benchmark, together
from benchmark_faces import frontier_area, missing
from compare_orders import SHOWN, TEMPERATURE, halves_of
from taught_latents import pairs_of, perceptron, taught, told_apart
from torch import nn
from torch.nn import functional

from edials._labels import encode_attributes, encode_labels
from edials._validation import to_tensor
from edials.latent.identity_basis import fit_identity_basis, picture_metric
from edials.latent.identity_regression import fit_identity_regression
from edials.metrics.risk import attribute_cells
from edials.metrics.ssim import structural_similarity
from edials.strength.capacity import RetainedFeatures
from edials.strength.leakage import measure

COUNTS = (2, 4, 8, 16, 32, 64, 128)
STEPS, BATCH, RATE = 1500, 256, 1e-3
#: Of the head's loss beside what the pictures lose.
WEIGHTS = (0.3, 3.0, 30.0, 300.0)


def contrastive(latents: torch.Tensor, people: np.ndarray, seed: int) -> nn.Module:
    """An identity part: near for two photos of one person, and far from all others'.

    InfoNCE, van den Oord et al. (2018), "Representation learning with contrastive predictive
    coding".
    """
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    part = perceptron(latents.shape[1], 128)
    optimizer = torch.optim.AdamW(part.parameters(), RATE, weight_decay=0.05)
    for _ in range(STEPS):
        first, second = (
            functional.normalize(part(functional.dropout(latents[rows], 0.2)))
            for rows in pairs_of(people, BATCH // 2, generator)
        )
        logits = first @ second.T / 0.1
        loss = functional.cross_entropy(logits, torch.arange(len(logits)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return part.eval()


def adversarial(
    latents: torch.Tensor,
    people: np.ndarray,
    cells: np.ndarray,
    metric: torch.Tensor,
    weight: float,
    seed: int,
) -> nn.Module:
    """What is taken off, so that a head cannot tell people of one cell apart in the rest.

    Ganin et al. (2016), "Domain-adversarial training of neural networks", with the head's loss
    turned round, beside what the pictures lose.
    """
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    several = np.flatnonzero(np.bincount(people)[people] > 1)
    codes = torch.from_numpy(np.unique(people[several], return_inverse=True)[1])
    first = np.unique(codes.numpy(), return_index=True)[1]
    of_people = torch.from_numpy(cells[several][first])
    taken = perceptron(latents.shape[1], latents.shape[1])
    nn.init.zeros_(taken[2].weight)  # type: ignore[arg-type]
    head = nn.Sequential(perceptron(latents.shape[1], 128), nn.Linear(128, len(first)))
    ours = torch.optim.AdamW(taken.parameters(), RATE)
    theirs = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.05)
    for _ in range(STEPS):
        some = torch.from_numpy(generator.integers(len(several), size=BATCH))
        rows, own = latents[several][some], codes[some]
        theirs.zero_grad()
        told_apart(head((rows - taken(rows)).detach()), own, of_people).backward()
        theirs.step()
        lost = taken(rows)
        told = told_apart(head(rows - lost), own, of_people)
        loss = ((lost @ metric) * lost).sum(1).mean() - weight * told
        ours.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(taken.parameters(), 1.0)
        ours.step()
    return taken.eval()


class Space(NamedTuple):
    """What is given back, and what shows it.

    Attributes
    ----------
    name : str
    autoencoder : fitted AdversarialAutoencoder
    latents : ndarray of shape (n_photos, latent_dim)
    given : ndarray of shape (n_photos, latent_dim)
        What is given back of the latents.
    metric : ndarray of shape (latent_dim, latent_dim)
        How much each latent shows.
    """

    name: str
    autoencoder: Any
    latents: np.ndarray
    given: np.ndarray
    metric: np.ndarray


def spaces(
    autoencoder: Any,
    latents: np.ndarray,
    embeddings: np.ndarray,
    people: np.ndarray,
    cells: np.ndarray,
    fitted: np.ndarray,
) -> Iterator[Space]:
    """Of the fitted autoencoder; latents and embeddings are of all photos."""
    metric = metric_of(autoencoder, latents[fitted])
    known, rows = people[fitted], torch.from_numpy(latents)

    def space(name: str, given: np.ndarray) -> Space:
        return Space(name, autoencoder, latents, given, metric)

    yield space("as they are", latents)
    part = fit_identity_regression(latents[fitted], embeddings[fitted], known)
    yield space("less what the recogniser foretells", part.residualize(latents, embeddings))
    identity = contrastive(rows[fitted], known, seed=0)
    with torch.no_grad():
        own = functional.normalize(identity(rows)).numpy()
    part = fit_identity_regression(latents[fitted], own[fitted], known)
    yield space("less what a contrastive identity part foretells", part.residualize(latents, own))
    scale = torch.from_numpy(metric).float() / np.trace(metric) * len(metric)
    for weight in WEIGHTS:
        taken = adversarial(rows[fitted], known, cells[fitted], scale, weight, seed=0)
        with torch.no_grad():
            given = (rows - taken(rows)).numpy()
        yield space(f"against an adversarial in-cell head, {weight}", given)


def taught_spaces(
    autoencoder: Any,
    images: np.ndarray,
    latents: np.ndarray,
    embeddings: np.ndarray,
    people: np.ndarray,
    cells: np.ndarray,
    indicators: np.ndarray,
    fitted: np.ndarray,
) -> Iterator[Space]:
    """Of autoencoders that went on learning, with and without what the recogniser foretells."""
    metric, known = metric_of(autoencoder, latents[fitted]), people[fitted]
    basis = fit_identity_basis(latents[fitted], known, indicators, metric)
    for term, model in taught(autoencoder, images[fitted], known, cells[fitted], basis):
        latents = model.encode(images)
        metric = metric_of(model, latents[fitted])
        yield Space(f"taught with {term}", model, latents, latents, metric)
        part = fit_identity_regression(latents[fitted], embeddings[fitted], known)
        given = part.residualize(latents, embeddings)
        name = f"taught with {term}, less what the recogniser foretells"
        yield Space(name, model, latents, given, metric)


def metric_of(autoencoder: Any, latents: np.ndarray) -> np.ndarray:
    return picture_metric(autoencoder.decode, latents.astype(np.float64))


def draws(
    latents: np.ndarray,
    seen: np.ndarray,
    mean: np.ndarray,
    total: np.ndarray,
    fitted: np.ndarray,
    shown: np.ndarray,
) -> np.ndarray:
    """All latents of some photos, drawn given what is seen of them."""
    centred, middle = latents[fitted] - mean, seen[fitted].mean(axis=0)
    known = seen[fitted] - middle
    across = centred.T @ known / len(fitted)
    slope = across @ np.linalg.pinv(known.T @ known / len(fitted)) if seen.shape[1] else across
    values, vectors = np.linalg.eigh(total - slope @ across.T)
    noise = np.random.default_rng(0).standard_normal((len(shown), len(mean)))
    drawn = TEMPERATURE * (noise * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return (mean + (seen[shown] - middle) @ slope.T + drawn).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--taught", action="store_true", help="autoencoders that go on learning")
    options = parser.parse_args()

    data, cache = load_benchmark("lfw", options.data, size=64, quick=False), Cache(options.cache)
    autoencoder, recogniser = (cache.get(n, missing) for n in ("autoencoder", "recogniser"))
    rows = together(data.enrol, data.others)
    images = np.concatenate([rows.images, data.validation.images])
    latents, embeddings = autoencoder.encode(images), recogniser.embed(images)
    table = encode_attributes(rows.attributes, len(rows))
    people = encode_labels(rows.identity, name="identity", n_samples=len(rows)).codes
    enrolled = np.unique(data.enrol.identity.astype(str))
    codes = np.searchsorted(enrolled, data.enrol.identity.astype(str))
    first = np.unique(codes, return_index=True)[1]
    named = attribute_cells(codes, data.enrol.attributes[list(ATTRIBUTES)])[first]
    cells = np.unique(named, return_inverse=True)[1]
    of_asked = np.searchsorted(enrolled, data.validation.identity.astype(str))
    learned = np.flatnonzero(halves_of(codes))
    fitted = np.delete(np.arange(len(rows)), learned)
    judged = np.arange(len(rows), len(images))
    shown = np.linspace(0, len(judged) - 1, SHOWN).astype(int)
    originals = to_tensor(data.validation.images[shown])
    every_cell = np.unique(table.codes, axis=0, return_inverse=True)[1].ravel()
    indicators = table.one_hot()[fitted]

    found = []
    known = (latents, embeddings, people, every_cell)
    tried = spaces(autoencoder, *known, fitted)
    if options.taught:
        tried = taught_spaces(autoencoder, images, *known, indicators, fitted)
    for space in tried:
        given, latents = space.given, space.latents
        mean, total = latents[fitted].mean(axis=0), np.cov(latents[fitted].T)
        basis = fit_identity_basis(given[fitted], people[fitted], indicators, space.metric)
        bits, similar = [0.0], []
        for count in (0, *COUNTS):
            kept = basis.forward[:, basis.forward.shape[1] - count :].astype(np.float64)
            seen = (given - basis.mean) @ kept
            drawn = draws(latents, seen, mean, total, fitted, judged[shown])
            pictures = to_tensor(space.autoencoder.decode(drawn))
            similar.append(float(structural_similarity(originals, pictures).mean()))
            if count:
                gallery = RetainedFeatures(seen[learned], codes[learned])
                asked = RetainedFeatures(seen[judged], of_asked)
                told = measure(gallery, asked, cells[of_asked], cells, 0, counts=[count])
                bits.append(float(told["leakage_bits"][0]))
                row = {"space": space.name, "n_retained": count, "leakage_bits": bits[-1]}
                row |= {"error": float(told["leakage_error"][0]), "ssim": similar[-1]}
                found.append(row)
                print(json.dumps(row), flush=True)
        area = frontier_area(np.array(bits), np.array(similar))
        found.append({"space": space.name, "area": area})
        print(json.dumps(found[-1]), flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps({"rows": found}, indent=1))


if __name__ == "__main__":
    main()
