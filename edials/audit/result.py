"""What an audit found: the record that text, JSON, page and charts are made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..metrics.permutation import smallest_p_value
from .figures import AttackFigures
from .groups import group_table

# One in twenty audits of a release that leaks nothing is below this level, too.
_SIGNIFICANCE = 0.05
# Withholding is tested beside the attackers, so it is called a leak at a stricter level.
_WITHHOLDING_SIGNIFICANCE = 0.01


@dataclass(frozen=True)
class AuditResult:
    """Figures of an audit. Shares are in [0, 1], intervals at 95 % over people.

    Attributes
    ----------
    n_people, n_images, n_withheld : int
        People that the attackers try to name; all images; images that were withheld.
    chance, floor, floor_rank_5 : float
        1 / people; the attribute floor, at rank 1 and 5.
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
        See :func:`edials.audit.utility.f1_by_attribute`; empty without attributes.
    retention : dict
        See :func:`edials.metrics.retention.picture_retention`, and with a detector
        :func:`edials.audit.detection.detection_retention`.
    faces : list of two ndarrays
        A few originals, and their released images.
    findings : list of str
        Leaks through the released files; see :func:`edials.audit.inputs.files.file_findings`.
    measures : dict of str to dict
        Further figures by attacker: PSNR before and after inversion in dB, and how often outputs
        match enrolled people (:func:`edials.audit.disclosure.donor_matches`).
    withheld_p_value : float
        Whether withholding depends on the person beyond the attributes; NaN if nothing was
        withheld. See :func:`edials.audit.disclosure.withheld_p_value`.
    n_fresh : int
        Further releases of every enrolled photo that retraining attackers made for themselves.
    gallery : dict
        Number of images in each part: enrol, validation, probe.
    people : DataFrame
        Cell (first column) and attributes of every person, without names.
    p_value_any : float
        Whether any valid attacker beats people permuted within their cells: a max-T permutation
        test over all of them.
    floor_predicted_cell : float
        The attribute floor with attributes read off the released image instead of known.
    learning_curve : DataFrame
        Cheap attackers with a quarter, a half and all of the gallery, see
        :func:`edials.audit.learning_curve.learning_curve`.
    utility_classes, utility_groups : DataFrame
        See :func:`edials.audit.utility.f1_by_class` and :func:`~edials.audit.utility.f1_by_group`;
        empty without attributes.
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
    findings: list[str]
    measures: dict[str, dict[str, float]]
    withheld_p_value: float
    n_fresh: int
    gallery: dict[str, int]
    people: pd.DataFrame = field(repr=False)
    p_value_any: float
    floor_predicted_cell: float
    learning_curve: pd.DataFrame = field(repr=False)
    utility_classes: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    utility_groups: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def worst(self) -> AttackFigures | None:
        """The valid attacker that did best on validation images; None if all are broken.

        Reverse attackers are left out: their probes are clear photos, not the release.
        """
        valid = [o for o in self.outcomes if o.valid and o.probe_kind != "clear"]
        return max(valid, key=lambda o: (o.validation_risk, o.validation_auc), default=None)

    @property
    def testable(self) -> bool:
        """Whether enough people share their attributes for ``p_value_any`` to get below 0.05."""
        return smallest_p_value(self.people.iloc[:, 0].to_numpy()) < _SIGNIFICANCE

    @property
    def coverage(self) -> float:
        """Share of images that were released."""
        return 1 - self.n_withheld / self.n_images

    @property
    def attackers(self) -> pd.DataFrame:
        """One row per attacker, figures as in :class:`edials.audit.figures.AttackFigures`."""
        rows = [
            {k: v for k, v in asdict(outcome).items() if not isinstance(v, np.ndarray)}
            for outcome in self.outcomes
        ]
        return pd.DataFrame(rows).set_index("name")

    @property
    def leak_found(self) -> bool:
        """The verdict: images tell more than the attributes, ``p_value_any`` being below 0.05.

        Where too few people share their attributes for that test, the intervals of the worst
        attacker decide. False means that these attackers found nothing, not that nothing is left.
        """
        worst = self.worst
        if self.testable or worst is None:
            return bool(self.p_value_any < _SIGNIFICANCE)
        return worst.leakage_low > 0 or worst.excess_low > 0

    @property
    def withholding_leaks(self) -> bool:
        """Whether ``withheld_p_value`` is below 0.01."""
        return self.withheld_p_value < _WITHHOLDING_SIGNIFICANCE

    @property
    def groups(self) -> pd.DataFrame:
        """In-cell excess of the worst attacker by group of every attribute.

        See :func:`edials.audit.groups.group_table`; empty without a valid attacker.
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
