"""How many features a risk budget allows to retain, from the measured frontier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ..exceptions import CalibrationWarning, IdentityLeakWarning, warn_caller
from .splits import MIN_PEOPLE, MIN_PHOTOS

# The upper end of what attackers found, one-sided at 95 %, may be up to twice the budget. That of
# the capacity must stay within the budget: in new photos twice as much could be left, since
# networks know their training photos better.
_CONFIDENCE, _MAX_RATIO = 0.95, 2.0
# Attackers that find less than this many bits in all features together prove nothing.
_MIN_ATTACK_BITS = 0.1


def warn_of_too_few() -> None:
    """Warn that there are too few people to measure leakage."""
    warn_caller(
        f"strength='auto' needs {MIN_PEOPLE} people or more who share their attributes with others "
        f"and have {MIN_PHOTOS} photos each with identity and all attributes; there are fewer, and "
        f"strength=1 is used.",
        CalibrationWarning,
    )


def select_n_retained(frontier: dict[str, NDArray], budget: float) -> int:
    """Select the largest number of retained features within the budget.

    Three limits hold: the estimated leakage is at most the budget; its upper bound (one-sided,
    95 %) is at most twice the budget; the upper bound of the capacity is at most the budget.
    If nothing can be retained, or too few people can show it, a warning says so.
    """
    bits, error = frontier["leakage_bits"], frontier["leakage_error"]
    n_people = int(frontier["people"][0])
    if n_people < MIN_PEOPLE:
        warn_of_too_few()
        return 0
    if not frontier["attack_succeeds"][-1] or bits[-1] < _MIN_ATTACK_BITS:
        warn_caller(
            "Calibration refused: its attackers do not tell people apart even by all features, so "
            "they prove nothing. strength=1 is used; train the autoencoder longer, or on more "
            "photos.",
            CalibrationWarning,
        )
        return 0
    width = norm.ppf(_CONFIDENCE) * error
    if bits[0] - width[0] > budget:
        warn_caller(
            f"Even at strength 1 the attributes tell {bits[0]:.2f} bit about the person, more than "
            f"risk_budget={budget}: some people are misclassified consistently, which identifies "
            f"them. Keep fewer attributes, or coarser ones, or train their classifier on more "
            f"people.",
            IdentityLeakWarning,
        )
        return 0
    capacity = frontier["capacity_bits"]
    capacity_width = norm.ppf(_CONFIDENCE) * frontier["capacity_error"]
    fits = (bits <= budget) & (bits + width <= _MAX_RATIO * budget)
    fits &= capacity + capacity_width <= budget
    fits[-1] = False  # all features retained would be the plain reconstruction
    n_fitting = int(np.argmin(fits))
    n_retained = int(frontier["n_retained"][n_fitting - 1]) if n_fitting else 0
    if n_retained == 0:
        step = min(n_fitting, 1)
        estimates = (bits[step], width[step]), (capacity[step], capacity_width[step])
        warn_caller(_why_nothing(*estimates, n_people, budget), CalibrationWarning)
    return n_retained


def _why_nothing(
    leakage: tuple[float, float], capacity: tuple[float, float], n_people: int, budget: float
) -> str:
    """Does the first feature leak, or are people too few; both figures with their widths."""
    if max(leakage[0] - leakage[1], capacity[0] - capacity[1]) > budget:
        return (
            f"Even the first retained feature tells more than risk_budget={budget} bit, if not to "
            f"attackers with few photos then to those with many. strength=1 is used."
        )
    needed = "more would be needed to tell"
    if leakage[0] <= budget and capacity[0] < budget:
        ratio = max(
            leakage[1] / (_MAX_RATIO * budget - leakage[0]),
            capacity[1] / (budget - capacity[0]),
        )
        needed = f"about {max(n_people + 1, int(np.ceil(n_people * ratio**2)))} would be needed"
    return (
        f"The {n_people} people with {MIN_PHOTOS} photos or more cannot show a leakage of "
        f"{budget} bit: {needed}. strength=1 is used."
    )
