"""First honest numbers on real faces: what attackers recognise, what judges still read.

    python examples/benchmark_faces.py --dataset lfw --data DATA --cache DIR --json OUT

Risks are means over people of rank-1 recognition on ``probe``, in [0, 1]. The attackers here are
the static recognisers, linear discriminant analysis on the anonymizer's own re-encoded latents, and
a recogniser fine-tuned on the anonymized enrolment images. Networks are cached: a second run only
evaluates.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_data import (
    ATTRIBUTES,
    BenchmarkData,
    Cache,
    Faces,
    Judge,
    cut_ages,
    load_benchmark,
    together,
    train_networks,
)
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score, recall_score

from edials import EDIALSAnonymizer
from edials._validation import to_tensor
from edials.certification import STRENGTHENED, WITHHELD, is_original
from edials.exceptions import IdentityLeakWarning
from edials.losses import structural_similarity

METHODS = ("clear", "reconstruction", "surrogate 1", "evade")
METHODS += ("surrogate 0.75", "surrogate 0.5", "surrogate 0.25", "surrogate 0.125")


def fit_anonymizer(data: BenchmarkData, cache: Cache, seed: int) -> EDIALSAnonymizer:
    """The anonymizer around the cached networks; nothing of validation or probe enters."""
    cuts = cache.get("age_cuts", lambda: None) if data.name == "lfw" else None
    rows = together(data.enrol, data.others, cut_ages(data.crowd, cuts))
    return EDIALSAnonymizer(
        FrozenEstimator(cache.get("autoencoder", _missing)),
        identity_classifier=FrozenEstimator(cache.get("recogniser", _missing)),
        attribute_classifier=FrozenEstimator(cache.get("attribute_classifier", _missing)),
        random_state=seed,
    ).fit(rows.images, identity=rows.identity, attributes=rows.attributes)


def _missing() -> Any:
    raise SystemExit("The networks are not in the cache; run without --evaluate-only.")


def release(
    anonymizer: EDIALSAnonymizer, method: str, faces: Faces
) -> tuple[np.ndarray, np.ndarray]:
    """Images as released and the verdict on each, through the door that ``transform`` uses."""
    nothing = np.full(len(faces), "", dtype="U12")
    if method == "clear":
        return faces.images, nothing
    if method == "reconstruction":
        return anonymizer.autoencoder_.reconstruct(faces.images), nothing
    model = copy.copy(anonymizer)
    if method == "evade":
        model.set_params(perturbation="evade")
    else:
        model.set_params(strength=float(method.split()[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentityLeakWarning)
        result = model.anonymize(faces.images)
    images = np.full_like(faces.images, 128)
    images[result.kept_indices] = result.images
    return images, result.verdicts


def attack(
    anonymizer: EDIALSAnonymizer,
    second: Any,
    gallery: tuple[np.ndarray, np.ndarray],
    probe: tuple[np.ndarray, np.ndarray],
    clear_probe: np.ndarray,
    withheld: np.ndarray,
    cnn_epochs: int,
) -> dict[str, float]:
    """Every attacker's rank-1 success, mean over people; a withheld image counts as recognised."""
    people = probe[1]

    def success(named: np.ndarray, counts: np.ndarray = withheld) -> float:
        return float(recall_score(people, np.where(counts, people, named), average="macro"))

    nobody = np.zeros_like(withheld)
    panel, encode = anonymizer.identity_classifier_, anonymizer.autoencoder_.encode
    latents = [encode(images) for images in (gallery[0], probe[0], clear_probe)]
    linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.02)
    linear.fit(latents[0], gallery[1])
    figures = {
        "static_risk": success(panel.predict(probe[0])),
        "static_risk_second": success(second.predict(probe[0])),
        "parrot_lda": success(linear.predict(latents[1])),
        "poison_lda": success(linear.predict(latents[2]), nobody),
    }
    if cnn_epochs:
        network = copy.deepcopy(panel.estimator)
        network.set_params(
            warm_start=True,
            max_epochs=cnn_epochs,
            learning_rate=1e-3,
            validation_fraction=0.0,
            random_state=7,
        )
        network.fit(*gallery)
        figures["parrot_cnn"] = success(network.predict(probe[0]))
        figures["poison_cnn"] = success(network.predict(clear_probe), nobody)
    figures["parrot_risk"] = max(v for k, v in figures.items() if k.startswith("parrot"))
    figures["poison_risk"] = max(v for k, v in figures.items() if k.startswith("poison"))
    return figures


