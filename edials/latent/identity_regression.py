"""What of the latents belongs to the person: taken off before anything is given back.

No direction of the latents is free of who somebody is. What a recogniser sees of a picture
foretells, a little, the latents of the same person's other photos, also of people it never saw. Of
people with many fitted photos more is known: how these differ from what is foretold. With both
taken off, what is given back shows more of the picture for what it tells of the person.
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
from .identity_basis import HALF_KNOWN

# Penalties of the regression, on embeddings whose features are about one in size. With fewer people
# than features a small one would learn everybody's mean by heart.
_PENALTIES = [1e2, 1e3, 1e4, 1e5]
_FOLDS = 5
# The least share of the error of foretelling the mean that a regression must be better by.
_WORTH = 1e-3
# Fewest fitted photos that say how somebody differs from what is foretold; and how much less alike
# somebody must look, by the cosine, to count e times less.
_KNOWN_PHOTOS, _ALIKE = 5, 0.05


@dataclass(frozen=True)
class IdentityRegression:
    """From a recogniser's embedding to the person's part of the latents.

    Attributes
    ----------
    centre : ndarray of shape (embedding_dim,)
    slope : ndarray of shape (embedding_dim, latent_dim)
        Of what is foretold of anybody; without rows where nothing is taken off.
    known : ndarray of shape (n_known, embedding_dim)
        Directions of the people with many fitted photos.
    beyond : ndarray of shape (n_known, latent_dim)
        Their part beyond what is foretold, as far as it is known.
    nobody : float
        Cosine with a known person below which a photo is rather of nobody who is known.
    """

    centre: NDArray[np.float32]
    slope: NDArray[np.float32]
    known: NDArray[np.float32]
    beyond: NDArray[np.float32]
    nobody: float

    def residualize(
        self, latents: NDArray[np.float32], embeddings: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Latents without the person's part.

        Parameters
        ----------
        latents : ndarray of shape (n, latent_dim)
        embeddings : ndarray of shape (n, embedding_dim)
            Of the same pictures. Of a row that is not finite nothing is taken off.

        Returns
        -------
        ndarray of shape (n, latent_dim)
        """
        if not len(self.slope):
            return latents
        # In double precision and rounded, as draws are: it must not matter how many rows there are.
        embeddings = embeddings.astype(np.float64)
        usable = np.isfinite(embeddings).all(axis=1)
        part = np.zeros((len(latents), self.slope.shape[1]))
        seen = embeddings[usable]
        part[usable] = matmul(seen - self.centre, self.slope.astype(np.float64))
        if len(self.known) and len(seen):
            alike = matmul(normalize(seen), self.known.T.astype(np.float64))
            alike = np.column_stack([alike, np.full(len(seen), self.nobody)])
            who = softmax(alike / _ALIKE, axis=1)[:, :-1]
            part[usable] += matmul(who, self.beyond.astype(np.float64))
        return (latents - part).astype(np.float32)


_NOTHING = np.zeros((0, 0), np.float32)
#: Takes nothing off.
NO_REGRESSION = IdentityRegression(np.zeros(0, np.float32), _NOTHING, _NOTHING, _NOTHING, 0.0)


def fit_identity_regression(
    latents: NDArray[np.float32], embeddings: NDArray[np.float32], people: NDArray[np.int64]
) -> IdentityRegression:
    """Learn to foretell, from how a photo is recognised, the person's other photos.

    A ridge regression of the mean latents of the person's other photos on the photo's embedding.
    Its penalty is the one that foretells best for people it was not fitted on. What the mean of
    five photos or more of somebody differs by from what is foretold is taken off of who looks like
    that person, as far as it is not chance; of who looks like none of them nothing more is.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, latent_dim)
    embeddings : ndarray of shape (n_samples, embedding_dim)
        Rows that are not finite are left out.
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown, and these rows are left out. A person counts by how well the
        means of the others are known, and by the root of the number of photos.

    Returns
    -------
    IdentityRegression
        :data:`NO_REGRESSION` where nothing is foretold of other people.

    References
    ----------
    Belrose et al. (2023), "LEACE: perfect linear concept erasure in closed form", takes a concept
    off by what foretells it linearly; here the person's latents are foretold by another network.
    """
    usable = np.flatnonzero((people >= 0) & np.isfinite(embeddings).all(axis=1))
    counts = np.bincount(people[usable], minlength=1)
    rows = usable[counts[people[usable]] >= 2]
    own, photos = people[rows], counts[people[rows]]
    n_people = len(np.unique(own))
    if n_people < 2:
        return NO_REGRESSION
    sums = np.zeros((len(counts), latents.shape[1]))
    np.add.at(sums, own, latents[rows].astype(np.float64))
    others = (sums[own] - latents[rows]) / (photos - 1)[:, None]
    weights = (photos - 1) / (photos - 1 + HALF_KNOWN) / np.sqrt(photos)
    scale = np.sqrt(embeddings.shape[1])
    centre = np.average(embeddings[rows].astype(np.float64), axis=0, weights=weights)
    predictors, weights = scale * (embeddings[rows] - centre), weights / weights.mean()
    # By hand: a search would ask the user's metadata routing for leave to pass the weights.
    errors = np.zeros(len(_PENALTIES) + 1)  # the last of foretelling the mean
    for taught, asked in GroupKFold(min(_FOLDS, n_people)).split(predictors, groups=own):
        foretold = [
            Ridge(alpha=penalty)
            .fit(predictors[taught], others[taught], sample_weight=weights[taught])
            .predict(predictors[asked])
            for penalty in _PENALTIES
        ]
        foretold.append(np.average(others[taught], axis=0, weights=weights[taught])[None])
        errors += [(weights[asked] @ (others[asked] - told) ** 2).sum() for told in foretold]
    best = int(errors.argmin())
    if errors[best] > (1 - _WORTH) * errors[-1]:
        return NO_REGRESSION
    regression = Ridge(alpha=_PENALTIES[best]).fit(predictors, others, sample_weight=weights)
    slope = scale * regression.coef_.T
    left = latents[rows] - (embeddings[rows] - centre) @ slope
    seen = normalize(embeddings[rows].astype(np.float64))
    known, beyond = _beyond(left, seen, own)
    return IdentityRegression(
        centre.astype(np.float32),
        slope.astype(np.float32),
        known.astype(np.float32),
        beyond.astype(np.float32),
        _between(seen, own, known),
    )


def _beyond(
    left: NDArray[np.float64], seen: NDArray[np.float64], people: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """People with many photos: where they are seen, and what is left of their means, shrunk."""
    counts = np.bincount(people)
    many = counts >= _KNOWN_PHOTOS
    sums = np.zeros((len(counts), left.shape[1] + seen.shape[1]))
    np.add.at(sums, people, np.column_stack([left, seen]))
    means, known = np.split(sums[many] / counts[many, None], [left.shape[1]], axis=1)
    if not many.any():
        return known, means  # of nobody
    shares = counts[many] / (counts[many] + HALF_KNOWN)
    return normalize(known), shares[:, None] * (means - means.mean(axis=0))


def _between(
    seen: NDArray[np.float64], people: NDArray[np.int64], known: NDArray[np.float64]
) -> float:
    """Half way from how alike a known person's photos are to them to how alike those of others."""
    if not len(known):
        return 0.0
    alike = seen @ known.T
    many = np.flatnonzero(np.bincount(people) >= _KNOWN_PHOTOS)
    own = people[:, None] == many
    counted = own.any(axis=1)
    best_other = np.where(own, 0.0, alike).max(axis=1)
    return float((alike[own].mean() + best_other[counted].mean()) / 2)
