"""Leakage of retained features, measured by attacking the features themselves.

A release is a function of the retained features, the predicted attributes and noise, apart from the
few pictures that certification rejects. A picture holds no more than these, so they are attacked
without decoding. Attackers learn from photos that the trial basis did not see: on its own photos a
basis underestimates identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.naive_bayes import GaussianNB

from .._discriminant import discriminant
from ..metrics.album import rank_1_success
from ..metrics.leakage import (
    Calibration,
    calibrate,
    in_cell_bits,
    in_cell_log_probabilities,
    mean_by_person,
    rank_hits,
)
from ..metrics.permutation import (
    mean_scores_by_person,
    permutation_null,
    permutation_p_value,
    permute_within_cells,
)
from .capacity import RetainedFeatures, capacity_of, mean_and_error

# Numbers of retained features that are tried, each about 1.5 times the one before.
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


def steps_of(n_features: int) -> list[int]:
    """Numbers of features that are tried, from none to all."""
    return [0, *(step for step in _STEPS if step < n_features), n_features]


class _Probe(NamedTuple):
    """What attackers are evaluated on.

    ``people`` and ``predicted_cells`` have shape (n_probe,), ``cells`` (n_people,); ``fold`` is 0
    or 1 for every photo, ``permutations`` as of :func:`permute_within_cells`.
    """

    people: NDArray[np.int64]
    predicted_cells: NDArray[np.int64]
    cells: NDArray[np.int64]
    fold: NDArray[np.int64]
    permutations: NDArray


def measure(
    gallery: RetainedFeatures,
    probe: RetainedFeatures,
    predicted_cells: NDArray[np.int64],
    cells: NDArray[np.int64],
    seed: int,
    pairs: Sequence[tuple[RetainedFeatures, RetainedFeatures]] = (),
    training_pairs: Sequence[tuple[RetainedFeatures, RetainedFeatures]] = (),
    counts: list[int] | None = None,
) -> dict[str, NDArray]:
    """Measure the leakage of the last 0, 1, 2, ... features.

    ``pairs`` and ``training_pairs`` are further pairs of photo sets for :func:`capacity_of`.
    ``counts`` defaults to :func:`steps_of` all features. Columns, one entry per count:
    ``n_retained``, ``leakage_bits``, ``leakage_error`` (standard error over people),
    ``capacity_bits``, ``capacity_error``, ``in_cell_excess``, ``album_excess``,
    ``attack_succeeds`` (whether people are told apart at all) and ``people`` (how many share their
    cell: means are over them, and NaN below two).
    """
    fold = np.zeros(len(probe.people), dtype=np.int64)
    generator = np.random.default_rng(seed)
    for person in np.unique(probe.people):
        rows = generator.permutation(np.flatnonzero(probe.people == person))
        fold[rows] = np.arange(len(rows)) % 2
    permutations = permute_within_cells(cells, seed=seed)
    probe_labels = _Probe(probe.people, predicted_cells, cells, fold, permutations)
    counts = steps_of(gallery.features.shape[1]) if counts is None else counts
    steps = [_attack(gallery, probe, probe_labels, count) for count in counts]
    frontier = {name: np.array([step[name] for step in steps]) for name in steps[0]}
    # Noisy attribute predictions cost bits, which a sane attacker would not pay.
    frontier["leakage_bits"] = frontier["leakage_bits"] - min(frontier["leakage_bits"][0], 0.0)
    pairs = [(gallery, probe), *pairs]
    capacities = np.array([capacity_of(pairs, cells, count, training_pairs) for count in counts])
    frontier["capacity_bits"], frontier["capacity_error"] = capacities.T
    n_people = int(_shares_cell(probe.people, cells).sum())
    return frontier | {"people": np.full(len(counts), n_people)}


def _shares_cell(people: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the people with photos share their cell; of others nothing is left to learn."""
    return np.bincount(cells)[cells[np.unique(people)]] > 1


