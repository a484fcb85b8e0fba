"""The null of every figure: people permuted inside their attribute cells.

If an image says nothing about its person beyond the cell, it could as well show anybody else of the
cell. Every such permutation then gives a figure as good as the true one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln


def permute_within_cells(
    cells: NDArray[np.int64], *, n_permutations: int = 999, seed: int = 0
) -> NDArray[np.int64]:
    """Draw permutations that leave everybody in their cell, shape (n_permutations, n_people)."""
    # Sorting random keys within sorted cells permutes all cells at once.
    by_cell = np.argsort(cells, kind="stable")
    keys = np.random.default_rng(seed).random((n_permutations, len(cells)))
    order = np.lexsort((keys[:, by_cell], np.broadcast_to(cells[by_cell], keys.shape)), axis=1)
    permutations = np.empty_like(order)
    permutations[:, by_cell] = by_cell[order]
    return permutations


def mean_scores_by_person(
    scores: NDArray, people: NDArray[np.int64], n_people: int
) -> NDArray[np.float64]:
    """Mean row of everybody's images, shape (n_people, n_columns); zeros without images."""
    table = np.zeros((n_people, scores.shape[1]))
    np.add.at(table, people, scores)
    return table / np.maximum(np.bincount(people, minlength=n_people), 1)[:, None]


def exceedance_share(observed: float, null: NDArray) -> float:
    """``(1 + number of null values at least as large) / (1 + number of them)``, in (0, 1]."""
    return float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


def _null_means(table: NDArray, permutations: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over people of their row at the person they are permuted to, per permutation."""
    return table[np.arange(len(table)), permutations].mean(axis=1)


def permutation_null(table: NDArray, permutations: NDArray[np.int64]) -> tuple[float, float, float]:
    """Mean, 95 % quantile and p-value of the mean of a table's diagonal under permutation."""
    null = _null_means(table, permutations)
    p_value = exceedance_share(float(np.diagonal(table).mean()), null)
    return float(null.mean()), float(np.quantile(null, 0.95)), p_value


def permutation_p_value(table: NDArray, permutations: NDArray[np.int64]) -> float:
    """Share of permutations that fit the scores as well as the true people, in (0, 1]."""
    return permutation_null(table, permutations)[2]


def smallest_p_value(cells: NDArray[np.int64]) -> float:
    """Lowest p-value that the cells can give: one over the number of permutations."""
    return float(np.exp(-gammaln(np.bincount(cells) + 1).sum()))


def max_t_p_value(tables: Sequence[NDArray], permutations: NDArray[np.int64]) -> float:
    """Whether the best of several attackers finds more than the best would by chance.

    Every attacker's mean genuine score is standardized by its permutations, the same for all, and
    so is the sum of these over the attackers. The largest, of either sign, is compared with the
    largest of every permutation: nothing is selected, so no images have to be held back. This is
    the single-step max-T of Westfall and Young (1993), "Resampling-based multiple testing". The
    result is in (0, 1], NaN without tables (one per attacker).
    """
    if not len(tables):
        return float("nan")
    # The truth is the identity, the first of the permutations.
    permutations = np.vstack([np.arange(permutations.shape[1]), permutations])
    statistics = []
    for table in tables:
        means = _null_means(table, permutations)
        spread = means.std()
        if spread > 1e-9 * max(1.0, float(np.abs(table).max())):
            statistics.append((means - means.mean()) / spread)
    if not statistics:  # nobody shares a cell, or all scores are equal
        return 1.0
    total = np.sum(statistics, axis=0)
    statistics.append((total - total.mean()) / (total.std() or 1.0))
    largest = np.abs(statistics).max(axis=0)
    return exceedance_share(float(largest[0]), largest[1:])
