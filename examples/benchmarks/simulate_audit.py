"""Is the ruler straight: the audit where the truth is known, many times over.

    python examples/benchmarks/simulate_audit.py [--only NAME ...] [--json OUT] [--scale 0.1]

Pure noise and surrogates of known attributes must be judged as nothing, a planted tenth of a bit
and made-up anonymizers that leave something must be found, and intervals must contain the truth.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from edials import AdversarialAutoencoder, AttributeClassifier, EDIALSAnonymizer, IdentityClassifier
from edials._labels import encode_attributes
from edials.audit import AuditReport, audit
from edials.audit.attackers.base import PixelAttacker
from edials.audit.figures import AttackFigures, People, evaluate_scores
from edials.datasets import draw_factors, make_faces, render_faces
from edials.metrics.album import pool_releases
from edials.metrics.leakage import confidence_interval
from edials.metrics.linear_attack import LatentAttacker

KEPT = ["age", "gender"]
_LINEAR = ("LDA on the pixels", "LDA on the surroundings")


def noise(repeats: int) -> dict[str, Any]:
    """Released images of nothing: uniform noise, 36 people of 14 photos."""
    town = make_faces(36, 14, size=32, random_state=1)
    reports = []
    for seed in range(repeats):
        images = np.random.default_rng(seed).integers(0, 256, town.images.shape, dtype=np.uint8)
        reports.append(_quick_audit(town, images, seed))
    return _null(reports)


def surrogates(repeats: int) -> dict[str, Any]:
    """Strength 1 where the attributes are known: another key and other people every time.

    The draws depend on the true attributes alone, so there is nothing else to find.
    """
    model = fitted_model()
    reports = []
    for seed in range(repeats):
        town = make_faces(36, 14, size=32, random_state=1000 + seed)
        told = copy.copy(model)
        told.attribute_classifier_ = TrueAttributes(model.attribute_classifier_, town)
        told._records = []  # the truth needs no help
        told = told.with_new_key(seed)
        attackers = [LatentAttacker(model.autoencoder_), *_LINEAR]
        reports.append(_quick_audit(town, told.transform(town.images), seed, attackers))
    return _null(reports)


def predicted(repeats: int) -> dict[str, Any]:
    """Strength 1 as ``transform`` does it: the attributes are read off each image.

    No null: a person whom the classifier misreads in the same way every time is marked by that.
    """
    model = fitted_model()
    classes = model.attribute_classifier_.classes_per_attribute_
    reports, steady = [], []
    for seed in range(repeats):
        town = make_faces(36, 14, size=32, random_state=1000 + seed)
        other = model.with_new_key(seed)
        read = model._engine().reader.codes(town.images)
        true = encode_attributes(town.attributes[KEPT], len(read), classes).codes
        steady.append((read == true).all(axis=1).mean())
        attackers = [LatentAttacker(model.autoencoder_), *_LINEAR]
        reports.append(_quick_audit(town, other.transform(town.images), seed, attackers))
    return {**_null(reports), "share of images read rightly": float(np.mean(steady))}


def fitted_model() -> EDIALSAnonymizer:
    """A small anonymizer, fitted on made-up people."""
    seen = make_faces(36, 14, size=32, random_state=1)
    return EDIALSAnonymizer(
        AdversarialAutoencoder("tiny", random_state=0),
        identity_classifier=IdentityClassifier("tiny", max_epochs=40, random_state=0),
        attribute_classifier=AttributeClassifier("tiny", random_state=0),
        strength=1.0,
        random_state=0,
    ).fit(seen.images, identity=seen.identity, attributes=seen.attributes[KEPT])


class TrueAttributes:
    """An attribute classifier that knows the labels of some images, and judges pictures as before.

    Parameters
    ----------
    classifier : AttributeClassifier
    town : Bunch
        Of :func:`make_faces`.
    """

    def __init__(self, classifier: AttributeClassifier, town: Any):
        self.logits = classifier.logits
        self.classes_per_attribute_ = classifier.classes_per_attribute_
        known = encode_attributes(
            town.attributes[KEPT], len(town.images), classifier.classes_per_attribute_
        )
        self.codes = {
            image.tobytes(): codes for image, codes in zip(town.images, known.codes, strict=True)
        }

    def predict_codes(self, images: np.ndarray) -> np.ndarray:
        """True codes, shape (n, n_attributes)."""
        return np.stack([self.codes[image.tobytes()] for image in images])


def _quick_audit(town: Any, images: np.ndarray, seed: int, attackers: Any = "quick") -> AuditReport:
    return audit(
        town.images,
        images,
        identity=town.identity,
        attributes=town.attributes[KEPT],
        attackers=attackers,
        random_state=seed,
    )


def _null(reports: list[AuditReport]) -> dict[str, Any]:
    worst = [report.worst for report in reports if report.worst is not None]
    return {
        "simulations": len(reports),
        "leakage interval contains 0": sum(w.leakage_low <= 0 <= w.leakage_high for w in worst),
        "leakage interval above 0": sum(w.leakage_low > 0 for w in worst),
        "AUC interval contains 0.5": sum(w.auc_low <= 0.5 <= w.auc_high for w in worst),
        "p_value_any below 0.05": sum(report.leak_found for report in reports),
        "album p-value below 0.05": sum(w.album_p_value < 0.05 for w in worst),
        "mean EER": float(np.mean([w.eer for w in worst])),
        "mean TAR at FMR 1 %": float(np.nanmean([w.tar_at_fmr_1e2 for w in worst])),
        "mean predicted-cell risk less its floor": float(
            np.mean([r.worst.risk_predicted_cell - r.floor_predicted_cell for r in reports])
        ),
        "still learning": sum(any(o.still_learning for o in r.outcomes) for r in reports),
    }


def power(repeats: int) -> dict[str, Any]:
    """Scores with a tenth of a bit about the person: 89 people in 13 cells."""
    truth = _planted(10**6, 0.4, 400).leakage_bits
    found = [_planted(seed, 0.4, 10) for seed in range(repeats)]
    return {
        "simulations": repeats,
        "planted (bit)": truth,
        "leakage interval above 0": sum(f.leakage_low > 0 for f in found),
        "p-value below 0.05": sum(f.p_value < 0.05 for f in found),
    }


def _planted(seed: int, signal: float, n_probe: int) -> AttackFigures:
    generator, cells = np.random.default_rng(seed), np.arange(89) % 13

    def part(n: int) -> tuple[np.ndarray, People]:
        codes = np.repeat(np.arange(89), n)
        scores = generator.standard_normal((len(codes), 89))
        scores[np.arange(len(codes)), codes] += signal
        return scores, People(codes, cells)

    validation, probe = part(6), part(n_probe)
    return evaluate_scores(
        "planted",
        "released",
        validation=validation,
        probe=probe,
        clear_accuracy=1,
        validity_threshold=0,
    )


def drawn_again(repeats: int) -> dict[str, Any]:
    """Faces rendered again: all identity factors afresh, or 30 % of them kept."""
    result: dict[str, Any] = {"seeds": repeats}
    for name, share in (("nothing kept", 0.0), ("30 % kept", 0.3)):
        reports = []
        for seed in range(repeats):
            town = make_faces(36, 14, size=32, random_state=seed)
            reports.append(_quick_audit(town, render_again(town, share, 100 + seed), seed))
        worst = [report.worst for report in reports if report.worst is not None]
        result[f"{name}: found"] = sum(report.leak_found for report in reports)
        result[f"{name}: leakage interval above 0"] = sum(w.leakage_low > 0 for w in worst)
        result[f"{name}: excess interval contains 0"] = sum(
            w.excess_low <= 0 <= w.excess_high for w in worst
        )
    return result


def render_again(town: Any, kept_share: float, seed: int) -> np.ndarray:
    """Other people with the same kept attributes, or with a share of the same factors.

    Race is not kept, so it is drawn afresh as well.
    """
    generator = np.random.default_rng(seed)
    fresh = draw_factors(len(town.images), random_state=seed)
    own = town.factors.loc[town.identity].reset_index(drop=True)
    columns = generator.permutation(own.columns)[: round(kept_share * own.shape[1])]
    fresh[columns] = own[columns]
    races = generator.choice(town.attributes["race"].unique(), len(fresh))
    return render_faces(fresh, town.attributes.assign(race=races), town.nuisance, size=32)


def left_out(repeats: int) -> dict[str, Any]:
    """Every image shows one of the two others of the cell; one release, and four of them."""
    single, pooled = [], []
    for seed in range(repeats):
        town = make_faces(54, 10, size=32, random_state=seed)
        releases = [someone_else(town, 1000 * seed + turn) for turn in range(4)]
        single.append(
            audit(
                town.images,
                releases[0],
                identity=town.identity,
                attributes=town.attributes,
                attackers="quick",
                random_state=seed,
            )
        )
        pooled.append(judge_releases(town, releases))
    return {
        "seeds": repeats,
        "one release: found": sum(report.leak_found for report in single),
        "four releases: p-value below 0.05": sum(f.p_value < 0.05 for f in pooled),
        "four releases: leakage interval above 0": sum(f.leakage_low > 0 for f in pooled),
    }


def someone_else(town: Any, seed: int) -> np.ndarray:
    """Render every image again as one of the others of its person's cell."""
    generator = np.random.default_rng(seed)
    people, cells = people_and_cells(town)
    shown = [
        generator.choice(np.flatnonzero((cells == cells[p]) & (np.arange(len(cells)) != p)))
        for p in people
    ]
    return render_faces(town.factors.iloc[shown], town.attributes, town.nuisance, size=32)


