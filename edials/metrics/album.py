"""All that is released of a person taken together: photos of an album, releases of one photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .leakage import in_cell_log_probabilities
from .permutation import null_of_mean


def pool_releases(scores: Sequence[NDArray]) -> NDArray[np.float64]:
    """Scores of the same photos over several releases of them, as one.

    Every release is standardized first, so that none speaks louder than the others.

    Parameters
    ----------
    scores : sequence of ndarray of shape (n_samples, n_people)
        One attacker's scores for one release each, rows in the same order.

    Returns
    -------
    ndarray of shape (n_samples, n_people)
        Their mean; :func:`edials.audit.figures.judge_scores` takes it like any scores.

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
    # What an image adds to everybody's score alike names nobody.
    spread = (releases - releases.mean(axis=2, keepdims=True)).std(axis=(1, 2), keepdims=True)
    return (releases / np.where(spread > 0, spread, 1)).mean(axis=0)


def album_successes(table: NDArray, cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Success of naming everybody's album as anybody, inside the cell.

    Parameters
    ----------
    table : ndarray of shape (n_people, n_people)
        Mean scores of everybody's photos (rows) for everybody (columns).
    cells : ndarray of shape (n_people,)

    Returns
    -------
    ndarray of shape (n_people, n_people)
        1 where the column scores highest in the row, shares of it where several do; every column
        is centred over the cell's albums first. Its diagonal is the success of the truth.
    """
    pooled = table.copy()
    for cell in np.unique(cells):
        block = np.ix_(cells == cell, cells == cell)
        pooled[block] -= pooled[block].mean(axis=0)
    return successes(in_cell_log_probabilities(pooled, np.arange(len(cells)), cells))


def successes(log_probabilities: NDArray) -> NDArray[np.float64]:
    """Rank-1 success of every row if its person were that of the column; ties are shared."""
    best = log_probabilities.max(axis=1, keepdims=True)
    level = log_probabilities >= best - 1e-9
    return level / level.sum(axis=1, keepdims=True)


def album_figures(
    table: NDArray, cells: NDArray[np.int64], exchanged: NDArray[np.int64]
) -> dict[str, Any]:
    """Album risk beside its null, people exchanged inside their cells.

    Parameters
    ----------
    table : ndarray of shape (n_people, n_people)
    cells : ndarray of shape (n_people,)
    exchanged : ndarray of shape (n_permutations, n_people)

    Returns
    -------
    dict
        ``album_risk``, ``album_null`` (mean), ``album_null_high`` (95 % quantile),
        ``album_p_value``.
    """
    success = album_successes(table, cells)
    mean, high, p_value = null_of_mean(success, exchanged)
    return {
        "album_risk": float(np.diagonal(success).mean()),
        "album_null": mean,
        "album_null_high": high,
        "album_p_value": p_value,
    }
