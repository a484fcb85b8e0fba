"""The report of an audit: figures, ten lines of text, JSON, one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..result import AuditResult
from .comparison import compare_results
from .html import render_page
from .text import not_measured, summary

#: Grows when a field of ``to_json`` changes its meaning.
SCHEMA_VERSION = 3
_JSON_FIELDS = (
    *("n_people", "n_images", "n_withheld", "gallery", "coverage", "attribute_names"),
    *("chance", "floor", "floor_rank_5", "floor_predicted_cell", "singleton_share"),
    *("smallest_cell", "p_value_any", "leak_found", "testable", "linkage", "retention"),
    *("findings", "measures", "withheld_p_value"),
)


class AuditReport(AuditResult):
    """What an audit found, and how to show it.

    The figures are those of :class:`edials.audit.result.AuditResult`.
    """

    def compare(self, other: AuditResult) -> pd.DataFrame:
        """This release against another of the same people, by each one's worst attacker.

        Parameters
        ----------
        other : AuditReport
            Of the same images, split and attributes.

        Returns
        -------
        DataFrame
            Index in-cell excess, leakage and in-cell AUC; columns ``first`` (this release),
            ``second``, ``difference`` (first - second), and its 95 % interval ``low``, ``high``,
            people resampled in pairs.

        Raises
        ------
        ValueError
            If the people differ, or a report has no valid attacker.
        """
        return compare_results(self, other)

    def summary(self) -> str:
        """About ten lines of plain text."""
        return summary(self)

    def to_json(self) -> str:
        """The figures as a JSON string with a stable schema; NaN becomes null."""
        worst = self.worst
        content = {
            "schema_version": SCHEMA_VERSION,
            **{name: getattr(self, name) for name in _JSON_FIELDS},
            "worst_attacker": None if worst is None else worst.name,
            "worst_risk": None if worst is None else worst.risk,
            "leakage_bits": None if worst is None else worst.leakage_bits,
            "leakage_ci": None if worst is None else [worst.leakage_low, worst.leakage_high],
            "in_cell_auc": None if worst is None else worst.in_cell_auc,
            "copies_of_originals": self.copies,
            "fresh_releases": self.n_fresh,
            "attackers": self.attackers.reset_index().to_dict("records"),
            "utility": self.utility.to_dict("index"),
            "utility_by_class": self.utility_classes.to_dict("records"),
            "utility_by_group": self.utility_groups.to_dict("records"),
            "groups": self.groups.reset_index().to_dict("records"),
            "learning_curve": self.learning_curve.to_dict("records"),
            "not_measured": not_measured(self),
        }
        return json.dumps(_without_nan(content), indent=1)

    def to_html(
        self,
        baselines: Mapping[str, AuditResult] | None = None,
        *,
        pictures: bool = True,
        note: str = "",
    ) -> str:
        """One page that needs nothing else, to read on a screen or on paper.

        It has the verdict, the risk chart, leakage against what is left of the picture, every
        attacker with its success on clear photos, what that means for singling out, linkability and
        inference, utility, retention, and what was not tried.

        Parameters
        ----------
        baselines : dict of str to AuditReport, optional
            Other methods by name, audited on the same images, to be drawn beside this one.
        pictures : bool, default=True
            Show a few originals above their released images: such a page is confidential.
        note : str, default=""
            A sentence about the images, below the title.

        Raises
        ------
        ValueError
            If a baseline was audited with other attributes.
        """
        return render_page(self, baselines, pictures=pictures, note=note)

    def _repr_html_(self) -> str:
        # What a notebook shows is saved with it, and passed on.
        return self.to_html(pictures=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