def people_and_cells(town: Any) -> tuple[np.ndarray, np.ndarray]:
    first, people = np.unique(town.identity, return_index=True, return_inverse=True)[1:]
    return people, town.attributes.groupby(list(town.attributes)).ngroup().to_numpy()[first]


def judge_releases(town: Any, releases: list[np.ndarray]) -> AttackFigures:
    """One linear attacker who learns from several releases and pools their scores."""
    people, cells = people_and_cells(town)
    turn = np.arange(len(people)) % 10  # made-up photos are in no order
    enrol = np.flatnonzero(turn < 6)
    attacker = PixelAttacker().fit(
        np.concatenate([release[enrol] for release in releases]),
        np.tile(people[enrol], len(releases)),
    )
    validation, probe = (
        (
            pool_releases([attacker.scores(release[rows]) for release in releases]),
            People(people[rows], cells),
        )
        for rows in (np.flatnonzero((turn == 6) | (turn == 7)), np.flatnonzero(turn > 7))
    )
    return evaluate_scores(
        "pooled",
        "released",
        validation=validation,
        probe=probe,
        clear_accuracy=1,
        validity_threshold=0,
    )


def coverage(repeats: int) -> dict[str, Any]:
    """Intervals of a mean over people, and of a whole judgement, against their known truth."""
    generator, means = np.random.default_rng(0), 0
    for repeat in range(repeats):
        chances = generator.beta(2, 8, size=60)
        low, high = confidence_interval(generator.binomial(10, chances) / 10, seed=repeat)
        means += low <= 0.2 <= high
    true = _planted(10**6, 1.0, 400)
    found = [_planted(seed, 1.0, 10) for seed in range(repeats)]
    return {
        "simulated releases": repeats,
        "mean over people": means / repeats,
        "risk": float(np.mean([f.ci_low <= true.risk <= f.ci_high for f in found])),
        "excess": float(
            np.mean([f.excess_low <= true.in_cell_excess <= f.excess_high for f in found])
        ),
        "leakage (97.5 %)": float(
            np.mean([f.leakage_low <= true.leakage_bits <= f.leakage_high for f in found])
        ),
        "AUC (97.5 %)": float(
            np.mean([f.auc_low <= true.in_cell_auc <= f.auc_high for f in found])
        ),
    }


# Name, function, how many simulations the claims are about.
PARTS: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "noise": (noise, 100),
    "surrogates": (surrogates, 100),
    "predicted": (predicted, 10),
    "power": (power, 100),
    "drawn_again": (drawn_again, 10),
    "left_out": (left_out, 10),
    "coverage": (coverage, 200),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the simulations")
    options = parser.parse_args()
    results = {}
    for name in options.only:
        part, repeats = PARTS[name]
        start = time.perf_counter()
        results[name] = part(max(2, round(repeats * options.scale)))
        results[name]["seconds"] = time.perf_counter() - start
        print(f"\n{name}\n{pd.Series(results[name], dtype=object).to_string()}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
