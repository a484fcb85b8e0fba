"""Which rows: held out of training, or sampled where not all are needed."""

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
    generator = np.random.default_rng(seed)
    held = np.zeros(n_rows, dtype=bool)
    if groups is None:
        held[generator.permutation(n_rows)[: int(n_rows * fraction)]] = True
    else:
        order = generator.permutation(n_rows)
        for group in np.unique(groups):
            rows = order[groups[order] == group]
            if len(rows) >= 4:
                held[rows[: max(1, int(len(rows) * fraction))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


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
