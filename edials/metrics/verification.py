"""Verification: does this image show that person, against impostors of the same cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import det_curve, roc_curve

_MAX_DET_POINTS = 200  # as many as a chart can show


def verification(
    scores: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Accept or reject the claim that an image shows a person of its cell.

    A genuine claim names the true person, an impostor's another one of the cell. The similarity is
    the score less the mean score of the image's cell (a cohort normalisation). The impostors of an
    image together weigh as much as its genuine claim, and people weigh alike, so that at the null
    true and false match rates agree.

    Returned are figures and the DET curve. The figures are true accept rates at false match rates
    of 1 % and 0.1 %, NaN with fewer impostors than it takes to see one, and ``eer``, 0.5 being
    chance. The curve, shape (2, n_points), has false match and false non-match rates.
    """
    inside = cells[people][:, None] == cells
    has_impostors = inside.sum(axis=1) > 1
    if not has_impostors.any():
        undefined = dict.fromkeys(("tar_at_fmr_1e2", "tar_at_fmr_1e3", "eer"), float("nan"))
        return undefined, np.empty((2, 0))
    scores, people, inside = scores[has_impostors], people[has_impostors], inside[has_impostors]
    size = inside.sum(axis=1)
    cohort = np.where(inside, scores, 0).sum(axis=1) / size
    is_true_person = people[:, None] == np.arange(len(cells))
    share = 1 / np.bincount(people)[people]
    weight = np.where(is_true_person, share[:, None], (share / (size - 1))[:, None])[inside]
    similarity, genuine = (scores - cohort[:, None])[inside], is_true_person[inside]
    false_match, true_match, _ = roc_curve(genuine, similarity, sample_weight=weight)
    n_impostors = int((~genuine).sum())

    def true_accept_rate(fmr: float) -> float:
        if n_impostors * fmr < 1:
            return float("nan")
        return float(true_match[false_match <= fmr + 1e-12].max())

    det = np.stack(det_curve(genuine, similarity, sample_weight=weight)[:2])
    points = np.linspace(0, det.shape[1] - 1, _MAX_DET_POINTS).round().astype(int)
    return {
        "tar_at_fmr_1e2": true_accept_rate(1e-2),
        "tar_at_fmr_1e3": true_accept_rate(1e-3),
        "eer": equal_error_rate(similarity, genuine, weight),
    }, det[:, np.unique(points)]


def equal_error_rate(
    similarity: NDArray, genuine: NDArray[np.bool_], weight: NDArray | None = None
) -> float:
    """Error rate where false matches are as frequent as false non-matches, in [0, 1].

    Arrays have shape (n_pairs,). NaN if all pairs are genuine, or none.
    """
    if genuine.all() or not genuine.any():
        return float("nan")
    false_match, true_match, _ = roc_curve(genuine, similarity, sample_weight=weight)
    crossing = int(np.argmax(false_match >= 1 - true_match))
    return float((false_match[crossing] + 1 - true_match[crossing]) / 2)
