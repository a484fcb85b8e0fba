"""Where surrogates come from: a distribution of the features given what is kept.

A draw depends on the kept attributes, on the features that are given back, and on chance. So
whoever sees it learns no more about the person than these attributes and features tell.
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

# People nobody named enter a surrogate's distribution as if they were as many as the named ones, or
# this many, at most: a large crowd must not decide what the released faces look like.
_CROWD = 100
# Which way a head is turned is read with noise; at the size that a regression on noise gives it, it
# would hardly be seen. On LFW's validation images with 1 of 512 features 3.5, 4.5 and 6 show it
# with a correlation of 0.75, 0.79 and 0.84, at a similarity of 0.457, 0.456 and 0.455; the more is
# given back, the more of that looks like a turn, and the less it shows.
_TURN_EMPHASIS = 4.5
# Standard deviations beyond which a turn is not shown farther: no photos are like such draws.
_FARTHEST_TURN = 2.5
#: Of fewer people with one reading or label, what is learned of it would be the looks of these.
FEWEST_PEOPLE = 5
# Share of the spherical part that keeps a covariance invertible.
_TINY = 1e-6

# Draws by distribution, as long as that is in use, so that not every call works them out anew; and
# of how many kinds.
_DRAWS: WeakKeyDictionary[SurrogatePrior, dict[tuple[Any, ...], ConditionalDraw]]
_DRAWS = WeakKeyDictionary()
_REMEMBERED = 4


def row_weights(people: NDArray[np.int64], complete: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much each photo counts in the surrogates' distribution: every named person once."""
    weights = np.zeros(len(people))
    named, crowd = complete & (people >= 0), complete & (people < 0)
    photos = np.bincount(people[named], minlength=1)
    weights[named] = 1 / photos[people[named]]
    weights[crowd] = min(1.0, max((photos > 0).sum(), _CROWD) / max(crowd.sum(), 1))
    return weights


