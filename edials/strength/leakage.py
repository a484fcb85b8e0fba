"""The risk budget: how many features may be given back before they tell who somebody is.

What leaves is a function of the features given back, the attributes that were read, and chance, but
for the few pictures that the door has made again. So attackers are shown these features bare: a
picture made of them holds no more, and nothing has to be decoded to try. They learn from photos
that the trial basis did not see, because a basis is blind to what it was fitted on: directions in
which its own photos' means agree look harmless.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.naive_bayes import GaussianNB

from .._discriminant import discriminant
from ..metrics.album import successes
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
    null_of_mean,
    permutation_p_value,
    permute_within_cells,
)
from .capacity import RetainedFeatures, capacity_of, mean_and_error

# Numbers of features that are tried: about half as many again each time.
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


_SHRINKAGES = (0.1, 0.5)


_WORKS = 0.01


# A person's readings count beside so many as those of the cell are.
_PSEUDO_COUNT = 2.0


def steps_of(n_features: int) -> list[int]:
    """Numbers of features that are tried, from none to all."""
    return [0, *(step for step in _STEPS if step < n_features), n_features]


def measure(
    gallery: RetainedFeatures,
    judged: RetainedFeatures,
    read: NDArray[np.int64],
    cells: NDArray[np.int64],
    seed: int,
    counts: list[int] | None = None,
    pairs: Sequence[tuple[RetainedFeatures, RetainedFeatures]] = (),
    of_seen: Sequence[tuple[RetainedFeatures, RetainedFeatures]] = (),
) -> dict[str, NDArray]:
    """Leakage of the last 0, 1, 2, ... features, by the attackers of this file.

    Parameters
    ----------
    gallery, judged : RetainedFeatures
    read : ndarray of shape (n_judged,)
        The cell that was read off every judged photo, as a code 0, 1, ...
    cells : ndarray of shape (n_people,)
        Cell of every person.
    seed : int
        Of the division of the judged photos, and of exchanged people.
    counts : list of int, optional
        Numbers of features to try; None tries :func:`steps_of` them.
    pairs : sequence of tuple (RetainedFeatures, RetainedFeatures), optional
        More pairs of sets of photos of everybody, each by a trial basis that saw neither, for a
        limit that depends less on which photos those were. No network has seen the second sets.
    of_seen : sequence of tuple (RetainedFeatures, RetainedFeatures), optional
        The same, of photos that networks may have seen.

    Returns
    -------
    dict of str to ndarray
        By number of features: ``n_retained``, ``leakage_bits``, ``leakage_error`` (standard error
        over people), ``capacity_bits`` and ``capacity_error`` (see :func:`capacity_of`),
        ``in_cell_excess``, ``album_excess``, ``works`` (whether people are told apart at all),
        ``people`` (how many share their cell: means are over them, and NaN without two).
    """
    turn = np.zeros(len(judged.people), dtype=np.int64)
    generator = np.random.default_rng(seed)
    for person in np.unique(judged.people):
        own = generator.permutation(np.flatnonzero(judged.people == person))
        turn[own] = np.arange(len(own)) % 2
    exchanged = permute_within_cells(cells, seed=seed)
    counts = steps_of(gallery.features.shape[1]) if counts is None else counts
    rows = [_leak(gallery, judged, read, cells, turn, count, exchanged) for count in counts]
    names = ("n_retained", "leakage_bits", "leakage_error", "in_cell_excess", "album_excess")
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    found = dict(zip((*names, "works"), columns, strict=True))
    # Readings that are noise cost bits, which a sane attacker would not pay.
    found["leakage_bits"] = found["leakage_bits"] - min(found["leakage_bits"][0], 0.0)
    pairs = [(gallery, judged), *pairs]
    limits = np.array([capacity_of(pairs, cells, count, of_seen) for count in counts])
    told = np.full(len(counts), int(_sharing(judged.people, cells).sum()))
    return found | {"capacity_bits": limits[:, 0], "capacity_error": limits[:, 1], "people": told}


def _sharing(people: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Who, of the people with photos, shares a cell: of others nothing can be told beyond it."""
    return np.bincount(cells)[cells[np.unique(people)]] > 1


