"""The capacity of retained features: what attackers with any number of photos could learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import sem
from sklearn.covariance import ledoit_wolf

from ..metrics.permutation import mean_scores_by_person


class RetainedFeatures(NamedTuple):
    """What attackers see of photos.

    Attributes
    ----------
    features : ndarray of shape (n, n_features)
        In the order of replacement: the last ones are retained first.
    people : ndarray of shape (n,)
        Codes 0, 1, ... of the people in the split.
    covariates : ndarray of shape (n, n_covariates), optional
        Retained together with any feature.
    """

    features: NDArray[np.float32]
    people: NDArray[np.int64]
    covariates: NDArray[np.float32] | None = None

    def last(self, count: int) -> NDArray:
        """What leaves when ``count`` features are retained."""
        features = self.features[:, self.features.shape[1] - count :]
        if self.covariates is None or not count:
            return features
        return np.hstack([features, self.covariates])


def capacity_of(
    pairs: list[tuple[RetainedFeatures, RetainedFeatures]],
    cells: NDArray[np.int64],
    count: int,
    training_pairs: Sequence[tuple[RetainedFeatures, RetainedFeatures]] = (),
) -> tuple[float, float]:
    """Estimate the capacity of a Gaussian channel from people to retained features, to first order.

    ``tr(S_w^-1 S_b) / (2 ln 2)`` bits, an upper bound of ``log2 det(I + S_w^-1 S_b) / 2``. ``S_w``
    is the covariance within people. ``S_b`` is the covariance, inside cells, of people's means in
    one set of photos with their means in another, so that sampling noise of the means cancels.

    On training photos networks remove identity better than on new ones, and then the two sets do
    not covary. So the between-person covariance inside the second set is estimated as well, and the
    larger estimate is returned, with the error of the first: the other's is several times as large.
    The error is too small if networks have memorised their photos. Both are means over the people
    who share their cell, in bits; an estimate may be below 0.

    References
    ----------
    Cover and Thomas (2006), "Elements of information theory", section 9.4.
    """
    if not count:
        return 0.0, 0.0
    estimates = [_capacity_of_people(*pair, cells, count) for pair in (*pairs, *training_pairs)]
    between = np.mean([across for across, _ in estimates], axis=0)
    within_set = np.mean([within for _, within in estimates[: len(pairs)]], axis=0)
    bits, error = mean_and_error(between)
    return max(bits, mean_and_error(within_set)[0]), error


def _capacity_of_people(
    first: RetainedFeatures, second: RetainedFeatures, cells: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Share of every person in bits, cell by cell: between the sets, and inside the second."""
    rows = [photos.last(count).astype(np.float64) for photos in (first, second)]
    means = [
        mean_scores_by_person(features, photos.people, len(cells))
        for features, photos in zip(rows, (first, second), strict=True)
    ]
    deviations = [
        features - mean[photos.people]
        for features, mean, photos in zip(rows, means, (first, second), strict=True)
    ]
    whitening = _whitening(np.concatenate(deviations), 2 * len(cells))
    first_means, second_means = (mean @ whitening for mean in means)
    # Sampling variance of the second means, from the photos that they are means of.
    photos = np.bincount(second.people, minlength=len(cells))
    squares = np.bincount(second.people, ((deviations[1] @ whitening) ** 2).sum(axis=1), len(cells))
    sampling = squares / np.maximum(photos * (photos - 1), 1)
    bits: list[NDArray[np.float64]] = []
    for cell in np.unique(cells):
        members = np.flatnonzero(cells == cell)
        if len(members) > 1:
            own_means, other_means = (
                table[members] - table[members].mean(axis=0)
                for table in (first_means, second_means)
            )
            freedom = len(members) / (len(members) - 1)
            across = freedom * (own_means * other_means).sum(axis=1)
            within = freedom * (other_means**2).sum(axis=1) - sampling[members]
            bits.append(np.array([across, within]))
    return np.concatenate(bits, axis=1) / (2 * np.log(2)) if bits else np.empty((2, 0))


def _whitening(deviations: NDArray[np.float64], n_means: int) -> NDArray[np.float64]:
    """Whitening matrix of the deviations from this many means, shape (count, count)."""
    # At one scale, or the shrinkage would drown the features of small variance.
    std = deviations.std(axis=0)
    std = np.where(std > 0, std, 1)
    freedom = len(deviations) / (len(deviations) - n_means)
    covariance = ledoit_wolf(deviations / std, assume_centered=True)[0] * freedom
    return np.linalg.cholesky(np.linalg.inv(covariance)) / std[:, None]


def mean_and_error(values: NDArray) -> tuple[float, float]:
    """Mean over people and its standard error; NaN below two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    return float(values.mean()), float(sem(values))
