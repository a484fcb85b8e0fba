"""Surrogates: a conditional Gaussian of the features, given attributes and retained features.

A draw depends on the attributes, on the retained features and on noise alone.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import Ridge

from .._labels import one_hot
from .._validation import matmul
from ..exceptions import EdialsError

# The total weight of unlabelled images is capped at max(n_people, this): a large crowd must not
# decide what surrogates look like.
_CROWD = 100
# Factor on the effect of yaw, which a regression on a noisy proxy underestimates. On LFW validation
# images with 1 of 512 features, 4.5 gives a yaw correlation of 0.79.
_YAW_EMPHASIS = 4.5
# Yaw is clipped at this many standard deviations: no photos resemble draws beyond.
_MAX_YAW = 2.5
#: A class of fewer people would be drawn as these people look.
MIN_PEOPLE_PER_CLASS = 5
# Share of the spherical part that keeps a covariance invertible.
_TINY = 1e-6

# Conditional distributions are cached per prior, so that not every call factorises them anew.
_CACHE: WeakKeyDictionary[SurrogatePrior, dict[tuple[Any, ...], ConditionalDraw]]
_CACHE = WeakKeyDictionary()
_CACHE_SIZE = 4


def row_weights(people: NDArray[np.int64], complete: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weight of every photo: each labelled person has weight 1 in all."""
    weights = np.zeros(len(people))
    named, crowd = complete & (people >= 0), complete & (people < 0)
    photos = np.bincount(people[named], minlength=1)
    weights[named] = 1 / photos[people[named]]
    weights[crowd] = min(1.0, max((photos > 0).sum(), _CROWD) / max(crowd.sum(), 1))
    return weights


@dataclass(frozen=True, eq=False)
class SurrogatePrior:
    """A Gaussian of all features, given the attributes.

    Attributes
    ----------
    sizes : list of int
        Classes of each attribute.
    centre : ndarray of shape (sum(sizes),)
        Share of every class.
    mean : ndarray of shape (n_features,)
        Mean of the features at these shares.
    effects : ndarray of shape (sum(sizes), n_features)
        ``mean + (one_hot(attributes) - centre) @ effects`` is the mean for some attributes.
    covariance : ndarray of shape (n_features, n_features)
        Pooled covariance of single photos around that mean.
    yaw_scale : ndarray of shape (2,)
        Mean and standard deviation of :func:`edials.metrics.head_pose.yaw_proxy`.
    yaw_effect : ndarray of shape (n_features,)
        Change of the mean by one such standard deviation.
    emphasis : float, default=1.0
        Factor on the effects in a draw: pictures show less of an attribute than the features that
        they are decoded from.
    """

    sizes: list[int]
    centre: NDArray[np.float64]
    mean: NDArray[np.float64]
    effects: NDArray[np.float64]
    covariance: NDArray[np.float64]
    yaw_scale: NDArray[np.float64]
    yaw_effect: NDArray[np.float64]
    emphasis: float = 1.0

    def condition(
        self,
        mask: NDArray[np.bool_],
        *,
        consistency: float = 0.9,
        temperature: float = 0.3,
        yaw_emphasis: float = _YAW_EMPHASIS,
    ) -> ConditionalDraw:
        """The distribution of the replaced features, given the attributes and the other features.

        Yaw is a condition, too, unless all features are replaced.

        References
        ----------
        The conditional of a joint Gaussian: Bishop (2006), "Pattern recognition and machine
        learning", eqs. 2.81 and 2.82.
        """
        cached = _CACHE.setdefault(self, {})
        key = (mask.tobytes(), consistency, temperature, yaw_emphasis)
        draw = cached.get(key)
        if draw is None:
            draw = self._condition(mask, consistency, temperature, yaw_emphasis)
            if len(cached) >= _CACHE_SIZE:
                cached.clear()
            cached[key] = draw
        return draw

    def _condition(
        self, mask: NDArray[np.bool_], consistency: float, temperature: float, yaw_emphasis: float
    ) -> ConditionalDraw:
        replaced, observed = torch.tensor(mask), torch.tensor(~mask)
        mean, effects, yaw, covariance = (
            torch.tensor(part)
            for part in (self.mean, self.effects, self.yaw_effect, self.covariance)
        )
        least = _TINY * covariance.trace() / len(mask) + _TINY**2
        joint = covariance + least * torch.eye(len(mask), dtype=covariance.dtype)
        slope = torch.linalg.solve(joint[observed][:, observed], joint[observed][:, replaced])
        rest = joint[replaced][:, replaced] - joint[replaced][:, observed] @ slope
        # Effects of the attributes beyond what the retained features predict.
        effects = effects[:, replaced] - effects[:, observed] @ slope
        yaw = (yaw[replaced] - yaw[observed] @ slope) * observed.any()
        factor = torch.linalg.cholesky((rest + rest.T) / 2).T  # noise @ factor: factor' factor
        if mask.any() and (len(effects) or yaw.any()):
            contrasts = torch.stack([*_contrasts(effects, self.sizes), yaw])
            factor = _shrink_along(factor, contrasts, consistency)
        return ConditionalDraw(
            mask=mask,
            sizes=self.sizes,
            centre=self.centre,
            intercept=(mean[replaced] - mean[observed] @ slope).numpy(),
            effects=self.emphasis * effects.numpy(),
            yaw_scale=self.yaw_scale,
            yaw_effect=yaw_emphasis * yaw.numpy(),
            slope=slope.numpy(),
            factor=temperature * factor.numpy(),
        )


