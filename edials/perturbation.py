"""What is done to the features: chosen once, then replaced by a synthetic draw, or pushed away.

Pure functions of tensors and a distribution. Coordinates are rows of shape (n, n_features).
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from ._targets import one_hot
from .exceptions import EdialsError


def choose(importance: NDArray, strength: float) -> NDArray[np.bool_]:
    """Mark the features to replace: the ``round(strength * n_features)`` most important ones.

    Parameters
    ----------
    importance : ndarray of shape (n_features,)
    strength : float in [0, 1]

    Returns
    -------
    ndarray of bool, shape (n_features,)

    Raises
    ------
    ValueError
        If the strength is not in [0, 1].
    """
    if not isinstance(strength, numbers.Real) or not 0 <= strength <= 1:
        raise ValueError(f"strength={strength!r}; expected a share of features, from 0 to 1.")
    mask = np.zeros(len(importance), dtype=bool)
    # Stable, so that equal importances are taken in feature order on every machine.
    order = np.argsort(-np.asarray(importance), kind="stable")
    mask[order[: round(float(strength) * len(importance))]] = True
    return mask


def surrogate(
    coordinates: torch.Tensor, draws: torch.Tensor, mask: NDArray[np.bool_]
) -> torch.Tensor:
    """Replace the marked features of every row by its draw."""
    return torch.where(torch.from_numpy(mask).to(coordinates.device), draws, coordinates)


@dataclass(frozen=True)
class SurrogatePrior:
    """Where surrogates come from: a Gaussian whose mean depends on the kept attributes alone.

    Attributes
    ----------
    sizes : list of int
        Classes of each attribute.
    mean : ndarray of shape (n_features,)
    effects : ndarray of shape (sum(sizes), n_features)
        ``mean + one_hot(attributes) @ effects`` is the mean of a draw.
    factor : ndarray of shape (n_features, n_features)
        ``noise @ factor`` has the pooled covariance of single photos around that mean, shrunk as
        :func:`fit_prior` says.
    """

    sizes: list[int]
    mean: NDArray[np.float32]
    effects: NDArray[np.float32]
    factor: NDArray[np.float32]

    def draw(self, codes: NDArray[np.int64], noise: torch.Tensor) -> torch.Tensor:
        """Turn standard normal noise (n, ..., n_features) into draws for attribute codes.

        Parameters
        ----------
        codes : ndarray of shape (n, n_attributes)
        noise : Tensor of shape (n, ..., n_features)
        """
        means = self.mean + one_hot(codes, self.sizes).astype(np.float32) @ self.effects
        shape = (len(codes), *[1] * (noise.ndim - 2), means.shape[1])
        return torch.from_numpy(means).to(noise).reshape(shape) + noise @ torch.from_numpy(
            self.factor
        ).to(noise)


# People nobody named enter a surrogate's distribution as if they were as many as the named ones, or
# this many, at most: a large crowd must not decide what the released faces look like.
_CROWD = 100


def row_weights(people: NDArray[np.int64], complete: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much each photo counts in the surrogates' distribution: every named person once."""
    weights = np.zeros(len(people))
    named, crowd = complete & (people >= 0), complete & (people < 0)
    photos = np.bincount(people[named], minlength=1)
    weights[named] = 1 / photos[people[named]]
    weights[crowd] = min(1.0, max((photos > 0).sum(), _CROWD) / max(crowd.sum(), 1))
    return weights