@dataclass(frozen=True, eq=False)
class SurrogatePrior:
    """A Gaussian of all features, given the kept attributes.

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
        Mean and standard deviation of which way heads are turned, see
        :mod:`edials.metrics.head_pose`.
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

    def given(
        self,
        mask: NDArray[np.bool_],
        *,
        consistency: float = 0.9,
        temperature: float = 0.3,
        yaw_emphasis: float = _TURN_EMPHASIS,
    ) -> ConditionalDraw:
        """The distribution of the marked features, given the attributes and the other features.

        Which way the head is turned is given, too, unless all features are marked.

        Parameters
        ----------
        mask : ndarray of bool, shape (n_features,)
            Features to replace.
        consistency : float in [0, 1), default=0.9
            Share of the variance that is removed along the directions which tell the attributes'
            classes apart (Fisher's): a draw should be typical of its attributes, or they are lost
            in the noise.
        temperature : float in (0, 1], default=0.3
            Factor on the standard deviation of a draw. A Gaussian reaches further than faces do:
            its far draws look like several faces at once; nearer ones are more like faces, and more
            alike.
        yaw_emphasis : float, default=4.5
            Factor on the effect of the turn of the head, 0 or more: 1 is what a regression on the
            turn as it is read gives, more shows the turn better.

        Returns
        -------
        ConditionalDraw

        References
        ----------
        The conditional of a joint Gaussian: Bishop (2006), "Pattern recognition and machine
        learning", eqs. 2.81 and 2.82.
        """
        known = _DRAWS.setdefault(self, {})
        key = (mask.tobytes(), consistency, temperature, yaw_emphasis)
        draw = known.get(key)
        if draw is None:
            draw = self._given(mask, consistency, temperature, yaw_emphasis)
            if len(known) >= _REMEMBERED:
                known.clear()
            known[key] = draw
        return draw

    def _given(
        self, mask: NDArray[np.bool_], consistency: float, temperature: float, yaw_emphasis: float
    ) -> ConditionalDraw:
        marked, kept = torch.tensor(mask), torch.tensor(~mask)
        mean, effects, turn, covariance = (
            torch.tensor(part)
            for part in (self.mean, self.effects, self.yaw_effect, self.covariance)
        )
        least = _TINY * covariance.trace() / len(mask) + _TINY**2
        joint = covariance + least * torch.eye(len(mask), dtype=covariance.dtype)
        slope = torch.linalg.solve(joint[kept][:, kept], joint[kept][:, marked])
        rest = joint[marked][:, marked] - joint[marked][:, kept] @ slope
        # What the features given back do not tell of the attributes already.
        effects = effects[:, marked] - effects[:, kept] @ slope
        turn = (turn[marked] - turn[kept] @ slope) * kept.any()
        factor = torch.linalg.cholesky((rest + rest.T) / 2).T  # noise @ factor: factor' factor
        if mask.any() and (len(effects) or turn.any()):
            contrasts = torch.stack([*_contrasts(effects, self.sizes), turn])
            factor = _calm(factor, contrasts, consistency)
        return ConditionalDraw(
            mask=mask,
            sizes=self.sizes,
            centre=self.centre,
            intercept=(mean[marked] - mean[kept] @ slope).numpy(),
            effects=self.emphasis * effects.numpy(),
            yaw_scale=self.yaw_scale,
            yaw_effect=yaw_emphasis * turn.numpy(),
            slope=slope.numpy(),
            factor=temperature * factor.numpy(),
        )


@dataclass(frozen=True)
class ConditionalDraw:
    """Draws of some features, given the kept attributes and the other features.

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
        turns: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Replace the marked features of every row.

        Parameters
        ----------
        coordinates : ndarray of shape (n, n_features)
            The marked ones are not looked at.
        codes : ndarray of shape (n, n_attributes)
        noise : ndarray of shape (n, n_features)
            Standard normal.
        turns : ndarray of shape (n,), optional
            Which way heads are turned; None for any way. Farther than 2.5 standard deviations from
            the mean is drawn as so far.

        Returns
        -------
        ndarray of shape (n, n_features)
        """
        # In double precision, so that the last bit of a sum, which may depend on how many rows
        # there are, is rounded away.
        own = coordinates.astype(np.float64)
        drawn = self.intercept + matmul(own[:, ~self.mask], self.slope)
        drawn += matmul(one_hot(codes, self.sizes) - self.centre, self.effects)
        if turns is not None:
            mean, spread = self.yaw_scale
            turned = np.clip((turns - mean) / spread, -_FARTHEST_TURN, _FARTHEST_TURN)
            drawn += np.outer(turned, self.yaw_effect)
        drawn += matmul(noise[:, self.mask].astype(np.float64), self.factor)
        own[:, self.mask] = drawn
        return own.astype(np.float32)


def fit_prior(
    coordinates: NDArray,
    codes: NDArray[np.int64],
    sizes: list[int],
    people: NDArray[np.int64],
    turns: NDArray[np.float64] | None = None,
) -> SurrogatePrior:
    """Estimate the surrogates' distribution.

    The mean is a regression on the attributes, so that no cell needs people of its own; the
    covariance is pooled over all rows and shrunk (Ledoit and Wolf 2004). Every named person counts
    once. A crowd that nobody named teaches what the attributes look like; how its pictures differ
    otherwise, in framing say, is regressed out.

    Parameters
    ----------
    coordinates : ndarray of shape (n_samples, n_features)
    codes : ndarray of shape (n_samples, n_attributes)
        Rows with a missing label (-1) are left out.
    sizes : list of int
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown.
    turns : ndarray of shape (n_samples,), optional
        Which way heads are turned; None where this is not to be kept.

    Returns
    -------
    SurrogatePrior
    """
    known: NDArray[np.bool_] = np.all(codes >= 0, axis=1)
    if known.sum() < 2:
        raise EdialsError(f"{int(known.sum())} images have all kept attributes; expected two.")
    rows, weights = coordinates[known].astype(np.float64), row_weights(people, known)[known]
    named = people[known] >= 0
    indicators = one_hot(codes[known], sizes)
    counted = weights * named if named.any() else weights
    centre = np.average(indicators, axis=0, weights=counted)
    turned = np.zeros(len(rows)) if turns is None else turns[known]
    mean = np.average(turned, weights=counted)
    spread = np.sqrt(np.average((turned - mean) ** 2, weights=counted)) or 1.0
    # The last column is what the crowd differs by: zero for the named, whom draws are to resemble.
    predictors = np.column_stack(
        [indicators - centre, (turned - mean) / spread, (~named) * float(named.any())]
    )
    regression = Ridge(alpha=1.0).fit(predictors, rows, sample_weight=weights)
    residuals = rows - regression.predict(predictors)
    scaled = residuals * np.sqrt(weights / weights.sum())[:, None]
    effects = _of_many_people(regression.coef_.T[:-2], indicators, centre, sizes, people[known])
    return SurrogatePrior(
        sizes=sizes,
        centre=centre,
        mean=np.asarray(regression.intercept_),
        effects=effects,
        yaw_scale=np.array([mean, spread]),
        yaw_effect=regression.coef_.T[-2],
        # Shrunk: unshrunk, what is given back of a fitted photo would foretell what is replaced.
        covariance=ledoit_wolf(scaled * np.sqrt(len(scaled)), assume_centered=True)[0],
    )


def _of_many_people(
    effects: NDArray[np.float64],
    indicators: NDArray[np.float64],
    centre: NDArray[np.float64],
    sizes: list[int],
    people: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The effects, but for classes of few people: there a draw would show what these look like.

    Such a class is drawn as the mean of the others.
    """
    own = np.where(people >= 0, people, people.max(initial=0) + 1 + np.arange(len(people)))
    effects = effects.copy()
    ends = np.cumsum(sizes)
    for first, end in zip(ends - sizes, ends, strict=True):
        block = np.arange(first, end)
        counts = [len(np.unique(own[indicators[:, column] > 0])) for column in block]
        few = np.array(counts) < FEWEST_PEOPLE
        shares = centre[block] * ~few
        total = shares.sum()
        effects[block[few]] = shares @ effects[block] / total if total else 0.0
    return effects


def _contrasts(effects: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    """What every class of an attribute differs by from the mean of its classes."""
    return [row for block in effects.split(sizes) for row in block - block.mean(dim=0)]


def _calm(factor: torch.Tensor, contrasts: torch.Tensor, consistency: float) -> torch.Tensor:
    """Shrink the noise along the directions that what is given shows in.

    In the whitened space the separating directions are those of the whitened contrasts.
    """
    # noise @ factor = residual, so a residual r is the noise r @ inv(factor).
    whitened = torch.linalg.solve_triangular(factor.T, contrasts.T, upper=False)
    directions, spread, _ = torch.linalg.svd(whitened, full_matrices=False)
    directions = directions[:, spread > 1e-3 * spread[0]]
    keep = (1 - consistency) ** 0.5
    return factor - (1 - keep) * directions @ (directions.T @ factor)


def choose(order: NDArray[np.int64], strength: float) -> NDArray[np.bool_]:
    """Mark the features to replace: the first ``round(strength * n_features)`` of an order.

    Parameters
    ----------
    order : ndarray of shape (n_features,)
        All features, the first to be replaced first.
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
    mask = np.zeros(len(order), dtype=bool)
    mask[order[: round(float(strength) * len(order))]] = True
    return mask
