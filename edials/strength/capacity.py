"""What leaves when features are given back, and the most that anybody could learn from it.

The attackers of :mod:`edials.strength.leakage` learn from a few photos of everybody; the limit here
is for those who have any number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import sem
from sklearn.covariance import ledoit_wolf

from ..metrics.permutation import mean_scores_by_person


class RetainedFeatures(NamedTuple):
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


def capacity_of(
    pairs: list[tuple[RetainedFeatures, RetainedFeatures]],
    cells: NDArray[np.int64],
    count: int,
    of_seen: Sequence[tuple[RetainedFeatures, RetainedFeatures]] = (),
) -> tuple[float, float]:
    """What attackers could find who had any number of photos to learn from, for small leakages.

    ``tr(S_w^-1 S_b) / (2 ln 2)`` bits, to first order the capacity ``log2 det(I + S_w^-1 S_b) / 2``
    of a Gaussian channel, which is never above it. ``S_w`` is the spread of a person's photos, and
    ``S_b``, of people inside their cells, the covariance of their means in one set of photos with
    those in another. So nothing has to be taken off for how far the means of few photos scatter,
    which differs from person to person. An attacker who learns from a few photos of everybody finds
    less than is there.

    Where networks have seen a set, what they take off of a person may be all there, and only a part
    in photos they have not seen: then the two sets do not vary together. So what any two photos of
    the second set have in common is looked at, too, and the greater is told, with the error of what
    is between sets, of more photos: that of the few photos of one set is several times as large,
    and would hide everything. So the error is too small where networks have learned by heart.

    Parameters
    ----------
    pairs : list of tuple (RetainedFeatures, RetainedFeatures)
        Two sets of photos, both of everybody, by a basis that saw neither; what is found for a
        person is averaged over the pairs. No network has seen the second sets.
    cells : ndarray of shape (n_people,)
    count : int
        Features given back.
    of_seen : sequence of tuple (RetainedFeatures, RetainedFeatures), optional
        More pairs, of which only what is between the sets is looked at.

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
    told = [_limits_of_people(*pair, cells, count) for pair in (*pairs, *of_seen)]
    between = np.mean([across for across, _ in told], axis=0)
    inside = np.mean([within for _, within in told[: len(pairs)]], axis=0)
    bits, error = mean_and_error(between)
    return max(bits, mean_and_error(inside)[0]), error


def _limits_of_people(
    first: RetainedFeatures, second: RetainedFeatures, cells: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Every person's share of the limit, in bits, cell by cell: across sets, within the second."""
    rows = [part.last(count).astype(np.float64) for part in (first, second)]
    means = [
        mean_scores_by_person(own, part.people, len(cells))
        for own, part in zip(rows, (first, second), strict=True)
    ]
    deviations = [
        own - mean[part.people]
        for own, mean, part in zip(rows, means, (first, second), strict=True)
    ]
    white = _whitening(np.concatenate(deviations), 2 * len(cells))
    here, there = (mean @ white for mean in means)
    # How far the means of the second set scatter, by the photos they are of.
    photos = np.bincount(second.people, minlength=len(cells))
    squares = np.bincount(second.people, ((deviations[1] @ white) ** 2).sum(axis=1), len(cells))
    scatter = squares / np.maximum(photos * (photos - 1), 1)
    told: list[NDArray[np.float64]] = []
    for cell in np.unique(cells):
        members = np.flatnonzero(cells == cell)
        if len(members) > 1:
            ours, others = (table[members] - table[members].mean(axis=0) for table in (here, there))
            # The cell's mean is one of its own.
            own = len(members) / (len(members) - 1)
            across = own * (ours * others).sum(axis=1)
            within = own * (others**2).sum(axis=1) - scatter[members]
            told.append(np.array([across, within]))
    return np.concatenate(told, axis=1) / (2 * np.log(2)) if told else np.empty((2, 0))


def _whitening(deviations: NDArray[np.float64], known: int) -> NDArray[np.float64]:
    """What makes the spread of photos about so many known means one in every direction."""
    # At one scale, or the shrinking below would drown the quiet ones.
    spread = deviations.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    freedom = len(deviations) / (len(deviations) - known)
    covariance = ledoit_wolf(deviations / spread, assume_centered=True)[0] * freedom
    return np.linalg.cholesky(np.linalg.inv(covariance)) / spread[:, None]


def mean_and_error(values: NDArray) -> tuple[float, float]:
    """Mean over people and its standard error; NaN below two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    return float(values.mean()), float(sem(values))