def utility(judge: Judge, images: np.ndarray, faces: Faces, withheld: np.ndarray) -> dict:
    """Macro-F1 of the judges; a withheld image counts as wrong."""
    table = judge.predict_table(images)
    scores = {}
    for name in ATTRIBUTES:
        true = faces.attributes[name].to_numpy().astype(str)
        guess = np.where(withheld, "withheld", table[name].to_numpy().astype(str))
        scores[name] = float(
            f1_score(true, guess, labels=np.unique(true), average="macro", zero_division=0)
        )
    return scores


def evaluate(
    method: str,
    data: BenchmarkData,
    anonymizer: EDIALSAnonymizer,
    second: Any,
    judge: Judge,
    cnn_epochs: int,
) -> dict[str, Any]:
    start = time.perf_counter()
    images, verdicts = release(anonymizer, method, data.probe)
    seconds = time.perf_counter() - start
    gallery, _ = release(anonymizer, method, data.enrol)
    withheld = verdicts == WITHHELD
    first, other = to_tensor(data.probe.images), to_tensor(images)
    error = ((first - other) ** 2).flatten(1).mean(1).clamp_min(1e-10)
    return {
        "method": method.split()[0],
        "strength": float(method.split()[1]) if " " in method else None,
        **attack(
            anonymizer,
            second,
            (gallery, data.enrol.identity.astype(str)),
            (images, data.probe.identity.astype(str)),
            data.probe.images,
            withheld,
            cnn_epochs,
        ),
        "macro_f1": utility(judge, images, data.probe, withheld),
        "ssim": float(structural_similarity(first, other).mean()),
        "psnr": float((-10 * torch.log10(error)).mean()),
        "images_per_second": len(images) / max(seconds, 1e-9),
        "withheld": float(withheld.mean()),
        "strengthened": float((verdicts == STRENGTHENED).mean()),
        "originals_among_outputs": int(is_original(data.probe.images, images).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=("lfw", "mtf"), default="lfw")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cnn-epochs", type=int, default=4)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    options = parser.parse_args()

    data = load_benchmark(options.dataset, options.data, size=options.size, quick=options.quick)
    cache = Cache(options.cache)
    needed = ("judge", "autoencoder", "attribute_classifier", "recogniser", "second_recogniser")
    if not all((options.cache / f"{name}.joblib").exists() for name in needed):
        train_networks(data, cache, options.quick)
    anonymizer = fit_anonymizer(data, cache, options.seed)
    cuts = cache.get("age_cuts", lambda: None) if data.name == "lfw" else None
    judge = Judge(cache.get("judge", _missing), cuts)
    second = cache.get("second_recogniser", _missing)

    people = data.probe.identity.astype(str)
    cells = {
        tuple(row)
        for row in data.enrol.attributes.assign(person=data.enrol.identity)
        .drop_duplicates("person")[list(ATTRIBUTES)]
        .itertuples(index=False)
    }
    meta = {
        "dataset": data.name,
        "people": len(np.unique(people)),
        "chance": 1 / len(np.unique(people)),
        "floor": len(cells) / len(np.unique(people)),
        "seed": options.seed,
        "age_cuts": cuts,
        "fit_minutes": cache.minutes(),
        "cnn_epochs": options.cnn_epochs,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    print(json.dumps(meta), flush=True)
    rows = []
    for method in options.methods:
        rows.append(evaluate(method, data, anonymizer, second, judge, options.cnn_epochs))
        print(json.dumps(rows[-1]), flush=True)
        options.json.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
