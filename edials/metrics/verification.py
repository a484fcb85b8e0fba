"""Open set: is this image of that person, yes or no, against impostors of the same cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import det_curve, roc_curve

# What a DET curve is drawn from.
_POINTS = 200


def verification(
    ordered: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Accept or reject the claim that an image shows a person of its cell.

    Genuine claims name the own person, impostors' everybody else of the cell. The similarity is
    the score above the mean of the image's cell (a cohort normalisation); an image's impostors
    together weigh as much as its genuine claim, and people alike, so that at the null the true
    and the false accepts agree.

    Parameters
    ----------
    ordered : ndarray of shape (n_samples, n_people)
        Calibrated scores.
    people : ndarray of shape (n_samples,)
    cells : ndarray of shape (n_people,)

    Returns
    -------
    figures : dict
        ``tar_at_fmr_1e2``, ``tar_at_fmr_1e3``: true accepts where false ones are at most 1 % and
        0.1 %, NaN with fewer impostors than it takes to see one; ``eer``, 0.5 being chance.
    det : ndarray of shape (2, n_points)
        False matches and false non-matches, at most 200 thresholds.
    """
    inside = cells[people][:, None] == cells
    several = inside.sum(axis=1) > 1  # people alone in their cell have no impostors
    if not several.any():
        nothing = dict.fromkeys(("tar_at_fmr_1e2", "tar_at_fmr_1e3", "eer"), float("nan"))
        return nothing, np.empty((2, 0))
    ordered, people, inside = ordered[several], people[several], inside[several]
    size = inside.sum(axis=1)
    cohort = np.where(inside, ordered, 0).sum(axis=1) / size
    own = people[:, None] == np.arange(len(cells))
    share = 1 / np.bincount(people)[people]
    weight = np.where(own, share[:, None], (share / (size - 1))[:, None])[inside]
    similarity, same = (ordered - cohort[:, None])[inside], own[inside]
    false_match, match, _ = roc_curve(same, similarity, sample_weight=weight)
    impostors = int((~same).sum())
    return {
        "tar_at_fmr_1e2": _match_rate(false_match, match, 1e-2, impostors),
        "tar_at_fmr_1e3": _match_rate(false_match, match, 1e-3, impostors),
        "eer": equal_error_rate(similarity, same, weight),
    }, _thinned(*det_curve(same, similarity, sample_weight=weight)[:2])


def _match_rate(false_match: NDArray, match: NDArray, fmr: float, impostors: int) -> float:
    if impostors * fmr < 1:
        return float("nan")
    return float(match[false_match <= fmr + 1e-12].max())


def _thinned(false_match: NDArray, false_non_match: NDArray) -> NDArray[np.float64]:
    points = np.unique(np.linspace(0, len(false_match) - 1, _POINTS).round().astype(int))
    return np.stack([false_match[points], false_non_match[points]])


def equal_error_rate(
    similarity: NDArray, same: NDArray[np.bool_], weight: NDArray | None = None
) -> float:
    """Error rate at the threshold where false matches are as frequent as false non-matches.

    Parameters
    ----------
    similarity : ndarray of shape (n_pairs,)
    same : ndarray of bool, shape (n_pairs,)
    weight : ndarray of shape (n_pairs,), optional
    """
    if same.all() or not same.any():
        return float("nan")
    false_match, match, _ = roc_curve(same, similarity, sample_weight=weight)
    gap = false_match - (1 - match)
    crossing = int(np.argmax(gap >= 0))
    return float((false_match[crossing] + 1 - match[crossing]) / 2)
