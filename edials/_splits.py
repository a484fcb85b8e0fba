"""Which rows: is_held_out out of training, or sampled where not all are needed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def split_rows(
    n_rows: int, fraction: float, seed: int, groups: NDArray | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows at random into training and held-out ones, stratified by ``groups`` if given.

    A group's rows stay in training when it has fewer than four.
    """
    is_held_out = np.zeros(n_rows, dtype=bool)
    order = np.random.default_rng(seed).permutation(n_rows)
    if groups is None:
        is_held_out[order[: int(n_rows * fraction)]] = True
    else:
        for group in np.unique(groups):
            rows = order[groups[order] == group]
            if len(rows) >= 4:
                is_held_out[rows[: max(1, int(len(rows) * fraction))]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def sample_across_people(people: NDArray[np.int64], seed: int, count: int) -> NDArray[np.int64]:
    """Rows of known people in random order, everybody's first photo before anybody's second."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(people >= 0))
    rank = pd.Series(people[rows]).groupby(people[rows]).cumcount().to_numpy()
    return rows[np.argsort(rank, kind="stable")][:count]


def sample_whole_people(people: NDArray[np.int64], seed: int, count: int) -> NDArray[np.int64]:
    """Rows of known people in random order, with all photos of each person, for pairs."""
    order = np.random.default_rng(seed).permutation(int(people.max()) + 1)
    rows = np.flatnonzero(people >= 0)
    return rows[np.argsort(order[people[rows]], kind="stable")][:count]
