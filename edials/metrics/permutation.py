"""The null that every figure can be held against: people exchanged inside their cells.

If an image says nothing about its person beyond the cell, then who of the cell it shows could as
well have been anybody else of it, and every such exchange gives a figure as good as the true one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln


def permute_within_cells(
    cells: NDArray[np.int64], *, n_permutations: int = 999, seed: int = 0
) -> NDArray[np.int64]:
    """Draw permutations of the people that leave everybody in their cell.

    Parameters
    ----------
    cells : ndarray of shape (n_people,)
    n_permutations : int, default=999
    seed : int, default=0

    Returns
    -------
    ndarray of shape (n_permutations, n_people)
    """
    n_people = len(cells)
    # Sorting random keys within sorted cells exchanges people inside each cell at once.
    home = np.argsort(cells, kind="stable")
    keys = np.random.default_rng(seed).random((n_permutations, n_people))
    moved = np.lexsort((keys[:, home], np.broadcast_to(cells[home], keys.shape)), axis=1)
    exchanged = np.empty_like(moved)
    exchanged[:, home] = home[moved]
    return exchanged


def mean_scores_by_person(
    scores: NDArray, people: NDArray[np.int64], n_people: int
) -> NDArray[np.float64]:
    """Mean row of everybody's images, shape (n_people, n_columns); zeros without images."""
    table = np.zeros((n_people, scores.shape[1]))
    np.add.at(table, people, scores)
    return table / np.maximum(np.bincount(people, minlength=n_people), 1)[:, None]


def _own(table: NDArray, exchanged: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over people of what their row says of the person they were exchanged for."""
    return table[np.arange(len(table)), exchanged].mean(axis=1)


def exceedance_share(true: float, reached: NDArray) -> float:
    """``(1 + number at least as good) / (1 + number of permutations)``, in (0, 1]."""
    return float((1 + (reached >= true - 1e-12).sum()) / (1 + len(reached)))


def permutation_p_value(table: NDArray, exchanged: NDArray[np.int64]) -> float:
    """How often people exchanged inside their cells fit the scores as well as the true ones.

    Parameters
    ----------
    table : ndarray of shape (n_people, n_people)
        Mean scores of everybody's images (rows) for everybody (columns).
    exchanged : ndarray of shape (n_permutations, n_people)
        See :func:`permute_within_cells`.

    Returns
    -------
    float in (0, 1]
    """
    true = float(np.diagonal(table).mean())
    return exceedance_share(true, _own(table, exchanged))


def smallest_p_value(cells: NDArray[np.int64]) -> float:
    """The lowest p-value that these cells can give: one over the number of exchanges.

    Parameters
    ----------
    cells : ndarray of shape (n_people,)
    """
    return float(np.exp(-gammaln(np.bincount(cells) + 1).sum()))


def max_t_p_value(tables: Sequence[NDArray], exchanged: NDArray[np.int64]) -> float:
    """Whether the best of several attackers tells more than the best would by chance.

    Every attacker's mean own score is standardized by its permutations, the same ones for all, and
    so is the sum of these over the attackers. The largest, of either sign, is compared with the
    largest of every permutation: nothing was chosen, so nothing has to be held back.

    Parameters
    ----------
    tables : sequence of ndarray of shape (n_people, n_people)
        Mean scores of everybody's images (rows) for everybody (columns), one per attacker.
    exchanged : ndarray of shape (n_permutations, n_people)

    Returns
    -------
    float in (0, 1]
        NaN without tables.

    References
    ----------
    Westfall and Young (1993), "Resampling-based multiple testing", the single-step max-T.
    """
    if not len(tables):
        return float("nan")
    # The truth is one exchange among the others, the first.
    exchanged = np.vstack([np.arange(exchanged.shape[1]), exchanged])
    found = []
    for table in tables:
        reached = _own(table, exchanged)
        spread = reached.std()
        if spread > 1e-9 * max(1.0, float(np.abs(table).max())):
            found.append((reached - reached.mean()) / spread)
    if not found:  # nobody shares a cell, or all scores are equal
        return 1.0
    together = np.sum(found, axis=0)
    found.append((together - together.mean()) / (together.std() or 1.0))
    largest = np.abs(found).max(axis=0)
    return exceedance_share(float(largest[0]), largest[1:])


def null_of_mean(table: NDArray, exchanged: NDArray[np.int64]) -> tuple[float, float, float]:
    """Mean, 95 % quantile and p-value of the mean of the diagonal, under exchange.

    Parameters
    ----------
    table : ndarray of shape (n_people, n_people)
        Everybody's success (rows) if their images were those of anybody (columns).
    exchanged : ndarray of shape (n_permutations, n_people)
    """
    reached = _own(table, exchanged)
    p_value = exceedance_share(float(np.diagonal(table).mean()), reached)
    return float(reached.mean()), float(np.quantile(reached, 0.95)), p_value
