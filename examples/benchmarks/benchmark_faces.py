"""First honest numbers on real faces: what attackers recognise, what judges still read.

    python examples/benchmarks/benchmark_faces.py --dataset lfw --data DATA --cache DIR --json OUT

Risks are means over people of rank-1 recognition on ``probe``, in [0, 1]. The attackers here are
naive recognisers of clear photos, linear discriminant analysis on the anonymizer's own re-encoded
latents, and a recogniser fine-tuned on the anonymized enrolment images. Networks are cached: a
second run only evaluates.
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
from scipy.integrate import trapezoid
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import recall_score

from edials import EDIALSAnonymizer
from edials.audit import audit
from edials.audit.attackers.base import ClassifierAttacker, NaiveAttacker
from edials.audit.attackers.inversion import InversionAttacker
from edials.audit.attackers.registry import make_attackers
from edials.audit.disclosure import donor_matches
from edials.audit.utility import macro_f1
from edials.exceptions import IdentityLeakWarning
from edials.metrics.linear_attack import LatentAttacker
from edials.metrics.retention import picture_retention
from edials.metrics.risk import attribute_floor, cross_validated_risk
from edials.release.certification import is_blank, is_original

METHODS = ("clear", "reconstruction", "full", "calibrated", "evade")
METHODS += ("surrogate 0.98", "surrogate 0.95", "surrogate 0.9", "surrogate 0.75", "surrogate 0.5")
AUDITED = ("clear", "reconstruction", "full", "calibrated", "evade")


def fit_anonymizer(data: BenchmarkData, cache: Cache, seed: int) -> EDIALSAnonymizer:
    """The anonymizer around the cached networks, cached itself."""
    return cache.get(f"anonymizer, seed {seed}", lambda: _fitted(data, cache, seed))


def _fitted(data: BenchmarkData, cache: Cache, seed: int) -> EDIALSAnonymizer:
    """Nothing of validation or probe enters."""
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
    if method == "calibrated":
        return model
    if method in ("full", "reconstruction"):
        return model.set_params(strength=float(method == "full"))
    return model.set_params(strength=float(method.split()[1]))


def release(anonymizer: EDIALSAnonymizer, method: str, images: np.ndarray) -> np.ndarray:
    """Images as released, by ``transform``; it sees no labels."""
    if method == "clear":
        return images
    if method == "reconstruction":
        return anonymizer.autoencoder_.reconstruct(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentityLeakWarning)
        return configured(anonymizer, method).transform(images)


def recognisers(cache: Cache, epochs: int, seed: int) -> list[Any]:
    """The trained recognisers as attackers: two that know clear photos, one that goes on learning.

    All were taught by the enrolled photos and by people outside the benchmark.
    """
    recogniser = cache.get("recogniser", missing)
    second = NaiveAttacker(cache.get("second_recogniser", missing))
    second.name, second.kind = "second recogniser of clear photos", "unseen"
    learning = copy.deepcopy(recogniser).set_params(
        warm_start=True,
        max_epochs=epochs,
        learning_rate=1e-3,
        validation_fraction=0.0,
        random_state=seed + 7,
    )
    return [
        NaiveAttacker(recogniser),
        second,
        ClassifierAttacker(learning, "recogniser, retrained"),
    ]


def audited(
    method: str,
    data: BenchmarkData,
    anonymizer: EDIALSAnonymizer,
    judge: Judge,
    attackers: list[Any],
    seed: int,
) -> dict[str, Any]:
    """The columns that an audit adds: attackers chosen on validation, probe reported once.

    ``other_photos`` is the same question asked by who learns from photos that the anonymizer was
    not fitted on: the validation photos; half of the probes calibrate, the other half is reported.
    ``donor_match`` is over a false match rate of the enrolled among themselves, and
    ``donor_match_by_strangers`` of strangers with the enrolled.
    """
    faces = together(data.enrol, data.validation, data.probe)
    sizes = [len(data.enrol), len(data.validation), len(data.probe)]
    split = np.repeat(["enrol", "validation", "probe"], sizes)
    images = release(anonymizer, method, faces.images)
    maker = None if method == "clear" else configured(anonymizer, method)
    common: dict[str, Any] = {
        "identity": faces.identity.astype(str),
        "attributes": faces.attributes[list(ATTRIBUTES)],
        "anonymizer": maker,
        "attribute_classifier": judge,
        "random_state": seed,
    }
    report = audit(faces.images, images, split=split, attackers=attackers, **common)
    turn = np.cumsum(split == "probe") % 2
    others = np.where(split == "validation", "enrol", "none")
    others = np.where(split == "probe", np.where(turn, "validation", "probe"), others)
    linear = make_attackers("quick", maker, seed)
    other = audit(faces.images, images, split=others, attackers=linear, **common).worst
    worst, linkage = report.worst, report.linkage
    told = (
        {}
        if worst is None
        else {
            "worst_attacker": worst.name,
            "risk": worst.risk,
            "leakage_bits": worst.leakage_bits,
            "leakage_ci": [worst.leakage_low, worst.leakage_high],
            "in_cell_excess": worst.in_cell_excess,
            "excess_ci": [worst.excess_low, worst.excess_high],
            "in_cell_auc": worst.in_cell_auc,
            "auc_ci": [worst.auc_low, worst.auc_high],
            "album_excess": worst.album_risk - worst.album_null,
        }
    )
    if other is not None:
        told["other_photos"] = {
            "worst_attacker": other.name,
            "leakage_bits": other.leakage_bits,
            "leakage_ci": [other.leakage_low, other.leakage_high],
            "in_cell_excess": other.in_cell_excess,
            "in_cell_auc": other.in_cell_auc,
        }
    watched = [a for a in attackers if isinstance(a, NaiveAttacker) and a.embed]
    if len(data.unseen):
        names, codes = np.unique(faces.identity.astype(str), return_inverse=True)
        outside = np.unique(data.unseen.identity.astype(str), return_inverse=True)[1] + len(names)
        gallery, probe = split == "enrol", split == "probe"
        # The recognisers were taught to keep the enrolled apart: they match strangers more often.
        told["donor_match_by_strangers"] = max(
            donor_matches(
                attacker.embed,
                (faces.images[gallery], codes[gallery]),
                (data.unseen.images, outside),
                (images[probe], codes[probe]),
                seed=seed,
            )["ratio at FMR 0.01"]
            for attacker in watched
        )
    undone = [o for o in report.outcomes if o.kind == "inversion"]
    donors = [m for m in report.measures.values() if "ratio at FMR 0.01" in m]
    return {
        **told,
        "linkage_excess": linkage["linked"] - linkage["null"],
        "reverse_gain": undone[0].in_cell_excess if undone else None,
        "donor_match": max((m["ratio at FMR 0.01"] for m in donors), default=None),
        "p_value_any": report.p_value_any,
        "attackers": json.loads(report.to_json())["attackers"],
        "groups": json.loads(report.groups.to_json()),
    }


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

    def reverse_success(attacker: Any) -> float:
        return success(attacker, clear_probe, np.zeros_like(withheld))

    recogniser = anonymizer.identity_classifier_
    linear = LatentAttacker(anonymizer.autoencoder_).fit(gallery[0], codes)
    figures = {
        "naive_risk": success(NaiveAttacker(recogniser), probe[0], withheld),
        "naive_risk_second": success(NaiveAttacker(second), probe[0], withheld),
        "parrot_lda": success(linear, probe[0], withheld),
        "reverse_lda": reverse_success(linear),
    }
    if cnn_epochs:
        network = copy.deepcopy(recogniser.estimator).set_params(
            warm_start=True,
            max_epochs=cnn_epochs,
            learning_rate=1e-3,
            validation_fraction=0.0,
            random_state=seed + 7,
        )
        retrained = NaiveAttacker(network.fit(*gallery))
        figures["parrot_cnn"] = success(retrained, probe[0], withheld)
        figures["reverse_cnn"] = reverse_success(retrained)
    figures["parrot_risk"] = max(v for k, v in figures.items() if k.startswith("parrot"))
    figures["reverse_risk"] = max(v for k, v in figures.items() if k.startswith("reverse"))
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
    audit_columns: dict[str, Any],
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
        "method": method if method in AUDITED else "surrogate",
        "strength": _strength(anonymizer, method),
        **figures,
        **audit_columns,
        "macro_f1": macro_f1(
            judge.predict_table(images), data.probe.attributes[list(ATTRIBUTES)], withheld
        ),
        **picture_retention(data.probe.images, images),
        "images_per_second": len(images) / max(seconds, 1e-9),
        "withheld": float(withheld.mean()),
        # What the door made again at strength 1: a picture equal to that of the strength-1 release.
        "strengthened": float((images == replaced).all(axis=(1, 2, 3)).mean()),
        "originals_among_outputs": int(is_original(data.probe.images, images).sum()),
    }


def _strength(anonymizer: EDIALSAnonymizer, method: str) -> float | None:
    if method == "calibrated":
        return anonymizer.strength_
    return {"full": 1.0, "reconstruction": 0.0}.get(
        method, float(method.split()[1]) if " " in method else None
    )


def frontier_area(bits: np.ndarray, ssim: np.ndarray) -> float:
    """Similarity above 0.274 over the frontier from 0 to 0.5 bit: larger is better."""
    most = np.maximum.accumulate(np.maximum(bits, 0))  # whoever tells less tells no more before
    inside = most <= 0.5
    ends = np.append(most[inside], 0.5)
    return float(trapezoid(np.append(ssim[inside], np.interp(0.5, most, ssim)) - 0.274, ends))


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
    parser.add_argument("--audit", nargs="*", default=list(AUDITED), choices=METHODS)
    parser.add_argument("--reverse", action="store_true", help="also try to undo, which takes long")
    options = parser.parse_args()

    data = load_benchmark(options.dataset, options.data, size=options.size, quick=options.quick)
    cache = Cache(options.cache)
    needed = ("judge", "autoencoder", "attribute_classifier", "recogniser", "second_recogniser")
    if not all((options.cache / f"{name}.joblib").exists() for name in needed):
        train_networks(data, cache, options.quick)
    anonymizer = fit_anonymizer(data, cache, options.seed)
    frontier = getattr(anonymizer, "frontier_", {})  # absent where too few people are
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
        "minutes": cache.minutes(),
        "frontier": {k: v.tolist() for k, v in frontier.items()},
        "frontier_area": frontier_area(frontier["leakage_bits"], frontier["ssim"])
        if frontier
        else None,
        "cnn_epochs": options.cnn_epochs,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    print(json.dumps(meta), flush=True)
    replaced = release(anonymizer, "full", data.probe.images)
    attackers = recognisers(cache, options.cnn_epochs, options.seed)
    if options.reverse:
        attackers.append(InversionAttacker(random_state=options.seed))
    fitted = (
        "autoencoder",
        "attribute_classifier",
        "recogniser",
        f"anonymizer, seed {options.seed}",
    )
    fit_minutes = sum(cache.minutes()[name] for name in fitted)  # the judges are not ours
    rows = []
    for method in options.methods:
        columns = {}
        if method in options.audit:
            maker = None if method == "clear" else configured(anonymizer, method)
            recogniser = [*make_attackers("quick", maker, options.seed), *attackers]
            columns = audited(method, data, anonymizer, judge, recogniser, options.seed)
        rows.append(
            evaluate(
                method,
                data,
                anonymizer,
                second,
                judge,
                options.cnn_epochs,
                options.seed,
                replaced,
                columns,
            )
        )
        rows[-1]["fit_minutes"] = None if method == "clear" else fit_minutes
        print(json.dumps(rows[-1]), flush=True)
        options.json.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