def _leak(
    gallery: RetainedFeatures,
    judged: RetainedFeatures,
    read: NDArray[np.int64],
    cells: NDArray[np.int64],
    turn: NDArray[np.int64],
    count: int,
    exchanged: NDArray,
) -> tuple[float, ...]:
    """One number of features: calibrated on each half of the judged photos, judged on the other."""
    n_people = len(cells)
    found = _scores(gallery.last(count), gallery.people, judged.last(count)) if count else []
    totals, of_features = np.empty((2, len(turn), n_people))
    for half in (0, 1):
        known, asked = turn == half, turn != half
        # Doubt would hide a small leak behind an error of zero.
        calibrations = [calibrate(s[known], judged.people[known], cells, doubt=None) for s in found]
        best = _best(found, calibrations, judged.people, cells, known)
        total = _from_readings(read, judged.people, cells, known)[read[asked]]
        ours = 0.0 if best is None else calibrations[best](found[best][asked])
        of_features[asked] = ours
        totals[asked] = total + ours
    people = judged.people
    log_q = in_cell_log_probabilities(totals, people, cells)
    bits = mean_by_person(in_cell_bits(log_q, people, cells), people)
    chance = mean_by_person(1 / np.bincount(cells)[cells[people]], people)
    excess = mean_by_person(rank_hits(log_q, people, 1), people) - chance
    table = mean_scores_by_person(totals, people, n_people)
    pooled = table * np.bincount(people, minlength=n_people)[:, None]
    album = successes(in_cell_log_probabilities(pooled, np.arange(n_people), cells))
    works = (
        permutation_p_value(mean_scores_by_person(of_features, people, n_people), exchanged)
        <= _WORKS
    )
    above = float(np.diagonal(album).mean()) - null_of_mean(album, exchanged)[0]
    shared = _sharing(people, cells)
    mean, error = mean_and_error(bits[shared])
    return count, mean, error, mean_and_error(excess[shared])[0], above, works


def _scores(seen: NDArray, people: NDArray[np.int64], asked: NDArray) -> list[NDArray[np.float64]]:
    """Linear discriminants, and one Gaussian per person with a spread of its own."""
    found = []
    for shrinkage in _SHRINKAGES:
        weights, bias = discriminant(seen.astype(np.float32), people, shrinkage)
        found.append((asked @ weights.T + bias).astype(np.float64))
    bayes = GaussianNB(var_smoothing=0.1).fit(seen, people)
    found.append(np.maximum(bayes.predict_joint_log_proba(asked), -1e4))
    return found


def _best(
    found: list[NDArray[np.float64]],
    calibrations: list[Calibration],
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    known: NDArray[np.bool_],
) -> int | None:
    """The attacker who tells most on the half it is calibrated on."""
    if not found:
        return None
    gains = [
        in_cell_bits(
            in_cell_log_probabilities(c(s[known]), people[known], cells), people[known], cells
        ).mean()
        for c, s in zip(calibrations, found, strict=True)
    ]
    return int(np.argmax(gains))


def _from_readings(
    read: NDArray[np.int64],
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    known: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Log-probability of every reading for every person, of shape (n_read, n_people).

    Who is misread in the same way again and again is marked by that.
    """
    counts = np.zeros((int(read.max()) + 1, len(cells)))
    np.add.at(counts, (read[known], people[known]), 1)
    share = np.full_like(counts, 1 / len(counts))
    for cell in np.unique(cells):
        members = cells == cell
        total = counts[:, members].sum(axis=1, keepdims=True) + 1 / len(counts)
        share[:, members] = total / total.sum()
    return np.log((counts + _PSEUDO_COUNT * share) / (counts.sum(axis=0) + _PSEUDO_COUNT))
