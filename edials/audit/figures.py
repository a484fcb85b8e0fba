"""What one attacker's scores amount to: risk, excess over the floor, leakage, with intervals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..metrics.album import album_figures, successes
from ..metrics.leakage import (
    Calibration,
    calibrate,
    in_cell_auc,
    in_cell_bits,
    in_cell_log_probabilities,
    interval,
    log_predicted_cell,
    mean_by_person,
    rank_hits,
)
from ..metrics.permutation import mean_scores_by_person, permutation_p_value, permute_within_cells
from ..metrics.risk import rank_1
from ..metrics.verification import verification
from .groups import worst_person

#: An attacker is evidence if on clear photos it reaches this share of the best one's success.
SANITY_SHARE = 0.7
# Leakage and AUC say the same in two ways; their intervals hold together at 95 % (Bonferroni).
BOTH = 0.975


@dataclass(frozen=True)
class People:
    """Who is on the images of one split.

    Attributes
    ----------
    codes : ndarray of shape (n_samples,)
        Person of each image.
    cells : ndarray of shape (n_people,)
        Attribute cell of each person.
    """

    codes: NDArray[np.int64]
    cells: NDArray[np.int64]

    @property
    def cell_sizes(self) -> NDArray[np.int64]:
        """People in each image's cell, shape (n_samples,)."""
        return np.bincount(self.cells)[self.cells[self.codes]]


@dataclass(frozen=True)
class AttackFigures:
    """One attacker on one release; shares in [0, 1], intervals over people.

    Intervals are at 95 %, those of leakage and of the AUC at 97.5 % each, so at 95 % together.

    Attributes
    ----------
    name : str
    gallery_kind : str
        "released" (retrained), "clear" (static), "choices", or "both" (all sound ones together).
    clear_accuracy : float
        Rank-1 of the same attacker in the same role on clear photos.
    valid : bool
        False if that is below the bar: then it is broken, and no evidence.
    risk_without_attributes : float
        Rank-1 of who knows no attributes.
    risk, ci_low, ci_high : float
        Rank-1 of an attacker who knows the true attributes as well.
    rank_5 : float
    in_cell_excess, excess_low, excess_high : float
        ``risk`` less 1 / people in the cell, mean over people.
    leakage_bits, leakage_low, leakage_high : float
        Bits about the person beyond the attributes.
    in_cell_auc, auc_low, auc_high : float
        0.5 is chance.
    p_value : float
        Of people exchanged inside their cells.
    album_risk : float
        Rank-1 with all released probe photos of a person pooled; what chance gives is
        ``album_null``, seldom the floor.
    effective_anonymity_set_size : float
        2 to the entropy of the posterior, geometric mean over people.
    validation_risk, validation_auc : float
        What attackers are chosen by, the second where the first is equal; probe images had no part
        in them.
    risk_predicted_cell : float
        Rank-1 of an attacker who reads the attributes off the released image; NaN if not tried.
    album_null, album_null_high, album_p_value : float
        Mean and 95 % quantile of the album risk with people exchanged inside their cells, and how
        often that is as high.
    worst_person_risk, worst_person_null : float
        Highest success of one person who shares a cell, and its mean under the same exchange.
    people_above_twice_floor : int
    people_above_twice_floor_null : float
        People with more than twice their floor, and the number expected by chance.
    tar_at_fmr_1e2, tar_at_fmr_1e3, eer : float
        Verification against impostors of the same cell, see
        :func:`edials.metrics.verification.verification`.
    probe_kind : str, default="released"
        Which probes it was shown: "released", "clear" (its gallery is poisoned) or "choices".
    still_learning : bool or None
        Whether more images made it stronger; None if that was not tried.
    pairs_of : str, default=""
        Whose pairs (photo, what was released for it) it learned from as well: "the gallery", or
        "31 other people"; empty for who learns from no pairs.
    kind : str, default=""
        What it tries, see :data:`edials.audit.attackers.base.KINDS`; "ensemble" for all sound ones
        together, empty if nobody said.
    network, uses_encoder : bool, default=False
        Whether it is a neural network, and whether it uses the anonymizer's own encoder.
    per_person, per_person_bits, per_person_auc : ndarray of shape (n_people,)
        Confidential, and no part of tables and JSON, like the two below.
    person_scores : ndarray of shape (n_people, n_people)
        Mean scores of everybody's validation and probe images (rows) for everybody (columns), as
        the attacker gave them: for the test of all attackers together, which chooses nothing.
    det : ndarray of shape (2, n_points)
        False matches and false non-matches.
    """

    name: str
    gallery_kind: str
    clear_accuracy: float
    valid: bool
    risk_without_attributes: float
    risk: float
    ci_low: float
    ci_high: float
    rank_5: float
    in_cell_excess: float
    excess_low: float
    excess_high: float
    leakage_bits: float
    leakage_low: float
    leakage_high: float
    in_cell_auc: float
    auc_low: float
    auc_high: float
    p_value: float
    album_risk: float
    effective_anonymity_set_size: float
    validation_risk: float
    validation_auc: float
    per_person: NDArray[np.float64] = field(repr=False, compare=False)
    risk_predicted_cell: float
    album_null: float
    album_null_high: float
    album_p_value: float
    worst_person_risk: float
    worst_person_null: float
    people_above_twice_floor: int
    people_above_twice_floor_null: float
    tar_at_fmr_1e2: float
    tar_at_fmr_1e3: float
    eer: float
    per_person_bits: NDArray[np.float64] = field(repr=False, compare=False)
    per_person_auc: NDArray[np.float64] = field(repr=False, compare=False)
    person_scores: NDArray[np.float64] = field(repr=False, compare=False)
    det: NDArray[np.float64] = field(repr=False, compare=False)
    probe_kind: str = "released"
    still_learning: bool | None = None
    pairs_of: str = ""
    kind: str = ""
    network: bool = False
    uses_encoder: bool = False


