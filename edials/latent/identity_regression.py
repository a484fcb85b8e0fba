"""The part of the latents that a recogniser's embedding predicts: subtracted before retention.

Every direction of the latents holds some identity. The embedding of one photo predicts a little of
the latents of the same person's other photos, also for people the recogniser never saw. For people
with many photos in the fit, the remaining offset of their mean is known as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import normalize

from .._validation import matmul
from .identity_basis import N_PHOTOS_HALF_WEIGHT

# Ridge penalties, for predictors of about unit size. A small one would memorise everybody's mean.
_PENALTIES = [1e2, 1e3, 1e4, 1e5]
_FOLDS = 5
# A regression must lower the error of the plain mean by this share, or none is used.
_MIN_IMPROVEMENT = 1e-3
# Photos a person needs for an offset of their own; cosine difference that divides a weight by e.
_MIN_PHOTOS, _SIMILARITY_SCALE = 5, 0.05


@dataclass(frozen=True)
class IdentityRegression:
    """From a recogniser's embedding to the person's part of the latents.

    Attributes
    ----------
    centre : ndarray of shape (embedding_dim,)
    slope : ndarray of shape (embedding_dim, latent_dim)
        Of the regression; without rows if nothing is subtracted.
    person_directions : ndarray of shape (n_people, embedding_dim)
        Unit mean embeddings of the people with five photos or more.
    person_offsets : ndarray of shape (n_people, latent_dim)
        Shrunken gap between their mean latents and the prediction.
    unknown_threshold : float
        A photo whose highest cosine lies below it counts as an unknown person.
    """

    centre: NDArray[np.float32]
    slope: NDArray[np.float32]
    person_directions: NDArray[np.float32]
    person_offsets: NDArray[np.float32]
    unknown_threshold: float

    def residualize(
        self, latents: NDArray[np.float32], embeddings: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Subtract the predicted part."""
        if not len(self.slope):
            return latents
        # In double precision, then rounded: the number of rows must not change a bit.
        embeddings = embeddings.astype(np.float64)
        usable = np.isfinite(embeddings).all(axis=1)
        prediction = np.zeros((len(latents), self.slope.shape[1]))
        finite = embeddings[usable]
        prediction[usable] = matmul(finite - self.centre, self.slope.astype(np.float64))
        if len(self.person_directions) and len(finite):
            cosines = matmul(normalize(finite), self.person_directions.T.astype(np.float64))
            cosines = np.column_stack([cosines, np.full(len(finite), self.unknown_threshold)])
            weights = softmax(cosines / _SIMILARITY_SCALE, axis=1)[:, :-1]
            prediction[usable] += matmul(weights, self.person_offsets.astype(np.float64))
        return (latents - prediction).astype(np.float32)


_EMPTY = np.zeros((0, 0), np.float32)
#: Subtracts nothing.
NO_REGRESSION = IdentityRegression(np.zeros(0, np.float32), _EMPTY, _EMPTY, _EMPTY, 0.0)


def fit_identity_regression(
    latents: NDArray[np.float32], embeddings: NDArray[np.float32], people: NDArray[np.int64]
) -> IdentityRegression:
    """Learn to predict the mean latents of a person's other photos from one photo's embedding.

    A ridge regression, its penalty chosen by cross-validation over people. For people with five
    photos or more, the shrunken gap between their mean latents and the prediction is added. Rows of
    unknown people (-1) or with embeddings that are not finite are left out.

    References
    ----------
    Belrose et al. (2023), "LEACE: perfect linear concept erasure in closed form": a concept is
    erased by subtracting its linear prediction.
    """
    usable = np.flatnonzero((people >= 0) & np.isfinite(embeddings).all(axis=1))
    counts = np.bincount(people[usable], minlength=1)
    rows = usable[counts[people[usable]] >= 2]
    codes, photos = people[rows], counts[people[rows]]
    n_people = len(np.unique(codes))
    if n_people < 2:
        return NO_REGRESSION
    sums = np.zeros((len(counts), latents.shape[1]))
    np.add.at(sums, codes, latents[rows].astype(np.float64))
    targets = (sums[codes] - latents[rows]) / (photos - 1)[:, None]
    weights = (photos - 1) / (photos - 1 + N_PHOTOS_HALF_WEIGHT) / np.sqrt(photos)
    scale = np.sqrt(embeddings.shape[1])
    centre = np.average(embeddings[rows].astype(np.float64), axis=0, weights=weights)
    predictors, weights = scale * (embeddings[rows] - centre), weights / weights.mean()
    # By hand: GridSearchCV would ask the user's metadata routing to request the weights.
    errors = np.zeros(len(_PENALTIES) + 1)  # the last one: of the plain mean
    for train, test in GroupKFold(min(_FOLDS, n_people)).split(predictors, groups=codes):
        predictions = [
            Ridge(alpha=penalty)
            .fit(predictors[train], targets[train], sample_weight=weights[train])
            .predict(predictors[test])
            for penalty in _PENALTIES
        ]
        predictions.append(np.average(targets[train], axis=0, weights=weights[train])[None])
        errors += [(weights[test] @ (targets[test] - p) ** 2).sum() for p in predictions]
    best = int(errors.argmin())
    if errors[best] > (1 - _MIN_IMPROVEMENT) * errors[-1]:
        return NO_REGRESSION
    regression = Ridge(alpha=_PENALTIES[best]).fit(predictors, targets, sample_weight=weights)
    slope = scale * regression.coef_.T
    residuals = latents[rows] - (embeddings[rows] - centre) @ slope
    units = normalize(embeddings[rows].astype(np.float64))
    directions, offsets = _offsets_of_people(residuals, units, codes)
    return IdentityRegression(
        centre.astype(np.float32),
        slope.astype(np.float32),
        directions.astype(np.float32),
        offsets.astype(np.float32),
        _unknown_threshold(units, codes, directions),
    )


def _offsets_of_people(
    residuals: NDArray[np.float64], embeddings: NDArray[np.float64], people: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean directions and shrunken mean residuals of the people with enough photos."""
    counts = np.bincount(people)
    enough = counts >= _MIN_PHOTOS
    sums = np.zeros((len(counts), residuals.shape[1] + embeddings.shape[1]))
    np.add.at(sums, people, np.column_stack([residuals, embeddings]))
    offsets, directions = np.split(
        sums[enough] / counts[enough, None], [residuals.shape[1]], axis=1
    )
    if not enough.any():
        return directions, offsets
    shrinkage = counts[enough] / (counts[enough] + N_PHOTOS_HALF_WEIGHT)
    return normalize(directions), shrinkage[:, None] * (offsets - offsets.mean(axis=0))


def _unknown_threshold(
    embeddings: NDArray[np.float64], people: NDArray[np.int64], directions: NDArray[np.float64]
) -> float:
    """Midpoint of the mean genuine cosine and the mean best impostor cosine."""
    if not len(directions):
        return 0.0
    cosines = embeddings @ directions.T
    genuine = people[:, None] == np.flatnonzero(np.bincount(people) >= _MIN_PHOTOS)
    enrolled = genuine.any(axis=1)
    best_impostor = np.where(genuine, 0.0, cosines).max(axis=1)
    return float((cosines[genuine].mean() + best_impostor[enrolled].mean()) / 2)
