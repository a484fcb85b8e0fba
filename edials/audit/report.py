"""What an audit found: figures, ten lines of text, JSON, one page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .comparison import compare_figures
from .figures import AttackFigures
from .groups import SMALL_GROUP, group_table
from .pages import page, picture_sheet

#: Grows when a field of ``to_json`` changes its meaning.
SCHEMA_VERSION = 1

_READING = (
    "Singling out is what risk and album risk measure; linkability, whether two released images of "
    "one person find each other; inference, what the kept attributes let anybody infer: that is "
    "kept on purpose, and the floor says what it costs.",
    "An attacker counts only if the same attacker recognises people on clear photos. Risk is that "
    "of an attacker who knows the true kept attributes as well. Intervals are over people, at "
    "95 %. What was not tried: attackers with other data, more computing time, or context outside "
    "the images. Originals, models and certificates stay personal data.",
)
_CONFIDENTIAL = "The pictures below show originals, so this page is confidential like them."
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
    alone : float
        Share of people alone in their cell.
    kept_attributes : list of str
    smallest_cell : int
        People in the smallest cell.
    outcomes : list of AttackFigures
    copies : int
        Released images that are nearly their original.
    linkage : dict
        See :func:`edials.audit.linkage.nearest_neighbour_linkage`.
    utility : DataFrame
        See :func:`edials.audit.utility.person_disjoint_utility`; empty without attributes.
    retention : dict
    faces : list of two ndarrays
        A few originals and what was released for them.
    people : DataFrame, optional
        Cell and kept attributes of everybody, without names.
    p_value_any : float, default=nan
        Whether any sound attacker beats people exchanged inside their cells: the largest of all,
        by a max-T permutation test.
    floor_predicted_cell : float, default=nan
        Success of the kept attributes alone, read off the released image instead of known.
    learning_curve : DataFrame, optional
        Cheap attackers with a quarter, a half and all of the gallery, see
        :func:`edials.audit.learning.learning_curve`.
    """

    n_people: int
    n_images: int
    n_withheld: int
    chance: float
    floor: float
    floor_rank_5: float
    alone: float
    kept_attributes: list[str]
    smallest_cell: int
    outcomes: list[AttackFigures]
    copies: int
    linkage: dict[str, float]
    utility: pd.DataFrame
    retention: dict[str, float]
    faces: list[NDArray[np.uint8]] = field(repr=False)
    people: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    p_value_any: float = float("nan")
    floor_predicted_cell: float = float("nan")
    learning_curve: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def worst(self) -> AttackFigures | None:
        """The sound attacker that did best on validation images; None if all are broken."""
        sound = [outcome for outcome in self.outcomes if outcome.valid]
        return max(sound, key=lambda outcome: outcome.validation_risk, default=None)

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

        False is no proof that nothing is left, only that these attackers found nothing.
        """
        return bool(self.p_value_any < _FOUND)

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
            f"kept: {', '.join(self.kept_attributes) or 'nothing'}",
            f"attribute floor {self.floor:.1%} (chance {self.chance:.1%}); "
            f"{self.alone:.0%} of the people are alone in their cell; the smallest has "
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
                f"all attackers together: p = {self.p_value_any:.3f}, "
                + ("more than the attributes is left" if self.leak_found else "nothing found"),
            ]
        learning = [outcome.name for outcome in self.outcomes if outcome.still_learning]
        if learning:
            lines.append(f"STILL LEARNING, more images would find more: {', '.join(learning)}")
        broken = [outcome.name for outcome in self.outcomes if not outcome.valid]
        if broken:
            lines.append(f"BROKEN, not evidence: {', '.join(broken)}")
        if self.copies:
            lines.append(f"FAILED OPEN: {self.copies} released images are nearly their originals")
        lines.append(
            f"linked inside the release {self.linkage['linked']:.1%} "
            f"(null {self.linkage['null']:.1%}); SSIM {self.retention['ssim']:.2f}"
        )
        for name, row in self.utility.iterrows():
            said = ", ".join(f"{kind} {value:.1%}" for kind, value in row.dropna().items())
            lines.append(f"macro-F1 {name}: {said}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """The figures as a JSON string with a stable schema; NaN becomes null."""
        worst = self.worst
        content = {
            "schema_version": SCHEMA_VERSION,
            "n_people": self.n_people,
            "n_images": self.n_images,
            "coverage": self.coverage,
            "chance": self.chance,
            "floor": self.floor,
            "floor_rank_5": self.floor_rank_5,
            "kept_attributes": self.kept_attributes,
            "share_alone": self.alone,
            "smallest_cell": self.smallest_cell,
            "worst_risk": None if worst is None else worst.risk,
            "worst_attacker": None if worst is None else worst.name,
            "leakage_bits": None if worst is None else worst.leakage_bits,
            "leakage_ci": None if worst is None else [worst.leakage_low, worst.leakage_high],
            "in_cell_auc": None if worst is None else worst.in_cell_auc,
            "p_value_any": self.p_value_any,
            "leak_found": self.leak_found,
            "floor_predicted_cell": self.floor_predicted_cell,
            "copies_of_originals": self.copies,
            "linkage": self.linkage,
            "attackers": self.attackers.reset_index().to_dict("records"),
            "utility": {str(name): row.to_dict() for name, row in self.utility.iterrows()},
            "retention": self.retention,
            "groups": self.groups.reset_index().to_dict("records"),
            "learning_curve": self.learning_curve.to_dict("records"),
        }
        return json.dumps(_without_nan(content), indent=1)

    def to_html(self, *, pictures: bool = True) -> str:
        """One page that needs nothing else: reading, table of attackers, utility, faces.

        Parameters
        ----------
        pictures : bool, default=True
            Show a few originals above what was released for them: such a page is confidential.
        """
        shares = self.attackers[["clear_accuracy", "alone", "risk", "ci_low", "ci_high"]] * 100
        shares.insert(0, "evidence", np.where(self.attackers["valid"], "yes", "BROKEN"))
        shares["leakage (bit)"] = self.attackers["leakage_bits"]
        shares["in-cell AUC"] = self.attackers["in_cell_auc"]
        shares["album risk"] = self.attackers["album_risk"] * 100
        return page(
            "Audit of anonymized faces",
            [*_READING, *self.summary().split("\n"), *([_CONFIDENTIAL] if pictures else [])],
            [shares, 100 * self.utility],
            picture_sheet(self.faces) if pictures else None,
        )

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
