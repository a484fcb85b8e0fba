"""Run the attackers: each is validated on clear photos, then learns its gallery and is probed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from ..metrics.leakage import calibrate, combine
from ..metrics.permutation import (
    mean_scores_by_person,
    permutation_p_value,
    permute_within_cells,
    smallest_p_value,
)
from ..metrics.risk import rank_1
from .attack_data import AttackData
from .attackers.base import gallery_kind_of, kind_of, learner_of, probe_kind_of
from .disclosure import donor_matches
from .figures import AttackFigures, People, evaluate_scores

#: Name of all valid attackers combined in a report.
ENSEMBLE = "ensemble"
# An attacker is evidence if on clear photos it reaches this share of the best one's success ...
_SANITY_SHARE = 0.7
# ... and tells people of a cell apart there, by a permutation test at this level.
_SANITY_LEVEL = 0.01


class AttackScores(NamedTuple):
    """One attacker's scores for clear probes, its scores by split, and its further measures."""

    clear: NDArray[np.float64]
    by_split: dict[str, NDArray[np.float64]]
    measures: dict[str, float]


def attack_all(
    attackers: Sequence[Any],
    data: AttackData,
    *,
    seed: int,
    n_jobs: int | None = None,
    verbose: int = 0,
    encoder: Any = None,
) -> tuple[list[AttackFigures], dict[str, dict[str, float]]]:
    """Run and evaluate every attacker, then all valid ones combined.

    Attackers that share a learner run as one. ``seed`` is that of resamples and permutations.
    ``encoder`` is the anonymizer's: the figures say which attackers use it. Returned are the
    figures, and further measures by the attackers' names.
    """
    kinds = [kind_of(attacker) for attacker in attackers]  # refuses a kind before the work
    scores = _scores_of_all(attackers, data, n_jobs, verbose)
    people = data.people
    thresholds = _validity_thresholds(attackers, scores, people["probe"], seed)
    outcomes, ensemble = [], []
    for attacker, kind, attack, threshold in zip(attackers, kinds, scores, thresholds, strict=True):
        probe_kind = probe_kind_of(attacker)
        outcome = evaluate_scores(
            attacker.name,
            gallery_kind_of(attacker),
            validation=(attack.by_split["validation"], people["validation"]),
            probe=(attack.by_split["probe"], people["probe"]),
            clear_accuracy=rank_1(attack.clear, people["probe"].codes),
            validity_threshold=threshold,
            log_cells=data.log_cells if probe_kind == "released" else None,
            seed=seed,
            probe_kind=probe_kind,
            kind=kind,
            pairs_of=data.pairs_of if hasattr(learner_of(attacker), "fit_pairs") else "",
            network=bool(getattr(attacker, "network", False)),
            uses_encoder=_uses(attacker, encoder),
        )
        outcomes.append(outcome)
        # A reverse attack is shown photos, not the release, so its scores do not add to the others.
        if outcome.valid and probe_kind != "clear":
            ensemble.append(attack)
    if len(ensemble) > 1:
        outcomes.append(_evaluate_ensemble(ensemble, data, seed))
    measures = {
        attacker.name: attack.measures
        for attacker, attack in zip(attackers, scores, strict=True)
        if attack.measures
    }
    return outcomes, measures


def _scores_of_all(
    attackers: Sequence[Any], data: AttackData, n_jobs: int | None, verbose: int
) -> list[AttackScores]:
    """Scores of the attackers in their order, learner by learner in parallel."""
    roles: dict[int, list[Any]] = {}
    for attacker in attackers:
        roles.setdefault(id(learner_of(attacker)), []).append(attacker)
    # Processes return scores only; fitted attackers, with their networks, stay there.
    results = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_run_learner)(group, data) for group in roles.values()
    )
    progress = tqdm(results, desc="attacks", total=len(roles), disable=not verbose)
    scores = {
        id(attacker): attack
        for group, attacks in zip(roles.values(), progress, strict=True)
        for attacker, attack in zip(group, attacks, strict=True)
    }
    return [scores[id(attacker)] for attacker in attackers]


def _run_learner(attackers: list[Any], data: AttackData) -> list[AttackScores]:
    """Validate a learner on clear photos, then run its roles, learning once for each gallery."""
    learner, clear = learner_of(attackers[0]), data.images["clear"]["probe"]
    n_people = len(data.people["probe"].cells)
    _learn(learner, data, "clear", on_clear=True)
    on_clear = _checked_scores(attackers[0].name, learner, clear, n_people)
    gallery_kind = None if hasattr(learner, "fit_pairs") else "clear"
    scores = {}
    # Clear galleries first: the learner knows one already.
    for attacker in sorted(attackers, key=lambda a: gallery_kind_of(a) != "clear"):
        if gallery_kind_of(attacker) != gallery_kind:
            gallery_kind = gallery_kind_of(attacker)
            _learn(learner, data, gallery_kind)
        images = data.images[probe_kind_of(attacker)]
        by_split = {
            split: _checked_scores(attacker.name, learner, images[split], n_people)
            for split in ("validation", "probe")
        }
        scores[id(attacker)] = AttackScores(on_clear, by_split, _measures(attacker, data))
    return [scores[id(attacker)] for attacker in attackers]


