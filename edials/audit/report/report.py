"""What an audit found: figures, ten lines of text, JSON, one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...metrics.permutation import smallest_p_value
from ..figures import AttackFigures
from ..groups import SMALL_GROUP, group_table
from .comparison import compare_figures
from .html import officer_page
from .text import WITHHOLDING_TELLS, not_measured

#: Grows when a field of ``to_json`` changes its meaning.
SCHEMA_VERSION = 2

# A leak is said to be found below this: one in twenty audits of nothing says so, too.
_FOUND = 0.05


@dataclass(frozen=True)
class AuditReport:
    """What an audit found. Shares are in [0, 1], intervals at 95 % over people.

    Attributes
    ----------
    n_people, n_images, n_withheld : int
        People that the attacks are about; all images; those of them that were withheld.
    chance, floor, floor_rank_5 : float
        One in the people; the attribute floor, at rank 1 and 5.
    singleton_share : float
        Share of people alone in their cell.
    attribute_names : list of str
    smallest_cell : int
        People in the smallest cell.
    outcomes : list of AttackFigures
    copies : int
        Released images that are nearly their original.
    linkage : dict
        See :func:`edials.audit.linkage.link_release`.
    utility : DataFrame
        See :func:`edials.audit.utility.person_disjoint_utility`; empty without attributes.
    retention : dict
        See :func:`edials.metrics.retention.picture_retention`, and with a detector
        :func:`edials.audit.detection.detection_retention`.
    faces : list of two ndarrays
        A few originals and what was released for them.
    findings : list of str, optional
        What the files of the release tell; see :func:`edials.audit.inputs.files.file_findings`.
    measures : dict of str to dict, optional
        What attackers measured besides, by attacker: PSNR before and after undoing in dB, and how
        often outputs match enrolled people (:func:`edials.audit.disclosure.donor_matches`).
    withheld_p_value : float, default=nan
        Of withholding that goes by people; NaN if nothing was withheld. See
        :func:`edials.audit.disclosure.withheld_p_value`.
    n_fresh : int, default=0
        Further releases of every enrolled photo that retraining attackers made for themselves.
    gallery : dict, optional
        Images to enrol, to validate and to probe.
    utility_classes, utility_groups : DataFrame, optional
        See :func:`edials.audit.utility.f1_by_class` and :func:`~edials.audit.utility.f1_by_group`;
        empty without attributes.
    people : DataFrame, optional
        Cell (first column) and kept attributes of everybody, without names.
    p_value_any : float, default=nan
        Whether any sound attacker beats people exchanged inside their cells: the largest of all,
        by a max-T permutation test.
    floor_predicted_cell : float, default=nan
        Success of nothing but the kept attributes, read off the released image instead of known.
    learning_curve : DataFrame, optional
        Cheap attackers with a quarter, a half and all of the gallery, see
        :func:`edials.audit.learning_curve.learning_curve`.
    """

    n_people: int
    n_images: int
    n_withheld: int
    chance: float
    floor: float
    floor_rank_5: float
    singleton_share: float
    attribute_names: list[str]
    smallest_cell: int
    outcomes: list[AttackFigures]
    copies: int
    linkage: dict[str, float]
    utility: pd.DataFrame
    retention: dict[str, float]
    faces: list[NDArray[np.uint8]] = field(repr=False)
    findings: list[str] = field(default_factory=list)
    measures: dict[str, dict[str, float]] = field(default_factory=dict)
    withheld_p_value: float = float("nan")
    n_fresh: int = 0
    gallery: dict[str, int] = field(default_factory=dict)
    utility_classes: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    utility_groups: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    people: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    p_value_any: float = float("nan")
    floor_predicted_cell: float = float("nan")
    learning_curve: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def worst(self) -> AttackFigures | None:
        """The sound attacker that did best on validation images; None if all are broken.

        Those with a poisoned gallery are not among them: they are shown photos, not the release.
        """
        sound = [
            outcome for outcome in self.outcomes if outcome.valid and outcome.probe_kind != "clear"
        ]
        return max(sound, key=lambda o: (o.validation_risk, o.validation_auc), default=None)

    @property
    def testable(self) -> bool:
        """Whether enough people share their attributes for ``p_value_any`` to get below 0.05."""
        return smallest_p_value(self.people.iloc[:, 0].to_numpy()) < _FOUND

    @property
    def coverage(self) -> float:
        """Share of images that were released."""
        return 1 - self.n_withheld / self.n_images

    @property
    def attackers(self) -> pd.DataFrame:
        """One row per attacker, figures as in :class:`edials.audit.figures.AttackFigures`."""
        rows = [asdict(outcome) for outcome in self.outcomes]
        table = pd.DataFrame(
            [{k: v for k, v in r.items() if not isinstance(v, np.ndarray)} for r in rows]
        )
        return table.set_index("name")

    @property
    def leak_found(self) -> bool:
        """The verdict: more than the attributes is left, ``p_value_any`` being below 0.05.

        Where too few people share their attributes for that, the intervals of the worst attacker
        decide. False is no proof that nothing is left, only that these attackers found nothing.
        """
        worst = self.worst
        if self.testable or worst is None:
            return bool(self.p_value_any < _FOUND)
        return worst.leakage_low > 0 or worst.excess_low > 0

    @property
    def groups(self) -> pd.DataFrame:
        """In-cell excess of the worst attacker by group of every kept attribute.

        See :func:`edials.audit.groups.group_table`; empty without a sound attacker.
        """
        worst = self.worst
        return pd.DataFrame() if worst is None else group_table(worst.per_person, self.people)

    @property
    def det(self) -> pd.DataFrame:
        """DET curve of the worst attacker against impostors of the same cell.

        Columns ``fpr`` (false matches) and ``fnr`` (false non-matches), so that
        ``sklearn.metrics.DetCurveDisplay(**report.det)`` draws it.
        """
        worst = self.worst
        points = np.empty((2, 0)) if worst is None else worst.det
        return pd.DataFrame({"fpr": points[0], "fnr": points[1]})

    def compare(self, other: AuditReport) -> pd.DataFrame:
        """This release against another of the same people, by each one's worst attacker.

        Parameters
        ----------
        other : AuditReport
            Of the same images, split and kept attributes.

        Returns
        -------
        DataFrame
            In-cell excess, leakage and in-cell AUC of ``first`` (this one) and ``second``, their
            ``difference`` and its paired 95 % interval over people, ``low`` to ``high``.

        Raises
        ------
        ValueError
            If the people differ, or a report has no sound attacker.
        """
        if not self.people.equals(other.people):
            raise ValueError(
                f"The reports are about {len(self.people)} and {len(other.people)} people with "
                f"different cells; expected the same people, split and kept attributes."
            )
        first, second = self.worst, other.worst
        if first is None or second is None:
            raise ValueError("A report without a sound attacker is no evidence to compare.")
        return compare_figures(first, second)

    def summary(self) -> str:
        """Say the result in about ten lines of plain text."""
        lines = [
            f"{self.n_people} people, {self.n_images} images, {self.coverage:.1%} released; "
            f"kept: {', '.join(self.attribute_names) or 'NOTHING: the floor is one in the people'}",
            f"attribute floor {self.floor:.1%} (chance {self.chance:.1%}); "
            f"{self.singleton_share:.0%} of the people are alone in their cell; the smallest has "
            f"{self.smallest_cell}"
            + (", too few to speak of its people" if self.smallest_cell < SMALL_GROUP else ""),
        ]
        worst = self.worst
        if worst is None:
            lines.append("No attacker reached its bar on clear images: this audit is no evidence.")
        else:
            lines += [
                f"worst attacker, chosen on validation images: {worst.name}",
                f"risk {worst.risk:.1%} [{worst.ci_low:.1%}, {worst.ci_high:.1%}], "
                f"excess over the floor {100 * worst.in_cell_excess:.1f} points",
                f"leakage {worst.leakage_bits:.3f} bit [{worst.leakage_low:.3f}, "
                f"{worst.leakage_high:.3f}], in-cell AUC {worst.in_cell_auc:.3f}, p = "
                f"{worst.p_value:.3f}; album risk {worst.album_risk:.1%} (chance "
                f"{worst.album_null:.1%})",
                f"all attackers together: p = {self.p_value_any:.3f}, {self._found()}",
            ]
        learning = [outcome.name for outcome in self.outcomes if outcome.still_learning]
        if learning:
            lines.append(f"STILL LEARNING, more images would find more: {', '.join(learning)}")
        broken = [outcome.name for outcome in self.outcomes if not outcome.valid]
        if broken:
            lines.append(f"BROKEN, not evidence: {', '.join(broken)}")
        if self.copies:
            lines.append(f"FAILED OPEN: {self.copies} released images are nearly their originals")
        lines += [f"FILES TELL: {finding}" for finding in self.findings]
        if self.withheld_p_value < WITHHOLDING_TELLS:
            lines.append(
                f"WITHHOLDING TELLS: it goes by people, beyond the attributes "
                f"(p = {self.withheld_p_value:.3f})"
            )
        lines += self._measured()
        lines.append(
            f"linked inside the release {self.linkage['linked']:.1%} "
            f"(null {self.linkage['null']:.1%}, clear photos "
            f"{self.linkage['linked_clear']:.1%}); SSIM {self.retention['ssim']:.2f}"
        )
        for name, row in self.utility.iterrows():
            said = ", ".join(f"{kind} {value:.1%}" for kind, value in row.dropna().items())
            lines.append(f"macro-F1 {name}: {said}")
        return "\n".join(lines)

    def _found(self) -> str:
        if self.leak_found:
            return "more than the attributes is left"
        if self.testable:
            return "nothing found"
        return "TOO FEW people share their attributes to find anything"

    def _measured(self) -> list[str]:
        lines = []
        for name, found in self.measures.items():
            if "psnr_inverted" in found:
                lines.append(
                    f"{name}: PSNR {found['psnr_released']:.1f} dB released, "
                    f"{found['psnr_inverted']:.1f} dB undone"
                )
        donors = next((m for m in self.measures.values() if "ratio at FMR 0.001" in m), None)
        if donors is not None:
            lines.append(
                f"outputs match enrolled photos of others {donors['ratio at FMR 0.01']:.1f} and "
                f"{donors['ratio at FMR 0.001']:.1f} times as often as FMR 1e-2 and 1e-3 say"
            )
        return lines

    def to_json(self) -> str:
        """The figures as a JSON string with a stable schema; NaN becomes null."""
        worst = self.worst
        content = {
            "schema_version": SCHEMA_VERSION,
            "n_people": self.n_people,
            "n_images": self.n_images,
            "n_withheld": self.n_withheld,
            "gallery": self.gallery,
            "coverage": self.coverage,
            "chance": self.chance,
            "floor": self.floor,
            "floor_rank_5": self.floor_rank_5,
            "attribute_names": self.attribute_names,
            "singleton_share": self.singleton_share,
            "smallest_cell": self.smallest_cell,
            "worst_risk": None if worst is None else worst.risk,
            "worst_attacker": None if worst is None else worst.name,
            "leakage_bits": None if worst is None else worst.leakage_bits,
            "leakage_ci": None if worst is None else [worst.leakage_low, worst.leakage_high],
            "in_cell_auc": None if worst is None else worst.in_cell_auc,
            "p_value_any": self.p_value_any,
            "leak_found": self.leak_found,
            "testable": self.testable,
            "floor_predicted_cell": self.floor_predicted_cell,
            "copies_of_originals": self.copies,
            "linkage": self.linkage,
            "attackers": self.attackers.reset_index().to_dict("records"),
            "utility": {str(name): row.to_dict() for name, row in self.utility.iterrows()},
            "utility_by_class": self.utility_classes.to_dict("records"),
            "utility_by_group": self.utility_groups.to_dict("records"),
            "retention": self.retention,
            "not_measured": not_measured(self),
            "findings": self.findings,
            "measures": self.measures,
            "withheld_p_value": self.withheld_p_value,
            "fresh_releases": self.n_fresh,
            "groups": self.groups.reset_index().to_dict("records"),
            "learning_curve": self.learning_curve.to_dict("records"),
        }
        return json.dumps(_without_nan(content), indent=1)

    def to_html(
        self, baselines: Mapping[str, AuditReport] | None = None, *, pictures: bool = True
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
            Show a few originals above what was released for them: such a page is confidential.

        Raises
        ------
        ValueError
            If a baseline was audited with other kept attributes.
        """
        return officer_page(self, baselines, pictures=pictures)

    def _repr_html_(self) -> str:
        # What a notebook shows is saved with it, and passed on.
        return self.to_html(pictures=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
