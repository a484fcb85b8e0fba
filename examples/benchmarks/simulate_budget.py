"""Does calibration keep its promise: towns of 100 made-up people, and the leakage that came of it.

    python examples/benchmarks/simulate_budget.py [--repeats 100] [--by-heart] [--json OUT]

Features are principal components of pictures, and the recogniser is a linear one. Calibration sees
14 photos of everybody. With ``--by-heart`` the recogniser has learned its photos so: all of a
person's look the same to it, and only new ones differ. The truth is what attackers find who learn
from 30 more photos of everybody and are judged on another 30, in the basis that the 14 gave.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import normalize

from edials._labels import encode_attributes, encode_labels
from edials.datasets import make_faces
from edials.exceptions import CalibrationWarning
from edials.fitting.data import TrainingData
from edials.latent.identity_basis import fit_identity_basis
from edials.latent.identity_regression import fit_identity_regression
from edials.metrics.permutation import mean_scores_by_person
from edials.metrics.risk import attribute_cells
from edials.strength.capacity import RetainedFeatures
from edials.strength.leakage import measure
from edials.strength.selection import select_n_retained
from edials.strength.splits import random_half_splits, split_photos

KEPT = ["age", "gender"]
PEOPLE, FITTED, MORE = 100, 14, 60


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / np.float32(255)


def town_of(seed: int, components: PCA, budget: float, by_heart: bool) -> dict[str, Any]:
    """Calibrate on one town, and measure what the people of it gave away by that."""
    town = make_faces(PEOPLE, FITTED + MORE, size=32, random_state=seed)
    people = np.unique(town.identity, return_inverse=True)[1]
    latents = components.transform(flat(town.images)).astype(np.float32)
    kept = encode_attributes(town.attributes[KEPT], len(people)).one_hot()
    names = attribute_cells(people, town.attributes[KEPT])
    first = np.unique(people, return_index=True)[1]
    cells = np.unique(names[first], return_inverse=True)[1]
    turn = np.arange(len(people)) - first[people]
    fitted = np.flatnonzero(turn < FITTED)

    labels = encode_labels(people[fitted], name="identity")
    split = split_photos(TrainingData(town.images[fitted], labels, None), seed)
    judged = fitted[split.probe]
    # As in a fit, the recogniser has not seen what is judged.
    taught = np.setdiff1d(fitted, judged)
    recogniser = LinearDiscriminantAnalysis().fit(latents[taught], people[taught])
    seen = normalize(recogniser.transform(latents)).astype(np.float32)
    if by_heart:
        seen[taught] = mean_scores_by_person(seen[taught], people[taught], PEOPLE)[people[taught]]

    def evidence(
        fitted_on: np.ndarray, first: np.ndarray, second: np.ndarray, last: int = 0
    ) -> tuple[RetainedFeatures, RetainedFeatures]:
        """What is given back of two sets of photos, by a fit on others."""
        part = fit_identity_regression(latents[fitted_on], seen[fitted_on], people[fitted_on])
        given = part.residualize(latents, seen)
        found = fit_identity_basis(given[fitted_on], people[fitted_on], kept[fitted_on])
        features = ((given - found.mean) @ found.forward)[:, -last:]
        own, other = (RetainedFeatures(features[rows], people[rows]) for rows in (first, second))
        return own, other

    halvings = [
        (fitted[first], fitted[second])
        for first, second in random_half_splits(people[fitted], split, seed)
    ]

    def trial(first: np.ndarray, second: np.ndarray) -> tuple[RetainedFeatures, RetainedFeatures]:
        return evidence(np.setdiff1d(fitted, np.concatenate([first, second])), first, second)

    # The very first half is the attackers' gallery.
    told, *more = [trial(half, judged) for halving in halvings for half in halving]
    frontier = measure(
        *told,
        cells[people[judged]],
        cells,
        seed,
        pairs=more,
        training_pairs=[trial(*halving) for halving in halvings],
    )
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always", CalibrationWarning)
        given = select_n_retained(frontier, budget)
    true = 0.0
    if given:
        known = np.flatnonzero((turn >= FITTED) & (turn < FITTED + MORE // 2))
        asked = np.flatnonzero(turn >= FITTED + MORE // 2)
        read = cells[people[asked]]
        learned, shown = evidence(fitted, known, asked, last=given)
        found = measure(learned, shown, read, cells, seed, counts=[given])
        true = float(found["leakage_bits"][-1])
    place = int(np.flatnonzero(frontier["n_retained"] == given)[0])
    measured = float(frontier["leakage_bits"][place])
    return {"seed": seed, "n_retained": given, "measured": measured, "true": true}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--budget", type=float, default=0.05)
    parser.add_argument("--by-heart", action="store_true", help="see the text above")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    others = make_faces(200, 10, size=32, random_state=10_000)
    components = PCA(48, svd_solver="randomized", random_state=0).fit(flat(others.images))
    rows = []
    for seed in range(options.repeats):
        rows.append(town_of(seed, components, options.budget, options.by_heart))
        print(json.dumps(rows[-1]), flush=True)
    within, kept = (sum(row["true"] <= n * options.budget for row in rows) for n in (1, 2))
    given = [row["n_retained"] for row in rows]
    told = {
        "towns": len(rows),
        "true leakage within the budget": within,
        "true leakage within twice the budget": kept,
        "features given back, median of 48": float(np.median(given)),
        "mean true leakage": float(np.mean([row["true"] for row in rows])),
    }
    print(json.dumps(told, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps({"summary": told, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