@dataclass(frozen=True)
class ConditionalDraw:
    """Draws of some features, given the attributes and the other features.

    Attributes
    ----------
    mask : ndarray of bool, shape (n_features,)
        The ``n_replaced`` features that are drawn.
    sizes : list of int
    centre : ndarray of shape (sum(sizes),)
    intercept : ndarray of shape (n_replaced,)
    effects : ndarray of shape (sum(sizes), n_replaced)
    yaw_scale : ndarray of shape (2,)
    yaw_effect : ndarray of shape (n_replaced,)
        Zero where all features are drawn.
    slope : ndarray of shape (n_features - n_replaced, n_replaced)
    factor : ndarray of shape (n_replaced, n_replaced)
    """

    mask: NDArray[np.bool_]
    sizes: list[int]
    centre: NDArray[np.float64]
    intercept: NDArray[np.float64]
    effects: NDArray[np.float64]
    yaw_scale: NDArray[np.float64]
    yaw_effect: NDArray[np.float64]
    slope: NDArray[np.float64]
    factor: NDArray[np.float64]

    def __call__(
        self,
        coordinates: NDArray,
        codes: NDArray[np.int64],
        noise: NDArray,
        yaw: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Draw the replaced features of every row (n, n_features); ``noise`` is standard normal."""
        # In double precision, so that the last bit of a sum, which may depend on how many rows
        # there are, is rounded away.
        features = coordinates.astype(np.float64)
        draws = self.intercept + matmul(features[:, ~self.mask], self.slope)
        draws += matmul(one_hot(codes, self.sizes) - self.centre, self.effects)
        if yaw is not None:
            mean, spread = self.yaw_scale
            scaled_yaw = np.clip((yaw - mean) / spread, -_MAX_YAW, _MAX_YAW)
            draws += np.outer(scaled_yaw, self.yaw_effect)
        draws += matmul(noise[:, self.mask].astype(np.float64), self.factor)
        features[:, self.mask] = draws
        return features.astype(np.float32)


def fit_prior(
    coordinates: NDArray,
    codes: NDArray[np.int64],
    sizes: list[int],
    people: NDArray[np.int64],
    yaw: NDArray[np.float64] | None = None,
) -> SurrogatePrior:
    """Estimate the surrogates' distribution.

    The mean is a regression on the attributes, so no cell needs people of its own. The covariance
    is pooled over all rows and shrunk (Ledoit and Wolf 2004). Every labelled person counts once.
    How unlabelled images differ from labelled ones otherwise, in framing say, is regressed out.
    """
    complete: NDArray[np.bool_] = np.all(codes >= 0, axis=1)
    if complete.sum() < 2:
        raise EdialsError(f"{int(complete.sum())} images have all attributes; expected two.")
    rows, weights = (
        coordinates[complete].astype(np.float64),
        row_weights(people, complete)[complete],
    )
    named = people[complete] >= 0
    indicators = one_hot(codes[complete], sizes)
    counted = weights * named if named.any() else weights
    centre = np.average(indicators, axis=0, weights=counted)
    scaled_yaw = np.zeros(len(rows)) if yaw is None else yaw[complete]
    mean = np.average(scaled_yaw, weights=counted)
    spread = np.sqrt(np.average((scaled_yaw - mean) ** 2, weights=counted)) or 1.0
    # The last column is 1 for unlabelled images, so that draws resemble the labelled ones.
    predictors = np.column_stack(
        [indicators - centre, (scaled_yaw - mean) / spread, (~named) * float(named.any())]
    )
    regression = Ridge(alpha=1.0).fit(predictors, rows, sample_weight=weights)
    residuals = rows - regression.predict(predictors)
    scaled = residuals * np.sqrt(weights / weights.sum())[:, None]
    effects = _merge_small_classes(
        regression.coef_.T[:-2], indicators, centre, sizes, people[complete]
    )
    return SurrogatePrior(
        sizes=sizes,
        centre=centre,
        mean=np.asarray(regression.intercept_),
        effects=effects,
        yaw_scale=np.array([mean, spread]),
        yaw_effect=regression.coef_.T[-2],
        # Unshrunk, retained features of a fitted photo would predict its replaced ones.
        covariance=ledoit_wolf(scaled * np.sqrt(len(scaled)), assume_centered=True)[0],
    )


def _merge_small_classes(
    effects: NDArray[np.float64],
    indicators: NDArray[np.float64],
    centre: NDArray[np.float64],
    sizes: list[int],
    people: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Give classes of few people the mean effect of the others: a draw must not show them."""
    features = np.where(people >= 0, people, people.max(initial=0) + 1 + np.arange(len(people)))
    effects = effects.copy()
    ends = np.cumsum(sizes)
    for first, end in zip(ends - sizes, ends, strict=True):
        block = np.arange(first, end)
        counts = [len(np.unique(features[indicators[:, column] > 0])) for column in block]
        few = np.array(counts) < MIN_PEOPLE_PER_CLASS
        shares = centre[block] * ~few
        total = shares.sum()
        effects[block[few]] = shares @ effects[block] / total if total else 0.0
    return effects


def _contrasts(effects: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    """Effect of every class, less the mean effect of its attribute's classes."""
    return [row for block in effects.split(sizes) for row in block - block.mean(dim=0)]


def _shrink_along(
    factor: torch.Tensor, contrasts: torch.Tensor, consistency: float
) -> torch.Tensor:
    """Shrink the noise along the directions that separate classes, in the whitened space."""
    # noise @ factor = residual, so a residual r is the noise r @ inv(factor).
    whitened = torch.linalg.solve_triangular(factor.T, contrasts.T, upper=False)
    directions, spread, _ = torch.linalg.svd(whitened, full_matrices=False)
    directions = directions[:, spread > 1e-3 * spread[0]]
    keep = (1 - consistency) ** 0.5
    return factor - (1 - keep) * directions @ (directions.T @ factor)


def replacement_mask(order: NDArray[np.int64], strength: float) -> NDArray[np.bool_]:
    """Mark the features to replace: the first ``round(strength * n_features)`` of an order."""
    if not isinstance(strength, numbers.Real) or not 0 <= strength <= 1:
        raise ValueError(f"strength={strength!r}; expected a share of features, from 0 to 1.")
    mask = np.zeros(len(order), dtype=bool)
    mask[order[: round(float(strength) * len(order))]] = True
    return mask
