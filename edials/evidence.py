"""What leaves when features are given back, and the most that anybody could learn from it.

The attackers of :mod:`edials.budget` learn from a few photos of everybody; the limit here is for
those who have any number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import sem
from sklearn.covariance import ledoit_wolf

from .audit.exchange import table_of_people


class Evidence(NamedTuple):
    """What attackers are given, photo by photo.

    Attributes
    ----------
    features : ndarray of shape (n, n_features)
        In the order of replacement: the last ones are given back first.
    people : ndarray of shape (n,)
        Codes 0, 1, ... of those who are shared out.
    always : ndarray of shape (n, n_always), optional
        What is given back with any feature.
    """

    features: NDArray[np.float32]
    people: NDArray[np.int64]
    always: NDArray[np.float32] | None = None

    def last(self, count: int) -> NDArray:
        """What leaves when so many features are given back."""
        own = self.features[:, self.features.shape[1] - count :]
        return own if self.always is None or not count else np.hstack([own, self.always])


def limit_of(
    pairs: list[tuple[Evidence, Evidence]],
    cells: NDArray[np.int64],
    count: int,
    turn: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """What attackers could find who had any number of photos to learn from, for small leakages.

    ``tr(S_w^-1 S_b) / (2 ln 2)`` bits, to first order the capacity ``log2 det(I + S_w^-1 S_b) / 2``
    of a Gaussian channel, which is never above it. ``S_w`` is the spread of a person's photos, and
    ``S_b``, of people inside their cells, the covariance of their means in one set of photos with
    those in another. So nothing has to be taken off for how far the means of few photos scatter,
    which differs from person to person. An attacker who learns from a few photos of everybody finds
    less than is there.

    Where the first set is photos that networks have seen, what they take off of a person may be
    all there, and only a part in the second: then the two sets do not vary together. So the
    covariance of two halves of the second set is looked at, too, and the greater is told, with the
    error of the one of more photos.

    Parameters
    ----------
    pairs : list of tuple (Evidence, Evidence)
        Two sets of photos, both of everybody, by a basis that saw neither; what is found for a
        person is averaged over the pairs.
    cells : ndarray of shape (n_people,)
    count : int
        Features given back.
    turn : ndarray of shape (n_second,), optional
        Which half, 0 or 1, each photo of the second sets is in; None looks at no halves.

    Returns
    -------
    bits, error : float
        Mean over the people who share their cell, and its standard error. An estimate of next to
        nothing may fall below 0.

    References
    ----------
    Cover and Thomas (2006), "Elements of information theory", section 9.4.
    """
    if not count:
        return 0.0, 0.0
    told = [_limits_of_people(*pair, cells, count, turn) for pair in pairs]
    across, within = (mean_and_error(values) for values in np.mean(told, axis=0))
    return max(across[0], within[0]), across[1]


def _limits_of_people(
    first: Evidence,
    second: Evidence,
    cells: NDArray[np.int64],
    count: int,
    turn: NDArray[np.int64] | None,
) -> NDArray[np.float64]:
    """Every person's share of the limit, in bits, cell by cell: across sets, and of halves."""
    features = [part.last(count).astype(np.float64) for part in (first, second)]
    means = [
        table_of_people(rows, part.people, len(cells))
        for rows, part in zip(features, (first, second), strict=True)
    ]
    deviations = np.concatenate(
        [
            rows - mean[part.people]
            for rows, mean, part in zip(features, means, (first, second), strict=True)
        ]
    )
    # At one scale, or the shrinking below would drown the quiet ones.
    spread = deviations.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    freedom = len(deviations) / (len(deviations) - 2 * len(cells))
    inverse = np.linalg.inv(ledoit_wolf(deviations / spread, assume_centered=True)[0] * freedom)
    halves = means
    if turn is not None:
        halves = [
            table_of_people(features[1][turn == half], second.people[turn == half], len(cells))
            for half in (0, 1)
        ]
    told: list[NDArray[np.float64]] = []
    for cell in np.unique(cells):
        members = np.flatnonzero(cells == cell)
        if len(members) > 1:
            both = []
            for tables in (means, halves):
                here, there = (
                    (table[members] - table[members].mean(axis=0)) / spread for table in tables
                )
                both.append(((here @ inverse) * there).sum(axis=1))
            # The cell's mean is one of its own.
            told.append(np.array(both) * len(members) / (len(members) - 1))
    return np.concatenate(told, axis=1) / (2 * np.log(2)) if told else np.empty((2, 0))


def mean_and_error(values: NDArray) -> tuple[float, float]:
    """Mean over people and its standard error; NaN below two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    return float(values.mean()), float(sem(values))
