"""The audit of any anonymizer's output: split, attack, calibrate, judge, report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray

from .._random import stage_seeds
from .._validation import check_attributes, check_images, encode_labels, to_uint8
from ..certification import is_blank
from ..datasets._sources import Source
from ..exceptions import InvalidImageError, InvalidLabelsError
from ..images import read_images
from ..recognizer import IdentityClassifier
from .attackers import (
    ClassifierAttacker,
    ContextAttacker,
    LatentAttacker,
    LogisticAttacker,
    PixelAttacker,
)
from .calibration import calibrate, combine
from .cell_reader import read_cells
from .exchange import exchange_people, max_t_p_value
from .figures import (
    SANITY_SHARE,
    AttackFigures,
    People,
    attribute_rank_floor,
    judge_scores,
    predicted_floor,
)
from .groups import people_table
from .learning import learning_curve
from .linkage import copies_of_originals, nearest_neighbour_linkage
from .report import AuditReport
from .retention import picture_retention
from .risk import attribute_floor, rank_1, share_alone
from .utility import LinearJudge, person_disjoint_utility

_SPLITS = ("enrol", "validation", "probe")
_SHOWN = 8
_TOGETHER = "all together"


def audit(
    original: Any,
    anonymized: Any,
    *,
    identity: Any,
    attributes: Any = None,
    split: Any = None,
    attackers: str | Sequence[Any] = "standard",
    anonymizer: Any = None,
    judges: Any = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> AuditReport:
    """Judge what an anonymizer left of who is on the images, whatever anonymizer it was.

    Parameters
    ----------
    original, anonymized : array-like of shape (n_samples, height, width, 3), list of paths, folder
        Pairs, one to one and in the same order. Folders are paired by relative file name without
        its ending. Blank images (and missing files of a folder) count as withheld.
    identity : array-like of shape (n_samples,)
        Who is on each image; missing where unknown, and these rows are left out of the attacks.
    attributes : DataFrame, dict of columns, or array-like, optional
        The kept attributes; a missing label counts as one of its own. None is one cell: the floor
        is then 1 / people.
    split : array-like of shape (n_samples,), optional
        "enrol" (attackers learn), "validation" (they are chosen and calibrated) and "probe"
        (reported once); None deals every person's images 60 : 15 : 25.
    attackers : {"quick", "standard", "thorough"} or sequence of these, default="standard"
        "quick" are the linear ones; "standard" adds networks, static and retrained; "thorough" a
        second retrained one of another shape and loss. A sequence names single attackers as the
        report does, or holds objects that follow
        :mod:`edials.audit.attackers`.
    anonymizer : EDIALSAnonymizer, optional
        Fitted: the method is public, so attackers then use its latents.
    judges : AttributeClassifier, optional
        Fitted on other people's clear images, with ``predict_table``. None takes linear ones,
        trained on people apart from those they judge.
    random_state : int, RandomState instance or None, default=None
    n_jobs : int, optional
        Processes that the attackers are shared among.
    verbose : int, default=0

    Returns
    -------
    AuditReport

    Raises
    ------
    InvalidImageError, InvalidLabelsError
        If images and labels cannot be paired, or nobody has images in all three splits.
    """
    before, after, withheld = _pairs(original, anonymized)
    attributes = pd.DataFrame(attributes) if isinstance(attributes, dict) else attributes
    table = check_attributes(attributes, len(before))
    labels = encode_labels(identity, name="identity", n_samples=len(before))
    seeds = stage_seeds(random_state, "split", "attackers", "resamples")
    parts = _split(labels.codes, withheld, split, seeds["split"])
    rows, people, cells = _people_in_all_parts(labels.codes, table, parts)
    groups = {name: rows[parts[rows] == name] for name in _SPLITS}

    sides = {name: People(people[group], cells) for name, group in groups.items()}
    released = {name: after[group] for name, group in groups.items()}
    log_cells = read_cells(released, sides)
    tried = _make_attackers(attackers, anonymizer, seeds["attackers"])
    outcomes = _attack_all(
        tried, before, after, groups, sides, log_cells, seeds["resamples"], n_jobs, verbose
    )
    curve, outcomes = learning_curve(
        tried, outcomes, released, sides, seed=seeds["resamples"], n_jobs=n_jobs
    )
    probe, probe_people = groups["probe"], sides["probe"]
    gallery_components = PixelAttacker().fit(after[groups["enrol"]], people[groups["enrol"]])
    known = rows[~withheld[rows]]
    return AuditReport(
        n_people=len(cells),
        n_images=len(before),
        n_withheld=int(withheld.sum()),
        chance=1 / len(cells),
        floor=attribute_floor(np.arange(len(cells)), cells),
        floor_rank_5=attribute_rank_floor(probe_people, 5),
        alone=share_alone(np.arange(len(cells)), cells),
        kept_attributes=[] if table is None else [str(name) for name in table.columns],
        smallest_cell=int(np.bincount(cells).min()),
        outcomes=outcomes,
        copies=copies_of_originals(before[~withheld], after[~withheld]),
        linkage=nearest_neighbour_linkage(gallery_components.features(after[probe]), probe_people),
        utility=_utility(before, after, table, labels.codes, known, anonymizer, judges),
        retention=picture_retention(before[known], after[known]),
        faces=[before[probe][:_SHOWN], after[probe][:_SHOWN]],
        people=people_table(table, people, cells),
        p_value_any=max_t_p_value(
            # The test adds them up by itself, and without the choices of validation.
            [o.person_scores for o in outcomes if o.valid and o.name != _TOGETHER],
            exchange_people(cells, seed=seeds["resamples"]),
        ),
        floor_predicted_cell=predicted_floor(log_cells, probe_people),
        learning_curve=curve,
    )


def _pairs(
    original: Any, anonymized: Any
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Both sides as uint8 arrays of one size, and which images were withheld."""
    first, second = _paths(original), _paths(anonymized)
    if isinstance(first, dict) and isinstance(second, dict):
        names = sorted(first)
        strangers = sorted(set(second) - set(first))
        if strangers:
            raise InvalidImageError(
                f"{len(strangers)} anonymized files have no original of their name, such as "
                f"{strangers[0]!r}; expected pairs. Pass two lists of paths in the same order."
            )
        original = [first[name] for name in names]
        anonymized = [second.get(name) for name in names]
    elif isinstance(first, dict) or isinstance(second, dict):
        raise InvalidImageError("One side is a folder and the other is not; expected both alike.")
    after, missing = _images(anonymized, None)
    size = after.shape[1] if after.shape[1] == after.shape[2] else None
    before, absent = _images(original, size)
    if before.shape != after.shape:
        raise InvalidImageError(
            f"The originals have shape {before.shape}, the anonymized images {after.shape}; "
            f"expected the same: one for one, in order, at one size."
        )
    if absent.any():
        raise InvalidImageError(f"{int(absent.sum())} originals are missing; expected all.")
    return before, after, missing | is_blank(after)


