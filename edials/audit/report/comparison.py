"""Releases of the same people beside each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...metrics.leakage import confidence_interval
from ..result import AuditResult

# Figure of an attacker, and its values for every person.
_COMPARED = {
    "in-cell excess": ("in_cell_excess", "per_person"),
    "leakage (bit)": ("leakage_bits", "per_person_bits"),
    "in-cell AUC": ("in_cell_auc", "per_person_auc"),
}


def compare_results(first: AuditResult, second: AuditResult) -> pd.DataFrame:
    """The table of :meth:`edials.audit.AuditReport.compare`."""
    if not first.people.equals(second.people):
        raise ValueError(
            f"The reports are about {len(first.people)} and {len(second.people)} people with "
            f"different cells; expected the same people, split and attributes."
        )
    one, other = first.worst, second.worst
    if one is None or other is None:
        raise ValueError("A report without a valid attacker is no evidence to compare.")
    rows = {}
    for name, (figure, per_person) in _COMPARED.items():
        values = getattr(one, figure), getattr(other, figure)
        # The floor is that of the same people and drops out of the difference.
        low, high = confidence_interval(getattr(one, per_person) - getattr(other, per_person))
        rows[name] = [*values, values[0] - values[1], low, high]
    columns = ["first", "second", "difference", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def tradeoff_table(results: Mapping[str, AuditResult]) -> pd.DataFrame:
    """Leakage of the worst attacker, and structural similarity, by name of the release.

    Results without a valid attacker are left out.
    """
    rows = {
        name: [result.retention.get("ssim", np.nan), w.leakage_bits, w.leakage_low, w.leakage_high]
        for name, result in results.items()
        if (w := result.worst) is not None
    }
    columns = ["ssim", "leakage_bits", "leakage_low", "leakage_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