def judge_scores(
    name: str,
    gallery_kind: str,
    *,
    validation: tuple[NDArray, People],
    probe: tuple[NDArray, People],
    clear_accuracy: float,
    bar: float,
    probe_kind: str = "released",
    log_cells: NDArray | None = None,
    seed: int = 0,
) -> AttackFigures:
    """Calibrate an attacker's scores on validation images and judge it on probe images.

    Parameters
    ----------
    name, gallery_kind : str
    validation, probe : tuple (scores of shape (n_samples, n_people), People)
    clear_accuracy : float
    bar : float
        Clear accuracy that it needs to be evidence.
    probe_kind : str, default="released"
    log_cells : ndarray of shape (n_probe_samples, n_cells), optional
        Log-probability of every cell, read off the probe images.
    seed : int, default=0
        Of the resamples and permutations.
    """
    calibration = calibrate(validation[0], validation[1].codes, validation[1].cells)
    scores, people = np.asarray(probe[0], dtype=np.float64), probe[1]
    ready = calibration(scores)
    codes, cells = people.codes, people.cells
    log_q = in_cell_log_probabilities(ready, codes, cells)
    success = mean_by_person(rank_hits(log_q, codes, 1), codes)
    floor = mean_by_person(1 / people.cell_sizes, codes)
    bits = mean_by_person(in_cell_bits(log_q, codes, cells), codes)
    # Without a believed temperature the raw order is all there is to look at.
    ordered = calibration.ordered(scores)
    auc_people = mean_by_person(in_cell_auc(ordered, codes, cells), codes)
    present = np.unique(codes)
    table = mean_scores_by_person(ordered, codes, len(cells))[np.ix_(present, present)]
    exchanged = permute_within_cells(cells[present], seed=seed)
    named = mean_scores_by_person(successes(log_q), codes, len(cells))[np.ix_(present, present)]
    open_set, det = verification(ordered, codes, cells)
    most = float(np.log2(np.bincount(cells).max()))
    risk_low, risk_high = interval(success, seed=seed, bounds=(0, 1))
    excess_low, excess_high = interval(success - floor, seed=seed, bounds=(-1, 1))
    leakage_low, leakage_high = interval(bits, level=BOTH, seed=seed, bounds=(-np.inf, most))
    auc_low, auc_high = interval(auc_people, level=BOTH, seed=seed, bounds=(0, 1))
    return AttackFigures(
        name=name,
        gallery_kind=gallery_kind,
        clear_accuracy=clear_accuracy,
        valid=clear_accuracy >= bar,
        risk_without_attributes=rank_1(scores, codes),
        risk=float(success.mean()),
        ci_low=risk_low,
        ci_high=risk_high,
        rank_5=float(mean_by_person(rank_hits(log_q, codes, 5), codes).mean()),
        in_cell_excess=float((success - floor).mean()),
        excess_low=excess_low,
        excess_high=excess_high,
        leakage_bits=float(bits.mean()),
        leakage_low=leakage_low,
        leakage_high=leakage_high,
        in_cell_auc=_mean(auc_people),
        auc_low=auc_low,
        auc_high=auc_high,
        p_value=permutation_p_value(table, exchanged),
        effective_anonymity_set_size=_effective_anonymity_set_size(log_q, codes),
        validation_risk=_known_cell_risk(calibration, *validation),
        validation_auc=_mean(
            in_cell_auc(calibration.ordered(validation[0]), validation[1].codes, cells)
        ),
        probe_kind=probe_kind,
        risk_predicted_cell=_predicted_cell_risk(ready, log_cells, people),
        per_person=success,
        per_person_bits=bits,
        per_person_auc=auc_people,
        person_scores=mean_scores_by_person(
            np.concatenate([np.asarray(validation[0], dtype=np.float64), scores]),
            np.concatenate([validation[1].codes, codes]),
            len(cells),
        ),
        det=det,
        **album_figures(table, cells[present], exchanged),
        **worst_person(named, cells[present], exchanged),
        **open_set,
    )


def _mean(values: NDArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _predicted_cell_risk(ready: NDArray, log_cells: NDArray | None, people: People) -> float:
    if log_cells is None:
        return float("nan")
    log_q = log_predicted_cell(ready, log_cells, people.cells)
    return float(mean_by_person(rank_hits(log_q, people.codes, 1), people.codes).mean())


def _known_cell_risk(calibration: Calibration, scores: NDArray, people: People) -> float:
    log_q = in_cell_log_probabilities(calibration(scores), people.codes, people.cells)
    return float(mean_by_person(rank_hits(log_q, people.codes, 1), people.codes).mean())


def _effective_anonymity_set_size(log_q: NDArray, codes: NDArray[np.int64]) -> float:
    entropy = -np.sum(np.exp(log_q) * np.where(np.isfinite(log_q), log_q, 0), axis=1)
    return float(np.exp(mean_by_person(entropy, codes).mean()))


def attribute_rank_floor(people: People, rank: int) -> float:
    """Success of nothing but the true attributes at a rank: min(1, rank / people in the cell)."""
    return float(mean_by_person(np.minimum(1, rank / people.cell_sizes), people.codes).mean())


def predicted_floor(log_cells: NDArray, people: People) -> float:
    """Success of nothing but the attributes when they are read off the image, not known.

    Parameters
    ----------
    log_cells : ndarray of shape (n_samples, n_cells)
    people : People
    """
    nothing = np.zeros((len(log_cells), len(people.cells)))
    return _predicted_cell_risk(nothing, log_cells, people)
