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


def joined(first: Evidence, second: Evidence) -> Evidence:
    """Both, one below the other."""
    features = np.concatenate([first.features, second.features])
    people = np.concatenate([first.people, second.people])
    if first.always is None or second.always is None:
        return Evidence(features, people)
    return Evidence(features, people, np.concatenate([first.always, second.always]))


def limit_of(unseen: list[Evidence], cells: NDArray[np.int64], count: int) -> tuple[float, float]:
    """What attackers could find who had any number of photos to learn from, for small leakages.

    ``tr(S_w^-1 S_b) / (2 ln 2)`` bits, with the spread ``S_b`` of people inside their cells, what
    their photos scatter taken off: to first order the capacity ``log2 det(I + S_w^-1 S_b) / 2`` of
    a Gaussian channel, which is never above it. An attacker who learns from a few photos of
    everybody finds less than is there.

    Parameters
    ----------
    unseen : list of Evidence
        Each by a basis that did not see its photos, with photos of everybody; what is found for a
        person is averaged over them.
    cells : ndarray of shape (n_people,)
    count : int
        Features given back.

    Returns
    -------
    bits, error : float
        Mean over the people who share their cell, and its standard error.

    References
    ----------
    Cover and Thomas (2006), "Elements of information theory", section 9.4.
    """
    if not count:
        return 0.0, 0.0
    told = [_limits_of_people(part.last(count), part.people, cells) for part in unseen]
    return mean_and_error(np.mean(told, axis=0))


def _limits_of_people(
    features: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Every person's share of the limit, in bits, cell by cell."""
    counts = np.bincount(people, minlength=len(cells))
    features = features.astype(np.float64)
    own = features - table_of_people(features, people, len(cells))[people]
    # At one scale, or the shrinking below would drown the quiet ones.
    spread = own.std(axis=0)
    features = features / np.where(spread > 0, spread, 1)
    means = table_of_people(features, people, len(cells))
    deviations = features - means[people]
    freedom = len(people) / (len(people) - len(cells))
    within = ledoit_wolf(deviations, assume_centered=True)[0] * freedom
    root = np.linalg.cholesky(np.linalg.inv(within))
    told: list[float] = []
    for cell in np.unique(cells):
        members = np.flatnonzero(cells == cell)
        if len(members) > 1:
            apart = (means[members] - means[members].mean(axis=0)) @ root
            # The mean of n photos scatters by 1 / n of their spread; the cell's mean is one of m.
            chance = (1 / counts[members]).mean() * features.shape[1]
            told.extend((apart**2).sum(axis=1) * len(members) / (len(members) - 1) - chance)
    return np.array(told) / (2 * np.log(2))


def mean_and_error(values: NDArray) -> tuple[float, float]:
    """Mean over people and its standard error; NaN below two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    return float(values.mean()), float(sem(values))
