"""Releases of the same people beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ...metrics.leakage import interval
from ..figures import AttackFigures
from .charts import Point

if TYPE_CHECKING:
    from .report import AuditReport

#: What is on the axes wherever privacy is drawn against what is left to see.
PICTURE_AXIS = "structural similarity to the originals"
PRIVACY_AXIS = "leakage beyond the attributes (bit)"
_COMPARED = {
    "in-cell excess": "per_person",
    "leakage (bit)": "per_person_bits",
    "in-cell AUC": "per_person_auc",
}


def compare_figures(first: AttackFigures, second: AttackFigures, *, seed: int = 0) -> pd.DataFrame:
    """Differences of two attackers' figures on the same people, with paired intervals.

    Parameters
    ----------
    first, second : AttackFigures
        With the same people in the same order.
    seed : int, default=0
        Of the resamples.

    Returns
    -------
    DataFrame
        Index in-cell excess, leakage and in-cell AUC; columns ``first``, ``second``,
        ``difference`` (first - second), ``low``, ``high`` (at 95 %, people resampled in pairs).
    """
    values = {
        "in-cell excess": (first.in_cell_excess, second.in_cell_excess),
        "leakage (bit)": (first.leakage_bits, second.leakage_bits),
        "in-cell AUC": (first.in_cell_auc, second.in_cell_auc),
    }
    rows = {}
    for name, (one, other) in values.items():
        # The floor is that of the same people and drops out of the difference.
        paired = getattr(first, _COMPARED[name]) - getattr(second, _COMPARED[name])
        low, high = interval(paired, seed=seed)
        rows[name] = {
            "first": one,
            "second": other,
            "difference": one - other,
            "low": low,
            "high": high,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def tradeoff_point(report: AuditReport, name: str, *, own: bool = False) -> Point | None:
    """A release in the plane of both axes: SSIM, and leakage in bits with its interval.

    Parameters
    ----------
    report : AuditReport
    name : str
    own : bool, default=False
        Whether it is the one that a page is about.

    Returns
    -------
    Point, or None without a sound attacker
    """
    worst = report.worst
    if worst is None:
        return None
    leakage = worst.leakage_bits, worst.leakage_low, worst.leakage_high
    return Point(name, report.retention["ssim"], *leakage, own)
