"""The identity basis: latents in coordinates of which the last show much and tell little.

Pure linear algebra. Features are given back from the last coordinate on, so the order decides how
much of the picture a given leakage buys.
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

#: Photos of one person whose mean counts half: of fewer, most of it is chance.
HALF_KNOWN = 10
# So much of the spread between photos of one person is taken for spread between people, however
# little people seem to differ: estimates err, and what errs most would be given back first.
_CAUTION = 0.3
_TINY = 1e-6
# Pictures are compared at about this size at most, and changes are judged on so many.
_SIDE, _LOOKED_AT = 64, 256


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
    telling : ndarray of shape (latent_dim,)
        Between-person over within-person variance of every coordinate, beyond the kept attributes;
        zeros in the raw basis.
    """

    mean: NDArray[np.float32]
    forward: NDArray[np.float32]
    inverse: NDArray[np.float32]
    telling: NDArray[np.float32]

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
    latents: NDArray,
    people: NDArray[np.int64],
    attributes: NDArray | None = None,
    picture: NDArray | None = None,
) -> IdentityBasis:
    """Order directions of the latents by the picture they show for the identity they tell.

    With ``S_b`` the covariance of people's means, the attributes regressed out of them and what
    photos of one person scatter taken off, ``S_w`` the covariance of photos of one person, ``C``
    that of all photos, and ``G`` how much of the picture latents show, ``v`` solves
    ``C G C v = rho (S_b + 0.3 S_w) v``: ``v' C G C v`` is what of the pictures the latent
    coordinate ``v' z`` explains. The last coordinate has the largest ``rho``. Coordinates are then
    made uncorrelated, each with those after it, and of unit variance, so that none foretells what
    an earlier one was.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, latent_dim)
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown, and these rows are left out. A person of ``n`` photos counts
        ``n / (n + 10)``; of one photo, not at all.
    attributes : ndarray of shape (n_samples, n_columns), optional
        Indicators of the kept attributes.
    picture : ndarray of shape (latent_dim, latent_dim), optional
        ``G``, see :func:`picture_metric`; None takes all latents for equally visible.

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
    several = counts >= 2
    if several.sum() < 2:
        raise InvalidLabelsError(
            f"{int(several.sum())} people have two images or more; expected at least two, "
            f"since what tells people apart is judged against how photos of one person differ."
        )
    indicator = np.zeros((len(counts), len(latents)))
    indicator[codes, np.arange(len(latents))] = 1 / counts[codes]
    means = indicator @ latents
    deviations = (latents - means[codes])[several[codes]]
    # A person's n photos leave n - 1 degrees of freedom.
    freedom = len(deviations) / (len(deviations) - several.sum())
    within = _covariance(deviations, centred=True) * freedom
    of_people = None if attributes is None else (indicator @ attributes[rows])[several]
    between = _between(means[several], counts[several], within, of_people)
    total = _covariance(latents)
    metric = np.eye(len(total)) if picture is None else picture
    shown = total @ metric @ total
    vectors = eigh(shown, between + _CAUTION * within)[1][:, ::-1]
    # Orthonormal in C, the best first, so that what is given back spans the best directions.
    root = np.linalg.cholesky(total)
    best_first = np.linalg.solve(root.T, qr(root.T @ vectors)[0])
    forward = best_first[:, ::-1]
    telling = np.einsum("ij,ij->j", forward, between @ forward) / np.einsum(
        "ij,ij->j", forward, within @ forward
    )
    return IdentityBasis(
        mean=means.mean(axis=0).astype(np.float32),
        forward=forward.astype(np.float32),
        # V' C V = I, so the inverse of V is V' C.
        inverse=(forward.T @ total).astype(np.float32),
        telling=telling.astype(np.float32),
    )


def _covariance(rows: NDArray, centred: bool = False) -> NDArray[np.float64]:
    """Shrunk, and never singular: latents of few or equal photos may not vary in some direction."""
    found = ledoit_wolf(rows, assume_centered=centred)[0]
    return found + (_TINY * np.trace(found) / len(found) + _TINY**2) * np.eye(len(found))


def _between(
    means: NDArray, counts: NDArray, within: NDArray, attributes: NDArray | None
) -> NDArray[np.float64]:
    """Covariance between people, attributes and the scatter of their own photos taken off."""
    weights = counts / (counts + HALF_KNOWN)
    weights = weights / weights.sum()
    centred = means - weights @ means
    if attributes is not None and attributes.shape[1]:
        regression = Ridge(alpha=1.0)
        regression.fit(attributes, centred, sample_weight=weights * len(weights))
        centred = centred - regression.predict(attributes)
    between = (centred * weights[:, None]).T @ centred - (weights / counts).sum() * within
    # A difference of estimates; as a covariance it has no negative variance in any direction.
    values, vectors = eigh(between, within)
    across = within @ vectors
    return (across * np.maximum(values, 0)) @ across.T


def picture_metric(
    decode: Callable[[NDArray], NDArray[np.uint8]], latents: NDArray
) -> NDArray[np.float64]:
    """How much of the picture each latent shows, and any two of them share.

    Parameters
    ----------
    decode : callable (n, latent_dim) -> ndarray of shape (n, height, width, 3), dtype uint8
    latents : ndarray of shape (n_samples, latent_dim)

    Returns
    -------
    ndarray of shape (latent_dim, latent_dim)
        What structural similarity loses, see :func:`edials.metrics.ssim.dissimilarity_metric`,
        where pictures of these latents change as the mean face's does by one unit of a latent: half
        the difference of the pictures two standard deviations apart.
    """
    mean, spread = latents.mean(axis=0), latents.std(axis=0)
    steps = np.diag(spread)
    some = np.linspace(0, len(latents) - 1, min(len(latents), _LOOKED_AT)).astype(int)
    up, down, pictures = (
        _small(decode(rows.astype(np.float32)))
        for rows in (mean + steps, mean - steps, latents[some])
    )
    scale = torch.from_numpy(2 * np.maximum(spread, 1e-12)).float()
    return dissimilarity_metric((up - down) / scale[:, None, None, None], pictures).numpy()


def _small(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures as tensors in [0, 1], large ones shrunk."""
    shrink = max(1, max(pictures.shape[1:3]) // _SIDE)
    parts = np.array_split(pictures, max(1, len(pictures) // 64))
    return torch.cat([functional.avg_pool2d(to_tensor(part), shrink) for part in parts])