def _attack(
    gallery: RetainedFeatures, probe: RetainedFeatures, probe_labels: _Probe, count: int
) -> dict[str, float]:
    """Attack one number of features: calibrate on each fold of the probe, evaluate on the other."""
    people, _, cells, fold, permutations = probe_labels
    n_people = len(cells)
    attackers = _scores(gallery.last(count), gallery.people, probe.last(count)) if count else []
    totals, feature_scores = np.empty((2, len(fold), n_people))
    for half in (0, 1):
        calibration, rest = fold == half, fold != half
        # A minimum z would hide a small leak behind an error of zero.
        calibrations = [
            calibrate(s[calibration], people[calibration], cells, min_z=None) for s in attackers
        ]
        best = _best_attacker(attackers, calibrations, people, cells, calibration)
        scores = 0.0 if best is None else calibrations[best](attackers[best][rest])
        feature_scores[rest] = scores
        totals[rest] = (
            _cell_log_likelihood(probe_labels, calibration)[probe_labels.predicted_cells[rest]]
            + scores
        )
    log_q = in_cell_log_probabilities(totals, people, cells)
    bits = mean_by_person(in_cell_bits(log_q, people, cells), people)
    chance = mean_by_person(1 / np.bincount(cells)[cells[people]], people)
    excess = mean_by_person(rank_hits(log_q, people, 1), people) - chance
    table = mean_scores_by_person(totals, people, n_people)
    pooled = table * np.bincount(people, minlength=n_people)[:, None]
    album = rank_1_success(in_cell_log_probabilities(pooled, np.arange(n_people), cells))
    p_value = permutation_p_value(
        mean_scores_by_person(feature_scores, people, n_people), permutations
    )
    shared = _shares_cell(people, cells)
    leakage, error = mean_and_error(bits[shared])
    return {
        "n_retained": count,
        "leakage_bits": leakage,
        "leakage_error": error,
        "in_cell_excess": mean_and_error(excess[shared])[0],
        "album_excess": float(np.diagonal(album).mean()) - permutation_null(album, permutations)[0],
        # One in a hundred attacks on nothing seems to succeed.
        "attack_succeeds": p_value <= 0.01,
    }


def _scores(
    gallery: NDArray, people: NDArray[np.int64], probe: NDArray
) -> list[NDArray[np.float64]]:
    """Scores (n_probe, n_people) of linear discriminants and of one Gaussian per person."""
    scores = []
    for shrinkage in (0.1, 0.5):
        weights, bias = discriminant(gallery.astype(np.float32), people, shrinkage)
        scores.append((probe @ weights.T + bias).astype(np.float64))
    bayes = GaussianNB(var_smoothing=0.1).fit(gallery, people)
    scores.append(np.maximum(bayes.predict_joint_log_proba(probe), -1e4))
    return scores


def _best_attacker(
    attackers: list[NDArray[np.float64]],
    calibrations: list[Calibration],
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    calibration: NDArray[np.bool_],
) -> int | None:
    """The attacker that finds most bits on the fold it is calibrated on."""
    if not attackers:
        return None
    calibration_people = people[calibration]
    bits = [
        in_cell_bits(
            in_cell_log_probabilities(c(s[calibration]), calibration_people, cells),
            calibration_people,
            cells,
        ).mean()
        for c, s in zip(calibrations, attackers, strict=True)
    ]
    return int(np.argmax(bits))


def _cell_log_likelihood(
    probe_labels: _Probe, calibration: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Log-probability of every predicted cell for every person, (n_predicted, n_people).

    A person whose attributes are misclassified in the same way every time is identified by that.
    A person's counts are smoothed by two pseudo-counts of their cell.
    """
    people, predicted, cells, *_ = probe_labels
    counts = np.zeros((int(predicted.max()) + 1, len(cells)))
    np.add.at(counts, (predicted[calibration], people[calibration]), 1)
    cell_share = np.full_like(counts, 1 / len(counts))
    for cell in np.unique(cells):
        members = cells == cell
        total = counts[:, members].sum(axis=1, keepdims=True) + 1 / len(counts)
        cell_share[:, members] = total / total.sum()
    return np.log((counts + 2 * cell_share) / (counts.sum(axis=0) + 2))