def fit_prior(
    coordinates: NDArray,
    codes: NDArray[np.int64],
    sizes: list[int],
    weights: NDArray[np.float64],
    *,
    consistency: float = 0.9,
    temperature: float = 0.5,
) -> SurrogatePrior:
    """Estimate the surrogates' distribution.

    The mean is a regression on the attributes, so that no cell needs people of its own; the
    covariance is pooled over all rows. Along the directions that tell the attributes' classes
    apart (Fisher's), a share ``consistency`` of the residual variance is removed: there a draw
    should be typical of its attributes, or the attribute is lost in the noise.

    Parameters
    ----------
    coordinates : ndarray of shape (n_samples, n_features)
    codes : ndarray of shape (n_samples, n_attributes)
        Rows with a missing label (-1) are left out.
    sizes : list of int
    weights : ndarray of shape (n_samples,)
        Weight of each photo; with 1 / (photos of the person) every person counts once.
    consistency : float in [0, 1), default=0.9
    temperature : float in (0, 1], default=0.5
        Factor on the standard deviation of a draw. A Gaussian reaches further than faces do, and
        its far draws look like several at once; nearer ones are more like faces, and more alike.

    Returns
    -------
    SurrogatePrior
    """
    known = (codes >= 0).all(axis=1)
    if known.sum() < 2:
        raise EdialsError(f"{int(known.sum())} images have all kept attributes; expected two.")
    rows, weights = coordinates[known].astype(np.float64), weights[known]
    indicators = one_hot(codes[known], sizes)
    if indicators.shape[1]:
        regression = Ridge(alpha=1.0).fit(indicators, rows, sample_weight=weights)
        mean, effects = regression.intercept_, regression.coef_.T
    else:
        mean, effects = np.average(rows, axis=0, weights=weights), np.empty((0, rows.shape[1]))
    residuals = rows - mean - indicators @ effects
    scaled = residuals * np.sqrt(weights / weights.sum())[:, None]
    covariance = scaled.T @ scaled
    covariance += np.eye(len(covariance)) * 1e-6 * np.trace(covariance) / len(covariance)
    factor = np.linalg.cholesky(covariance).T  # noise @ factor has covariance factor' factor
    if len(effects):
        factor = _calm(factor, covariance, effects, sizes, consistency)
    factor = temperature * factor
    return SurrogatePrior(
        sizes, mean.astype(np.float32), effects.astype(np.float32), factor.astype(np.float32)
    )


def _calm(
    factor: NDArray, covariance: NDArray, effects: NDArray, sizes: list[int], consistency: float
) -> NDArray:
    """Shrink the noise along the directions that separate the attributes' classes.

    In the whitened space the separating directions are those of the whitened class effects.
    """
    contrasts, start = [], 0
    for size in sizes:
        block = effects[start : start + size]
        contrasts.append(block - block.mean(axis=0))
        start += size
    # noise @ factor = residual, so a residual r is the noise r @ inv(factor).
    whitened = np.linalg.solve(factor.T, np.concatenate(contrasts).T)
    directions, spread, _ = np.linalg.svd(whitened, full_matrices=False)
    directions = directions[:, spread > 1e-3 * spread[0]]
    keep = np.sqrt(1 - consistency)
    shrink = np.eye(len(covariance)) - (1 - keep) * directions @ directions.T
    return shrink @ factor


def evade(
    coordinates: torch.Tensor,
    attributions: torch.Tensor,
    centre: torch.Tensor,
    scale: torch.Tensor,
    recognised: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    single_steps: int = 12,
    max_steps: int = 40,
    growth: float = 1.15,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Push the features that speak most for the person back, until they are no longer recognised.

    The published loop, for a batch: features in the order of their attribution, one more feature
    each step, then half as many again and ``growth`` times as far. A feature moves to the side
    where it speaks against the person, and the norm around the centre is kept. Every row moves
    at least one step, and leaves the batch at its first step that is not recognised.

    Parameters
    ----------
    coordinates, attributions : Tensor of shape (n, n_features)
    centre, scale : Tensor of shape (n_features,)
        Mean and standard deviation of each feature over the background.
    recognised : callable (coordinates (m, n_features), rows (m,)) -> bool Tensor (m,)
        Whether the person is still recognised, with its margin.
    single_steps : int, default=12
        Steps that add one feature each.
    max_steps : int, default=40
    growth : float, default=1.15

    Returns
    -------
    moved : Tensor of shape (n, n_features)
    steps : Tensor of shape (n,), dtype int64
        Steps taken, from 1; -1 where the person was still recognised after ``max_steps``.
    """
    deviation = coordinates - centre
    towards = -torch.sign(attributions) * torch.sign(deviation) * scale
    rank = attributions.abs().argsort(dim=1, descending=True).argsort(dim=1)
    norm = deviation.norm(dim=1, keepdim=True)
    moved, steps = coordinates.clone(), torch.full((len(coordinates),), -1, dtype=torch.int64)
    active = torch.arange(len(coordinates))
    features, reach = 0.0, 1.0
    for step in range(1, max_steps + 1):
        if step <= single_steps:
            features = float(step)
        else:
            features, reach = features * 1.5, reach * growth
        here = active.to(coordinates.device)
        pushed = deviation[here] + reach * towards[here] * (rank[here] < features)
        pushed = pushed * (norm[here] / pushed.norm(dim=1, keepdim=True).clamp_min(1e-12))
        moved[here] = centre + pushed
        still = recognised(moved[here], here).cpu()
        steps[active[~still]] = step
        active = active[still]
        if not len(active):
            break
    return moved, steps
