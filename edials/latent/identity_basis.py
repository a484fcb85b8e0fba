"""The identity basis: coordinates of the latents, ordered by picture per unit of identity.

Pure linear algebra. Features are retained from the last coordinate on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh, qr
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import Ridge
from torch.nn import functional

from .._validation import to_tensor
from ..exceptions import InvalidLabelsError
from ..metrics.ssim import dissimilarity_metric

#: A person with this many photos has half of the full weight: means of fewer are mostly noise.
N_PHOTOS_HALF_WEIGHT = 10
# Weight of the within-person covariance in the denominator. Without it, the direction whose
# between-person variance is underestimated most would be retained first.
_WITHIN_WEIGHT = 0.3
_TINY = 1e-6
# The picture metric is computed at this side length in pixels at most, on this many pictures.
_SIDE, _METRIC_ROWS = 64, 256


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
    """

    mean: NDArray[np.float32]
    forward: NDArray[np.float32]
    inverse: NDArray[np.float32]

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
    return IdentityBasis(zeros, eye, eye)


def fit_identity_basis(
    latents: NDArray,
    people: NDArray[np.int64],
    attributes: NDArray | None = None,
    picture: NDArray | None = None,
) -> IdentityBasis:
    """Order directions of the latents by their share of the picture per unit of identity.

    ``S_b`` is the covariance of people's means, with attributes regressed out and the sampling
    noise of the means subtracted. ``S_w`` is the covariance within people, ``C`` that of all
    photos, ``G`` the picture metric. ``v`` solves ``C G C v = rho (S_b + 0.3 S_w) v``; the last
    coordinate has the largest ``rho``. Coordinates are then orthonormalised in ``C``, the last
    first, so that no retained coordinate predicts a replaced one linearly.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, latent_dim)
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown, and these rows are left out. A person of ``n`` photos counts
        ``n / (n + 10)``; of one photo, not at all.
    attributes : ndarray of shape (n_samples, n_columns), optional
        Indicators of the attributes.
    picture : ndarray of shape (latent_dim, latent_dim), optional
        ``G``, see :func:`picture_metric`; None is the identity matrix.

    Returns
    -------
    IdentityBasis

    Raises
    ------
    InvalidLabelsError
        If fewer than two people have two images or more.

    References
    ----------
    Fisher (1936), "The use of multiple measurements in taxonomic problems", with another numerator.
    Covariances are shrunk as in Ledoit and Wolf (2004), "A well-conditioned estimator for
    large-dimensional covariance matrices".
    """
    rows = people >= 0
    latents = latents[rows].astype(np.float64)
    codes, counts = np.unique(people[rows], return_inverse=True, return_counts=True)[1:]
    has_pair = counts >= 2
    if has_pair.sum() < 2:
        raise InvalidLabelsError(
            f"{int(has_pair.sum())} people have two images or more; expected at least two, "
            f"since identity is measured against the differences between photos of one person."
        )
    indicator = np.zeros((len(counts), len(latents)))
    indicator[codes, np.arange(len(latents))] = 1 / counts[codes]
    means = indicator @ latents
    deviations = (latents - means[codes])[has_pair[codes]]
    # A person's n photos leave n - 1 degrees of freedom.
    freedom = len(deviations) / (len(deviations) - has_pair.sum())
    within = _covariance(deviations, centred=True) * freedom
    person_attributes = None if attributes is None else (indicator @ attributes[rows])[has_pair]
    between = _between(means[has_pair], counts[has_pair], within, person_attributes)
    total = _covariance(latents)
    metric = np.eye(len(total)) if picture is None else picture
    explained = total @ metric @ total
    vectors = eigh(explained, between + _WITHIN_WEIGHT * within)[1][:, ::-1]
    # Orthonormal in C, starting at the largest rho, so that retained coordinates span the best.
    root = np.linalg.cholesky(total)
    best_first = np.linalg.solve(root.T, qr(root.T @ vectors)[0])
    forward = best_first[:, ::-1]
    return IdentityBasis(
        mean=means.mean(axis=0).astype(np.float32),
        forward=forward.astype(np.float32),
        # V' C V = I, so the inverse of V is V' C.
        inverse=(forward.T @ total).astype(np.float32),
    )


def _covariance(rows: NDArray, centred: bool = False) -> NDArray[np.float64]:
    """Shrunk covariance (Ledoit and Wolf 2004), never singular."""
    covariance = ledoit_wolf(rows, assume_centered=centred)[0]
    ridge = _TINY * np.trace(covariance) / len(covariance) + _TINY**2
    return covariance + ridge * np.eye(len(covariance))


def _between(
    means: NDArray, counts: NDArray, within: NDArray, attributes: NDArray | None
) -> NDArray[np.float64]:
    """Covariance between people, residual to attributes, less the sampling noise of the means."""
    weights = counts / (counts + N_PHOTOS_HALF_WEIGHT)
    weights = weights / weights.sum()
    centred = means - weights @ means
    if attributes is not None and attributes.shape[1]:
        regression = Ridge(alpha=1.0)
        regression.fit(attributes, centred, sample_weight=weights * len(weights))
        centred = centred - regression.predict(attributes)
    between = (centred * weights[:, None]).T @ centred - (weights / counts).sum() * within
    # A difference of estimates may be indefinite; negative variances are set to zero.
    values, vectors = eigh(between, within)
    across = within @ vectors
    return (across * np.maximum(values, 0)) @ across.T


def picture_metric(
    decode: Callable[[NDArray], NDArray[np.uint8]], latents: NDArray
) -> NDArray[np.float64]:
    """Matrix of ``d' metric d``, the loss of structural similarity by a latent change ``d``."""
    mean, spread = latents.mean(axis=0), latents.std(axis=0)
    steps = np.diag(spread)
    sample = np.linspace(0, len(latents) - 1, min(len(latents), _METRIC_ROWS)).astype(int)
    up, down, pictures = (
        _as_tensor(decode(rows.astype(np.float32)))
        for rows in (mean + steps, mean - steps, latents[sample])
    )
    scale = torch.from_numpy(2 * np.maximum(spread, 1e-12)).float()
    return dissimilarity_metric((up - down) / scale[:, None, None, None], pictures).numpy()


def _as_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures as tensors in [0, 1], large ones shrunk."""
    shrink = max(1, max(pictures.shape[1:3]) // _SIDE)
    parts = np.array_split(pictures, max(1, len(pictures) // 64))
    return torch.cat([functional.avg_pool2d(to_tensor(part), shrink) for part in parts])