def _paths(side: Any) -> dict[str, Path] | None:
    """A folder's pictures by relative name without ending; None if it is no folder."""
    if not isinstance(side, (str, os.PathLike)):
        return None
    source = Source(side, zip_allowed=False)
    return {str(Path(name).with_suffix("")): source.path / name for name in source.names}


def _images(side: Any, size: int | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    if isinstance(side, np.ndarray) and side.dtype.kind in "fu":
        return to_uint8(check_images(side)[0]), np.zeros(len(side), dtype=bool)
    entries = list(side)
    if entries and isinstance(next((e for e in entries if e is not None), 0), (str, os.PathLike)):
        missing = np.array([entry is None for entry in entries])
        found = read_images([entry for entry in entries if entry is not None], size)
        images = np.full((len(entries), *found.shape[1:]), 128, dtype=np.uint8)
        images[~missing] = found
        return to_uint8(check_images(images)[0]), missing
    images, _ = check_images(side)
    return to_uint8(images), np.zeros(len(images), dtype=bool)


def _split(
    codes: NDArray[np.int64], withheld: NDArray[np.bool_], split: Any, seed: int
) -> NDArray[np.str_]:
    """Part of every image; withheld and unknown ones belong to none."""
    usable = (codes >= 0) & ~withheld
    parts = np.full(len(codes), "none", dtype="U10")
    if split is not None:
        given = np.asarray(split).astype(str)
        unknown = sorted(set(given[usable]) - {*_SPLITS, "none"})
        if len(given) != len(codes) or unknown:
            raise InvalidLabelsError(
                f"split has {len(given)} entries for {len(codes)} images and the values "
                f"{sorted(set(given))}; expected one of {_SPLITS} (or 'none') per image."
            )
        parts[usable] = given[usable]
        return parts
    generator = np.random.default_rng(seed)
    for person in np.unique(codes[usable]):
        own = generator.permutation(np.flatnonzero(usable & (codes == person)))
        # At least one for each of the latter two, as far as they go.
        validation, probe = max(1, round(0.15 * len(own))), max(1, round(0.25 * len(own)))
        parts[own[:validation]] = "validation"
        parts[own[validation : validation + probe]] = "probe"
        parts[own[validation + probe :]] = "enrol"
    return parts


def _people_in_all_parts(
    codes: NDArray[np.int64], table: pd.DataFrame | None, parts: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of people with images in every part, their new codes (-1 elsewhere), and their cells."""
    several = [set(codes[parts == name].tolist()) for name in _SPLITS]
    present = np.array(sorted(set.intersection(*several)), dtype=np.int64)
    if len(present) < 2:
        raise InvalidLabelsError(
            f"{len(present)} people have images to enrol, to validate and to probe; expected at "
            f"least two. Give at least three images of each person."
        )
    people = np.full(len(codes), -1, dtype=np.int64)
    for code, person in enumerate(present):
        people[codes == person] = code
    rows = np.flatnonzero((people >= 0) & (parts != "none"))
    if table is None:
        return rows, people, np.zeros(len(present), dtype=np.int64)
    # A person's cell is that of most of their images.
    text = table.astype(str).agg("\x1f".join, axis=1).to_numpy()
    own = [pd.Series(text[people == code]).mode().iloc[0] for code in range(len(present))]
    return rows, people, np.unique(own, return_inverse=True)[1]


def _make_attackers(attackers: Any, anonymizer: Any, seed: int) -> list[Any]:
    """Attackers by name; objects pass through."""
    encode = None if anonymizer is None else anonymizer.autoencoder_
    linear: list[Any] = [PixelAttacker(), ContextAttacker()]
    if encode is not None:
        linear = [LatentAttacker(encode), LogisticAttacker(encode), *linear]

    def network(name: str, learns_from: str, **settings: Any) -> ClassifierAttacker:
        model = IdentityClassifier(**{"random_state": seed, "patience": 99, **settings})
        return ClassifierAttacker(model, name, learns_from)

    standard = [
        *linear,
        network("network of clear photos", "clear"),
        network("network, retrained", "released"),
    ]
    second = network(
        "second network, retrained", "released", depth=1, margin=0.2, random_state=seed + 1
    )
    named = {"quick": linear, "standard": standard, "thorough": [*standard, second]}
    if isinstance(attackers, str):
        if attackers not in named:
            raise ValueError(f"attackers={attackers!r}; expected one of {sorted(named)}.")
        return named[attackers]
    known = {attacker.name: attacker for attacker in named["thorough"]}
    unknown = [a for a in attackers if isinstance(a, str) and a not in known]
    if unknown:
        raise ValueError(f"attackers names {unknown}; expected some of {sorted(known)}.")
    return [known[a] if isinstance(a, str) else a for a in attackers]


# Name, what it learns from, its success on clear images, its scores on validation and probe.
Attack = tuple[str, str, float, dict[str, NDArray]]


def _attack(
    attacker: Any,
    clear: dict[str, NDArray],
    released: dict[str, NDArray],
    people: dict[str, People],
) -> Attack:
    """Let one attacker play its role on clear images, then on the release."""
    enrol, probe = people["enrol"].codes, people["probe"]
    attacker.fit(clear["enrol"], enrol)
    clear_scores = attacker.scores(clear["probe"])
    expected = (len(probe.codes), len(probe.cells))
    if np.shape(clear_scores) != expected:
        raise ValueError(
            f"The attacker {attacker.name!r} gave scores of shape {np.shape(clear_scores)}; "
            f"expected {expected}, one column per person of the gallery in sorted order."
        )
    if attacker.learns_from == "released":
        attacker.fit(released["enrol"], enrol)
    scores = {
        name: np.asarray(attacker.scores(released[name]), dtype=np.float64)
        for name in ("validation", "probe")
    }
    return attacker.name, attacker.learns_from, rank_1(clear_scores, probe.codes), scores


def _attack_all(
    attackers: list[Any],
    before: NDArray,
    after: NDArray,
    groups: dict[str, NDArray],
    people: dict[str, People],
    log_cells: NDArray,
    seed: int,
    n_jobs: int | None,
    verbose: int,
) -> list[AttackFigures]:
    """Run every attacker on clear images first, then on the release, then all together."""
    clear_part = {name: before[group] for name, group in groups.items()}
    released_part = {name: after[group] for name, group in groups.items()}
    found: list[Attack] = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(_attack)(attacker, clear_part, released_part, people) for attacker in attackers
    )
    # What only sees the surroundings is not expected to recognise faces: its bar is chance.
    bar = SANITY_SHARE * max((clear for _, _, clear, _ in found), default=0.0)
    bars = [3 / len(people["probe"].cells) if n == ContextAttacker.name else bar for n, *_ in found]
    outcomes = [
        judge_scores(
            name,
            learns_from,
            validation=(scores["validation"], people["validation"]),
            probe=(scores["probe"], people["probe"]),
            clear_accuracy=clear,
            bar=own_bar,
            log_cells=log_cells,
            seed=seed,
        )
        for (name, learns_from, clear, scores), own_bar in zip(found, bars, strict=True)
    ]
    sound = [f for f, outcome in zip(found, outcomes, strict=True) if outcome.valid]
    if len(sound) > 1:
        outcomes.append(_ensemble(sound, people, bar, log_cells, seed))
    return outcomes


def _ensemble(
    found: list[Attack],
    people: dict[str, People],
    bar: float,
    log_cells: NDArray,
    seed: int,
) -> AttackFigures:
    """All sound attackers together: the sum of their scores, calibrated again."""
    validation = people["validation"]
    own = [scores for _, _, _, scores in found]
    calibrations = [
        calibrate(scores["validation"], validation.codes, validation.cells) for scores in own
    ]
    together = {
        name: combine(calibrations, [scores[name] for scores in own])
        for name in ("validation", "probe")
    }
    return judge_scores(
        _TOGETHER,
        "both",
        validation=(together["validation"], validation),
        probe=(together["probe"], people["probe"]),
        clear_accuracy=max(clear for _, _, clear, _ in found),
        bar=bar,
        log_cells=log_cells,
        seed=seed,
    )


def _utility(
    before: NDArray,
    after: NDArray,
    table: pd.DataFrame | None,
    codes: NDArray[np.int64],
    rows: NDArray,
    anonymizer: Any,
    judges: Any,
) -> pd.DataFrame:
    """Macro-F1 by attribute (rows) on clear, reconstructed and released images (columns)."""
    if table is None:
        return pd.DataFrame()
    kinds = {"clear": before[rows], "released": after[rows]}
    if anonymizer is not None:
        kinds["reconstruction"] = anonymizer.autoencoder_.reconstruct(before[rows])
    return person_disjoint_utility(
        kinds, table.iloc[rows].reset_index(drop=True), codes[rows], judges or LinearJudge()
    )
