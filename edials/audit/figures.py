"""Figures of one attacker's scores: risk, excess over the floor, leakage, with intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics.album import album_figures, rank_1_success
from ..metrics.leakage import (
    calibrate,
    confidence_interval,
    in_cell_auc,
    in_cell_bits,
    in_cell_log_probabilities,
    log_predicted_cell,
    mean_by_person,
    rank_hits,
)
from ..metrics.permutation import mean_scores_by_person, permutation_p_value, permute_within_cells
from ..metrics.risk import rank_1
from ..metrics.verification import verification
from .groups import worst_person

#: Level of the intervals of leakage and AUC, which measure one thing in two ways: together they
#: hold at 95 % (Bonferroni).
JOINT_LEVEL = 0.975


@dataclass(frozen=True)
class People:
    """People on the images of one split."""

    codes: NDArray[np.int64]  # person of each image, (n_samples,)
    cells: NDArray[np.int64]  # attribute cell of each person, (n_people,)

    @property
    def cell_sizes(self) -> NDArray[np.int64]:
        """People in each image's cell, shape (n_samples,)."""
        return np.bincount(self.cells)[self.cells[self.codes]]


@dataclass(frozen=True)
class AttackFigures:
    """One attacker on one release; shares in [0, 1], intervals over people.

    Intervals are at 95 %, those of leakage and of the AUC at 97.5 % each, so at 95 % together.
    Arrays hold a value for every person. They are confidential, and no part of tables and JSON.
    """

    name: str
    #: Images that the attacker learns: "released", "clear", "choices", or "both" (the ensemble).
    gallery_kind: str
    #: Rank-1 of the same attacker in the same role on clear photos.
    clear_accuracy: float
    #: False if that is below the threshold: the attacker is broken and no evidence.
    valid: bool
    #: Rank-1 of an attacker who knows no attributes.
    risk_without_attributes: float
    #: Rank-1 of an attacker who knows the true attributes as well.
    risk: float
    ci_low: float
    ci_high: float
    rank_5: float
    #: ``risk`` less 1 / people in the cell, mean over people.
    in_cell_excess: float
    excess_low: float
    excess_high: float
    #: Bits about the person beyond the attributes.
    leakage_bits: float
    leakage_low: float
    leakage_high: float
    #: 0.5 is chance.
    in_cell_auc: float
    auc_low: float
    auc_high: float
    #: Of the scores, people permuted inside their cells.
    p_value: float
    #: Rank-1 with all released probe photos of a person pooled.
    album_risk: float
    #: 2 to the entropy of the posterior, geometric mean over people.
    effective_anonymity_set_size: float
    #: On validation images; attackers are selected by the risk, and where it is equal by the AUC.
    validation_risk: float
    validation_auc: float
    per_person: NDArray[np.float64] = field(repr=False, compare=False)
    #: Rank-1 of an attacker who predicts the attributes from the image; NaN if not tried.
    risk_predicted_cell: float
    #: Mean and 95 % quantile of the album risk with people permuted inside their cells (seldom the
    #: floor), and share of permutations that reach the album risk.
    album_null: float
    album_null_high: float
    album_p_value: float
    #: Highest success of one person who shares a cell, and its mean under the same permutations.
    worst_person_risk: float
    worst_person_null: float
    #: People with more than twice their floor, and the number expected by chance.
    people_above_twice_floor: int
    people_above_twice_floor_null: float
    #: See :func:`edials.metrics.verification.verification`.
    tar_at_fmr_1e2: float
    tar_at_fmr_1e3: float
    eer: float
    per_person_bits: NDArray[np.float64] = field(repr=False, compare=False)
    per_person_auc: NDArray[np.float64] = field(repr=False, compare=False)
    #: Mean scores of everybody's validation and probe images (rows) for everybody (columns), not
    #: calibrated: for the test of all attackers together, which selects nothing.
    person_scores: NDArray[np.float64] = field(repr=False, compare=False)
    #: False match and false non-match rates, shape (2, n_points).
    det: NDArray[np.float64] = field(repr=False, compare=False)
    #: Images that the attacker names: "released", "clear" (in a reverse attack) or "choices".
    probe_kind: str = "released"
    #: Whether more images made it stronger; None if that was not tried.
    still_learning: bool | None = None
    #: Source of the pairs that it learned from: "the gallery", or "31 other people".
    pairs_of: str = ""
    #: See :data:`edials.audit.attackers.base.KINDS`; "ensemble" for all valid ones combined.
    kind: str = ""
    network: bool = False
    #: Whether it uses the anonymizer's encoder.
    uses_encoder: bool = False


