"""Would more images make an attacker stronger?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from joblib import Parallel, delayed

from ..metrics.leakage import confidence_interval
from ..metrics.linear_attack import LatentAttacker
from .attack_data import AttackData
from .attackers.base import gallery_kind_of, probe_kind_of
from .figures import JOINT_LEVEL, AttackFigures, evaluate_scores

#: Shares of everybody's gallery images that an attacker learns.
SHARES = (0.25, 0.5, 1.0)


def is_cheap(attacker: Any) -> bool:
    """Whether training an attacker twice more costs little: it says so, or is linear."""
    return bool(getattr(attacker, "cheap", isinstance(attacker, LatentAttacker)))


def learning_curve(
    attackers: Sequence[Any],
    outcomes: Sequence[AttackFigures],
    data: AttackData,
    seed: int,
    n_jobs: int | None,
) -> tuple[pd.DataFrame, list[AttackFigures]]:
    """Train cheap parrots again on a quarter and on half of the gallery.

    ``outcomes`` are the figures of all attackers with the whole gallery, matched by name. Returned
    are a table with one row per attacker and share, and the outcomes with ``still_learning``:
    whether the whole gallery gave more leakage or a higher in-cell AUC than half of it, by an
    interval over people.
    """
    valid = {outcome.name: outcome for outcome in outcomes if outcome.valid}
    parrots = [
        attacker
        for attacker in attackers
        if is_cheap(attacker)
        and gallery_kind_of(attacker) == probe_kind_of(attacker) == "released"
        and attacker.name in valid
    ]
    smaller = Parallel(n_jobs=n_jobs)(
        delayed(_with_smaller_galleries)(attacker, valid[attacker.name], data, seed)
        for attacker in parrots
    )
    n_images = [len(data.gallery("released", share)[1]) for share in SHARES]
    rows, still_learning = [], {}
    for attacker, figures in zip(parrots, smaller, strict=True):
        name, whole = attacker.name, valid[attacker.name]
        still_learning[name] = _is_better(whole, figures[-1], seed)
        for share, n, outcome in zip(SHARES, n_images, [*figures, whole], strict=True):
            bits, auc = outcome.leakage_bits, outcome.in_cell_auc
            rows.append((name, share, n, bits, auc, still_learning[name]))
    columns = ["name", "share", "n_images", "leakage_bits", "in_cell_auc", "still_learning"]
    return pd.DataFrame(rows, columns=columns), [
        replace(outcome, still_learning=still_learning.get(outcome.name)) for outcome in outcomes
    ]


def _with_smaller_galleries(
    attacker: Any, whole: AttackFigures, data: AttackData, seed: int
) -> list[AttackFigures]:
    """Figures with a quarter and with half of the gallery."""
    attacker, figures = copy.copy(attacker), []
    for share in SHARES[:-1]:
        attacker.fit(*data.gallery("released", share))
        scores: dict[str, Any] = {
            split: (attacker.scores(data.images["released"][split]), data.people[split])
            for split in ("validation", "probe")
        }
        figures.append(
            evaluate_scores(
                whole.name,
                whole.gallery_kind,
                **scores,
                clear_accuracy=whole.clear_accuracy,
                validity_threshold=0.0,
                seed=seed,
            )
        )
    return figures


def _is_better(figures: AttackFigures, other: AttackFigures, seed: int) -> bool:
    """Whether leakage or AUC is higher, by a paired interval over people."""
    bits = figures.per_person_bits - other.per_person_bits
    auc = figures.per_person_auc - other.per_person_auc
    return any(
        confidence_interval(difference, level=JOINT_LEVEL, seed=seed)[0] > 0
        for difference in (bits, auc)
    )
