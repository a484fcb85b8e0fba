"""Has the attacker learned what there is to learn, or would more images make it stronger?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from ..metrics.leakage import interval
from ..metrics.linear_attack import LatentAttacker
from .figures import BOTH, AttackFigures, judge_scores
from .runner import AttackData

#: Shares of everybody's enrol images that an attacker learns from.
SHARES = (0.25, 0.5, 1.0)


def is_cheap(attacker: Any) -> bool:
    """Whether training an attacker twice more costs little: it says so, or is linear."""
    return bool(getattr(attacker, "cheap", isinstance(attacker, LatentAttacker)))


def learning_curve(
    attackers: Sequence[Any],
    outcomes: Sequence[AttackFigures],
    material: AttackData,
    seed: int,
    n_jobs: int | None,
) -> tuple[pd.DataFrame, list[AttackFigures]]:
    """Train cheap attackers again on a quarter and a half of the gallery.

    Parameters
    ----------
    attackers : sequence of attackers
        See :mod:`edials.audit.attackers.base`; those that retrain and are cheap are tried.
    outcomes : sequence of AttackFigures
        What they and others found with the whole gallery; matched by name.
    material : AttackData
        What they were given; a share of the photos is taken in all releases.
    seed : int
    n_jobs : as joblib takes it

    Returns
    -------
    table : DataFrame
        One row per attacker and share: ``name``, ``share``, ``n_images``, ``leakage_bits``,
        ``in_cell_auc``, ``still_learning``.
    outcomes : list of AttackFigures
        The same with ``still_learning``: whether the whole gallery gave more leakage or a higher
        in-cell AUC than half of it, by an interval over people.
    """
    found = {outcome.name: outcome for outcome in outcomes}
    tried = [
        attacker
        for attacker in attackers
        if is_cheap(attacker)
        and getattr(attacker, "gallery_kind", "released") == "released"
        and getattr(attacker, "probe_kind", "released") == "released"
        and attacker.name in found
        and found[attacker.name].valid
    ]
    curves = Parallel(n_jobs=n_jobs)(
        delayed(_with_less)(attacker, found[attacker.name], material, seed) for attacker in tried
    )
    rows, verdicts = [], {}
    for curve in curves:
        name = curve[-1].name
        verdicts[name] = _still_learning(curve[-2], curve[-1], seed)
        for share, outcome in zip(SHARES, curve, strict=True):
            rows.append(
                {
                    "name": name,
                    "share": share,
                    "n_images": len(material.gallery("released", share)[1]),
                    "leakage_bits": outcome.leakage_bits,
                    "in_cell_auc": outcome.in_cell_auc,
                    "still_learning": verdicts[name],
                }
            )
    columns = ["name", "share", "n_images", "leakage_bits", "in_cell_auc", "still_learning"]
    return pd.DataFrame(rows, columns=columns), [
        replace(outcome, still_learning=verdicts.get(outcome.name)) for outcome in outcomes
    ]


def _with_less(
    attacker: Any, whole: AttackFigures, material: AttackData, seed: int
) -> list[AttackFigures]:
    attacker, curve = copy.copy(attacker), []
    for share in SHARES[:-1]:
        attacker.fit(*material.gallery("released", share))
        shown = material.images["released"]
        validation, probe = (
            (np.asarray(attacker.scores(shown[name]), np.float64), material.people[name])
            for name in ("validation", "probe")
        )
        curve.append(
            judge_scores(
                whole.name,
                whole.gallery_kind,
                validation=validation,
                probe=probe,
                clear_accuracy=whole.clear_accuracy,
                bar=0.0,
                seed=seed,
            )
        )
    return [*curve, whole]


def _still_learning(half: AttackFigures, whole: AttackFigures, seed: int) -> bool:
    return any(
        interval(more - less, level=BOTH, seed=seed)[0] > 0
        for more, less in (
            (whole.per_person_bits, half.per_person_bits),
            (whole.per_person_auc, half.per_person_auc),
        )
    )
