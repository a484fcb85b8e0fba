"""Several images of a person pooled: photos of an album, releases of one photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .leakage import in_cell_log_probabilities
from .permutation import permutation_null


def pool_releases(scores: Sequence[NDArray]) -> NDArray[np.float64]:
    """Mean scores of the same photos over several releases of them.

    Every release is standardized first, so that all weigh the same.

    Parameters
    ----------
    scores : sequence of ndarray of shape (n_samples, n_people)
        One attacker's scores for one release each, rows in the same order.

    Returns
    -------
    ndarray of shape (n_samples, n_people)
        For :func:`edials.audit.figures.evaluate_scores`.

    Raises
    ------
    ValueError
        Without releases, or if they differ in shape.
    """
    shapes = [np.shape(release) for release in scores]
    if not shapes or len(set(shapes)) > 1:
        raise ValueError(
            f"The releases have the shapes {shapes}; expected at least one, all alike."
        )
    releases = np.asarray(scores, dtype=np.float64)
    # What an image adds to everybody's score alike does not identify anybody.
    spread = (releases - releases.mean(axis=2, keepdims=True)).std(axis=(1, 2), keepdims=True)
    return (releases / np.where(spread > 0, spread, 1)).mean(axis=0)


def album_success(table: NDArray, cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rank-1 success inside the cell of naming everybody's album (rows) as anybody (columns).

    Every column of mean scores is centred over the albums of the cell first.
    """
    centred = table.copy()
    for cell in np.unique(cells):
        block = np.ix_(cells == cell, cells == cell)
        centred[block] -= centred[block].mean(axis=0)
    return rank_1_success(in_cell_log_probabilities(centred, np.arange(len(cells)), cells))


def rank_1_success(log_probabilities: NDArray) -> NDArray[np.float64]:
    """Rank-1 success of every row if its person were that of the column; ties are shared."""
    top = log_probabilities >= log_probabilities.max(axis=1, keepdims=True) - 1e-9
    return top / top.sum(axis=1, keepdims=True)


def album_figures(
    table: NDArray, cells: NDArray[np.int64], permutations: NDArray[np.int64]
) -> dict[str, Any]:
    """Album risk beside the mean and 95 % quantile of its null, and its p-value."""
    success = album_success(table, cells)
    mean, high, p_value = permutation_null(success, permutations)
    return {
        "album_risk": float(np.diagonal(success).mean()),
        "album_null": mean,
        "album_null_high": high,
        "album_p_value": p_value,
    }
