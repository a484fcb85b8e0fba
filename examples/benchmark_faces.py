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
    Judge,
    cut_ages,
    load_benchmark,
    together,
    train_networks,
)
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import recall_score

from edials import EDIALSAnonymizer
from edials.audit.attackers import LatentAttacker, StaticAttacker
from edials.audit.retention import picture_retention
from edials.audit.risk import attribute_floor, cross_validated_risk
from edials.audit.utility import macro_f1
from edials.certification import is_blank, is_original
from edials.exceptions import IdentityLeakWarning

METHODS = ("clear", "reconstruction", "surrogate 1", "evade")
METHODS += ("surrogate 0.75", "surrogate 0.5", "surrogate 0.25", "surrogate 0.125")


def fit_anonymizer(data: BenchmarkData, cache: Cache, seed: int) -> EDIALSAnonymizer:
    """The anonymizer around the cached networks; nothing of validation or probe enters."""
    cuts = cache.get("age_cuts", lambda: None) if data.name == "lfw" else None
    rows = together(data.enrol, data.others, cut_ages(data.crowd, cuts))
    return EDIALSAnonymizer(
        FrozenEstimator(cache.get("autoencoder", missing)),
        identity_classifier=FrozenEstimator(cache.get("recogniser", missing)),
        attribute_classifier=FrozenEstimator(cache.get("attribute_classifier", missing)),
        random_state=seed,
    ).fit(rows.images, identity=rows.identity, attributes=rows.attributes)


def missing() -> Any:
    raise SystemExit("The networks are not in the cache; run benchmark_faces.py first.")


def configured(anonymizer: EDIALSAnonymizer, method: str) -> EDIALSAnonymizer:
    """The anonymizer set to a method's mode."""
    model = copy.copy(anonymizer)
    if method == "evade":
        return model.set_params(perturbation="evade")
    return model.set_params(
        strength=0.0 if method == "reconstruction" else float(method.split()[1])
    )


def release(anonymizer: EDIALSAnonymizer, method: str, images: np.ndarray) -> np.ndarray:
    """Images as released, by ``transform``; it sees no labels."""
    if method == "clear":
        return images
    if method == "reconstruction":
        return anonymizer.autoencoder_.reconstruct(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentityLeakWarning)
        return configured(anonymizer, method).transform(images)


def attack(
    anonymizer: EDIALSAnonymizer,
    second: Any,
    gallery: tuple[np.ndarray, np.ndarray],
    probe: tuple[np.ndarray, np.ndarray],
    clear_probe: np.ndarray,
    withheld: np.ndarray,
    cnn_epochs: int,
    seed: int,
) -> dict[str, float]:
    """Every attacker's rank-1 success, mean over people; a withheld image counts as recognised."""
    names, codes = np.unique(gallery[1], return_inverse=True)

    def success(attacker: Any, images: np.ndarray, counted: np.ndarray) -> float:
        named = names[attacker.scores(images).argmax(axis=1)]
        return float(recall_score(probe[1], np.where(counted, probe[1], named), average="macro"))

    def poisoned(attacker: Any) -> float:
        return success(attacker, clear_probe, np.zeros_like(withheld))

    panel = anonymizer.identity_classifier_
    linear = LatentAttacker(anonymizer.autoencoder_).fit(gallery[0], codes)
    figures = {
        "static_risk": success(StaticAttacker(panel), probe[0], withheld),
        "static_risk_second": success(StaticAttacker(second), probe[0], withheld),
        "parrot_lda": success(linear, probe[0], withheld),
        "poison_lda": poisoned(linear),
    }
    if cnn_epochs:
        network = copy.deepcopy(panel.estimator).set_params(
            warm_start=True,
            max_epochs=cnn_epochs,
            learning_rate=1e-3,
            validation_fraction=0.0,
            random_state=seed + 7,
        )
        retrained = StaticAttacker(network.fit(*gallery))
        figures["parrot_cnn"] = success(retrained, probe[0], withheld)
        figures["poison_cnn"] = poisoned(retrained)
    figures["parrot_risk"] = max(v for k, v in figures.items() if k.startswith("parrot"))
    figures["poison_risk"] = max(v for k, v in figures.items() if k.startswith("poison"))
    return figures


def evaluate(
    method: str,
    data: BenchmarkData,
    anonymizer: EDIALSAnonymizer,
    second: Any,
    judge: Judge,
    cnn_epochs: int,
    seed: int,
    replaced: np.ndarray,
) -> dict[str, Any]:
    """One row of the table: what is recognised, what is still read, what is left to see."""
    start = time.perf_counter()
    images = release(anonymizer, method, data.probe.images)
    seconds = time.perf_counter() - start
    gallery = release(anonymizer, method, data.enrol.images)
    withheld = is_blank(images)
    figures = attack(
        anonymizer,
        second,
        (gallery, data.enrol.identity.astype(str)),
        (images, data.probe.identity.astype(str)),
        data.probe.images,
        withheld,
        cnn_epochs,
        seed,
    )
    if len(data.unseen) and method != "evade":
        people = np.unique(data.unseen.identity.astype(str), return_inverse=True)[1]
        figures["unseen_parrot_lda"] = cross_validated_risk(
            LatentAttacker(anonymizer.autoencoder_),
            release(anonymizer, method, data.unseen.images),
            people,
        )
    return {
        "method": method.split()[0],
        "strength": float(method.split()[1]) if " " in method else None,
        **figures,
        "macro_f1": macro_f1(judge, images, data.probe.attributes[list(ATTRIBUTES)], withheld),
        **picture_retention(data.probe.images, images),
        "images_per_second": len(images) / max(seconds, 1e-9),
        "withheld": float(withheld.mean()),
        # What the door made again at strength 1: a picture equal to that of the strength-1 release.
        "strengthened": float((images == replaced).all(axis=(1, 2, 3)).mean()),
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
    parser.add_argument("--cnn-epochs", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    options = parser.parse_args()

    data = load_benchmark(options.dataset, options.data, size=options.size, quick=options.quick)
    cache = Cache(options.cache)
    needed = ("judge", "autoencoder", "attribute_classifier", "recogniser", "second_recogniser")
    if not all((options.cache / f"{name}.joblib").exists() for name in needed):
        train_networks(data, cache, options.quick)
    anonymizer = fit_anonymizer(data, cache, options.seed)
    cuts = cache.get("age_cuts", lambda: None) if data.name == "lfw" else None
    judge = Judge(cache.get("judge", missing), cuts)
    second = cache.get("second_recogniser", missing)

    people = np.unique(data.enrol.identity.astype(str), return_inverse=True)[1]
    cells = data.enrol.attributes.groupby(list(ATTRIBUTES)).ngroup().to_numpy()
    count = int(people.max()) + 1
    meta = {
        "dataset": data.name,
        "people": count,
        "chance": 1 / count,
        "floor": attribute_floor(people, cells),
        "seed": options.seed,
        "age_cuts": cuts,
        "fit_minutes": cache.minutes(),
        "cnn_epochs": options.cnn_epochs,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    print(json.dumps(meta), flush=True)
    replaced = release(anonymizer, "surrogate 1", data.probe.images)
    rows = []
    for method in options.methods:
        rows.append(
            evaluate(
                method, data, anonymizer, second, judge, options.cnn_epochs, options.seed, replaced
            )
        )
        print(json.dumps(rows[-1]), flush=True)
        options.json.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
