"""How many features a risk budget allows to retain, from the measured leakage."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ..exceptions import CalibrationWarning, IdentityLeakWarning
from .splits import _FEWEST_PEOPLE, _FEWEST_PHOTOS

# One-sided, at 95 %: the leakage may be up to twice the budget, no more. What there is for
# attackers with any number of photos may not be more than the budget: twice as much could be left
# of the person in new photos, where networks know their own better.
_CONFIDENCE, _REACH = 0.95, 2.0


# Attackers who find less than this many bits in all features together are no attackers.
_PROOF = 0.1


def warn_of_too_few() -> None:
    """Say why nothing was measured."""
    warnings.warn(
        f"strength='auto' needs {_FEWEST_PEOPLE} people or more who share their kept attributes "
        f"with others and have {_FEWEST_PHOTOS} photos each with identity and all of these; there "
        f"are fewer, and strength=1 is used.",
        CalibrationWarning,
        stacklevel=3,
    )


def spend(frontier: dict[str, NDArray], budget: float) -> int:
    """How many features stay within the budget: the number to give back.

    Parameters
    ----------
    frontier : dict
        From :func:`measure`.
    budget : float
        Bits, mean over the people who share their cell: it must not be exceeded by what attackers
        found, nor by the upper end of what there is for attackers with any number of photos
        (one-sided, 95 % as far as networks know new photos as well as their own); nor twice as much
        by the upper end of what was found.

    Returns
    -------
    int
        0 where nothing can be given back, or too few people are there to show that it can.
    """
    bits, error = frontier["leakage_bits"], frontier["leakage_error"]
    n_people = int(frontier["people"][0])
    if n_people < _FEWEST_PEOPLE:
        warn_of_too_few()
        return 0
    if not frontier["works"][-1] or bits[-1] < _PROOF:
        warnings.warn(
            "Calibration refused: its attackers do not tell people apart even by all features, so "
            "they prove nothing. strength=1 is used; train the autoencoder longer, or on more "
            "photos.",
            CalibrationWarning,
            stacklevel=3,
        )
        return 0
    width = norm.ppf(_CONFIDENCE) * error
    if bits[0] - width[0] > budget:
        warnings.warn(
            f"Even at strength 1, where only the kept attributes leave, they tell {bits[0]:.2f} "
            f"bit about the person, more than risk_budget={budget}: some people are misread again "
            f"and again, which marks them. Keep fewer attributes, or coarser ones, or train their "
            f"classifier on more people.",
            IdentityLeakWarning,
            stacklevel=3,
        )
        return 0
    # The attackers learned from few photos; what there is for others must stay within, too.
    limit, limit_width = (
        frontier["capacity_bits"],
        norm.ppf(_CONFIDENCE) * frontier["capacity_error"],
    )
    fits = (bits <= budget) & (bits + width <= _REACH * budget) & (limit + limit_width <= budget)
    fits[-1] = False  # all features back would be the plain reconstruction
    taken = int(np.argmin(fits))
    given = int(frontier["n_retained"][taken - 1]) if taken else 0
    if given == 0:
        first = min(taken, 1)
        found, most = (bits[first], width[first]), (limit[first], limit_width[first])
        warnings.warn(_why_nothing(found, most, n_people, budget), CalibrationWarning, stacklevel=3)
    return given


def _why_nothing(
    found: tuple[float, float], most: tuple[float, float], n_people: int, budget: float
) -> str:
    """Does the first feature leak, or are too few people there; each a figure and its width."""
    if max(found[0] - found[1], most[0] - most[1]) > budget:
        return (
            f"Even the first feature to be given back tells more than risk_budget={budget} bit, if "
            f"not to few photos then to many. strength=1 is used."
        )
    told = "more would be needed to tell"
    if found[0] <= budget and most[0] < budget:
        short = max(found[1] / (_REACH * budget - found[0]), most[1] / (budget - most[0]))
        told = f"about {max(n_people + 1, int(np.ceil(n_people * short**2)))} would be needed"
    return (
        f"The {n_people} people with {_FEWEST_PHOTOS} photos or more cannot show a leakage of "
        f"{budget} bit: {told}. strength=1 is used."
    )
