"""The identity basis: a rotation of the latents, ordered by how much they tell people apart.

Pure linear algebra. A coordinate's eigenvalue is the ratio of the variance between people, beyond
what the kept attributes explain, to the variance between photos of one person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import Ridge

from .exceptions import InvalidLabelsError


@dataclass(frozen=True)
class IdentityBasis:
    """An invertible affine map between latents z and coordinates u.

    Attributes
    ----------
    mean : ndarray of shape (latent_dim,)
    forward : ndarray of shape (latent_dim, latent_dim)
        ``u = (z - mean) @ forward``.
    inverse : ndarray of shape (latent_dim, latent_dim)
        ``z = u @ inverse + mean``.
    eigenvalues : ndarray of shape (latent_dim,), descending
        Between-person over within-person variance; zeros in the raw basis.
    """

    mean: NDArray[np.float32]
    forward: NDArray[np.float32]
    inverse: NDArray[np.float32]
    eigenvalues: NDArray[np.float32]

    def rotate(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (n, latent_dim) to coordinates (n, latent_dim), on the latents' device."""
        return (latents - self._like(self.mean, latents)) @ self._like(self.forward, latents)

    def unrotate(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Coordinates (n, latent_dim) back to latents; differentiable."""
        return coordinates @ self._like(self.inverse, coordinates) + self._like(
            self.mean, coordinates
        )

    @staticmethod
    def _like(array: NDArray[np.float32], tensor: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(array).to(tensor)


def raw_basis(latents: NDArray) -> IdentityBasis:
    """The latents themselves as features: no rotation, no shift."""
    eye = np.eye(latents.shape[1], dtype=np.float32)
    zeros = np.zeros(latents.shape[1], dtype=np.float32)
    return IdentityBasis(zeros, eye, eye, zeros)


def fit_identity_basis(
    latents: NDArray, people: NDArray[np.int64], attributes: NDArray | None = None
) -> IdentityBasis:
    """Find the directions in which people differ beyond the attributes.

    With the means of the people ``m_p``, the attributes regressed out of them, and the deviations
    of the photos from their person's mean, the basis solves ``S_b v = lambda S_w v`` with
    ``v' S_w v = 1``: Fisher's discriminant directions, all of them, so that the map is invertible.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, latent_dim)
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown, and these rows are left out.
    attributes : ndarray of shape (n_samples, n_columns), optional
        Indicators of the kept attributes.

    Returns
    -------
    IdentityBasis

    Raises
    ------
    InvalidLabelsError
        If fewer than two people have two images or more.

    References
    ----------
    Fisher (1936), "The use of multiple measurements in taxonomic problems". The within-person
    covariance is shrunk as in Ledoit and Wolf (2004), "A well-conditioned estimator for
    large-dimensional covariance matrices".
    """
    rows = people >= 0
    latents = latents[rows].astype(np.float64)
    codes, counts = np.unique(people[rows], return_inverse=True, return_counts=True)[1:]
    if (counts >= 2).sum() < 2:
        raise InvalidLabelsError(
            f"{int((counts >= 2).sum())} people have two images or more; expected at least two, "
            f"since what tells people apart is judged against how photos of one person differ."
        )
    indicator = np.zeros((len(counts), len(latents)))
    indicator[codes, np.arange(len(latents))] = 1 / counts[codes]
    means = indicator @ latents
    deviations = (latents - means[codes])[counts[codes] >= 2]
    # A person's n photos leave n - 1 degrees of freedom.
    freedom = len(deviations) / (len(deviations) - (counts >= 2).sum())
    within = ledoit_wolf(deviations, assume_centered=True)[0] * freedom
    centred = means - means.mean(axis=0)
    if attributes is not None and attributes.shape[1]:
        of_people = indicator @ attributes[rows]
        centred = centred - Ridge(alpha=1.0).fit(of_people, centred).predict(of_people)
    between = centred.T @ centred / max(len(centred) - 1, 1)
    values, vectors = eigh(between, within)
    order = np.argsort(values)[::-1]
    forward = vectors[:, order]
    return IdentityBasis(
        mean=means.mean(axis=0).astype(np.float32),
        forward=forward.astype(np.float32),
        # V' S_w V = I, so the inverse of V is V' S_w.
        inverse=(forward.T @ within).astype(np.float32),
        eigenvalues=np.maximum(values[order], 0).astype(np.float32),
    )