def _learn(learner: Any, data: AttackData, kind: str, *, on_clear: bool = False) -> None:
    if hasattr(learner, "fit_pairs"):
        clear, released = data.pairs
        learner.fit_pairs(clear, clear if on_clear else released)
    learner.fit(*data.gallery(kind))


def _checked_scores(name: str, learner: Any, images: NDArray, n_people: int) -> NDArray[np.float64]:
    scores = np.asarray(learner.scores(images), dtype=np.float64)
    if scores.shape != (len(images), n_people) or not np.isfinite(scores).all():
        raise ValueError(
            f"The attacker {name!r} gave scores of shape {scores.shape}, of which "
            f"{int((~np.isfinite(scores)).sum())} are not finite; expected "
            f"{(len(images), n_people)}, one column per person of the gallery in sorted order."
        )
    return scores


def _measures(attacker: Any, data: AttackData) -> dict[str, float]:
    """Figures of its own, and how often outputs match enrolled people by its embedding."""
    clear, released = (data.images[kind]["probe"] for kind in ("clear", "released"))
    measures: dict[str, float] = {}
    if hasattr(attacker, "measures"):
        measures |= attacker.measures(clear, released)
    embed = getattr(attacker, "embed", None)
    if embed is not None and gallery_kind_of(attacker) == "clear":
        codes = data.people["probe"].codes
        impostors = data.impostors or (clear, codes)
        measures |= donor_matches(embed, data.gallery("clear"), impostors, (released, codes))
    return measures


def _validity_thresholds(
    attackers: Sequence[Any], scores: list[AttackScores], probe: People, seed: int
) -> list[float]:
    """Clear accuracy that each attacker needs: a share of the best one's, or what it declares.

    Infinite for an attacker who does not tell the people of a cell apart on clear photos: a share
    of the best one's success, which may be none, would prove nothing.
    """
    # Where few people share a cell, telling any people apart has to do.
    testable = smallest_p_value(probe.cells) < _SANITY_LEVEL / 10
    cells = probe.cells if testable else np.zeros_like(probe.cells)
    permutations = permute_within_cells(cells, seed=seed)
    level = max(_SANITY_LEVEL, 2 * smallest_p_value(cells))
    declared = [getattr(attacker, "threshold_over_chance", None) for attacker in attackers]
    accuracies = [rank_1(attack.clear, probe.codes) for attack in scores]
    undeclared = [a for a, multiple in zip(accuracies, declared, strict=True) if multiple is None]
    best = max(undeclared, default=0.0)
    thresholds = []
    for attack, multiple in zip(scores, declared, strict=True):
        table = mean_scores_by_person(attack.clear, probe.codes, len(probe.cells))
        works = permutation_p_value(table, permutations) <= level
        share = _SANITY_SHARE * best if multiple is None else min(1.0, multiple / len(probe.cells))
        thresholds.append(share if works else np.inf)
    return thresholds


def _uses(attacker: Any, encoder: Any) -> bool:
    """Whether an attacker's ``encode`` is the encoder or a method of it."""
    encode = getattr(attacker, "encode", None)
    return encoder is not None and encoder in (encode, getattr(encode, "__self__", None))


def _evaluate_ensemble(scores: list[AttackScores], data: AttackData, seed: int) -> AttackFigures:
    """All valid attackers combined: the sum of their calibrated scores, calibrated again.

    On clear photos their standardized scores are summed.
    """
    people = data.people
    validation = people["validation"]
    calibrations = [
        calibrate(attack.by_split["validation"], validation.codes, validation.cells)
        for attack in scores
    ]
    combined = {
        split: (combine(calibrations, [attack.by_split[split] for attack in scores]), people[split])
        for split in ("validation", "probe")
    }
    clear = np.sum([attack.clear / (attack.clear.std() or 1.0) for attack in scores], axis=0)
    return evaluate_scores(
        ENSEMBLE,
        "both",
        **combined,
        clear_accuracy=rank_1(clear, people["probe"].codes),
        validity_threshold=0.0,
        log_cells=data.log_cells,
        seed=seed,
        kind="ensemble",
    )