def evaluate_scores(
    name: str,
    gallery_kind: str,
    *,
    validation: tuple[NDArray, People],
    probe: tuple[NDArray, People],
    clear_accuracy: float,
    validity_threshold: float,
    log_cells: NDArray | None = None,
    seed: int = 0,
    **description: Any,
) -> AttackFigures:
    """Calibrate an attacker's scores on validation images and evaluate them on probe images.

    Scores have shape (n_samples, n_people). The attacker needs ``validity_threshold`` as its clear
    accuracy to be evidence. ``log_cells`` (n_probe_samples, n_cells) are log-probabilities of the
    cells, predicted from the probe images. ``seed`` is that of resamples and permutations,
    ``description`` more fields of :class:`AttackFigures`, such as ``probe_kind``.
    """
    validation_scores, scores = (np.asarray(side[0], np.float64) for side in (validation, probe))
    validation_codes, people = validation[1].codes, probe[1]
    codes, cells = people.codes, people.cells
    calibration = calibrate(validation_scores, validation_codes, cells)
    calibrated = calibration(scores)
    log_q = in_cell_log_probabilities(calibrated, codes, cells)
    success = mean_by_person(rank_hits(log_q, codes, 1), codes)
    excess = success - mean_by_person(1 / people.cell_sizes, codes)
    bits = mean_by_person(in_cell_bits(log_q, codes, cells), codes)
    ranking = calibration.ranking_scores(scores)
    auc = mean_by_person(in_cell_auc(ranking, codes, cells), codes)
    validation_log_q = in_cell_log_probabilities(
        calibration(validation_scores), validation_codes, cells
    )
    validation_ranking = calibration.ranking_scores(validation_scores)
    present = np.unique(codes)
    permutations = permute_within_cells(cells[present], seed=seed)
    table, success_table = (
        mean_scores_by_person(rows, codes, len(cells))[np.ix_(present, present)]
        for rows in (ranking, rank_1_success(log_q))
    )
    open_set, det = verification(ranking, codes, cells)
    max_bits = float(np.log2(np.bincount(cells).max()))

    def estimate(
        mean: str, end: str, values: NDArray, bounds: tuple[float, float], level: float = 0.95
    ) -> dict[str, Any]:
        low, high = confidence_interval(values, level=level, seed=seed, bounds=bounds)
        return {mean: _finite_mean(values), f"{end}_low": low, f"{end}_high": high}

    return AttackFigures(
        name=name,
        gallery_kind=gallery_kind,
        clear_accuracy=clear_accuracy,
        valid=clear_accuracy >= validity_threshold,
        risk_without_attributes=rank_1(scores, codes),
        rank_5=_rank_risk(log_q, codes, 5),
        p_value=permutation_p_value(table, permutations),
        effective_anonymity_set_size=_effective_anonymity_set_size(log_q, codes),
        validation_risk=_rank_risk(validation_log_q, validation_codes),
        validation_auc=_finite_mean(in_cell_auc(validation_ranking, validation_codes, cells)),
        risk_predicted_cell=_predicted_cell_risk(calibrated, log_cells, people),
        per_person=success,
        per_person_bits=bits,
        per_person_auc=auc,
        person_scores=mean_scores_by_person(
            np.concatenate([validation_scores, scores]),
            np.concatenate([validation_codes, codes]),
            len(cells),
        ),
        det=det,
        **estimate("risk", "ci", success, (0, 1)),
        **estimate("in_cell_excess", "excess", excess, (-1, 1)),
        **estimate("leakage_bits", "leakage", bits, (-np.inf, max_bits), JOINT_LEVEL),
        **estimate("in_cell_auc", "auc", auc, (0, 1), JOINT_LEVEL),
        **album_figures(table, cells[present], permutations),
        **worst_person(success_table, cells[present], permutations),
        **open_set,
        **description,
    )


def _finite_mean(values: NDArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _rank_risk(log_q: NDArray, codes: NDArray[np.int64], rank: int = 1) -> float:
    """Success at a rank, mean over people."""
    return float(mean_by_person(rank_hits(log_q, codes, rank), codes).mean())


def _predicted_cell_risk(calibrated: NDArray, log_cells: NDArray | None, people: People) -> float:
    if log_cells is None:
        return float("nan")
    return _rank_risk(log_predicted_cell(calibrated, log_cells, people.cells), people.codes)


def _effective_anonymity_set_size(log_q: NDArray, codes: NDArray[np.int64]) -> float:
    entropy = -np.sum(np.exp(log_q) * np.where(np.isfinite(log_q), log_q, 0), axis=1)
    return float(np.exp(mean_by_person(entropy, codes).mean()))


def attribute_rank_floor(people: People, rank: int) -> float:
    """Success at a rank of the true attributes alone: mean of min(1, rank / people in the cell)."""
    return float(mean_by_person(np.minimum(1, rank / people.cell_sizes), people.codes).mean())


def predicted_floor(log_cells: NDArray, people: People) -> float:
    """Success of the attributes alone if they are predicted from the image.

    ``log_cells`` are log-probabilities of shape (n_samples, n_cells).
    """
    no_scores = np.zeros((len(log_cells), len(people.cells)))
    return _predicted_cell_risk(no_scores, log_cells, people)
