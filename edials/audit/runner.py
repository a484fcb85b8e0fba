"""The attacks: every attacker proves itself on clear photos, then learns and is shown its part."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from .._validation import to_uint8
from ..exceptions import IdentityLeakWarning
from ..metrics.leakage import calibrate, combine
from ..metrics.permutation import (
    mean_scores_by_person,
    permutation_p_value,
    permute_within_cells,
    smallest_p_value,
)
from ..metrics.risk import rank_1
from ..release.certification import is_blank
from .attackers.base import kind_of
from .disclosure import donor_matches
from .figures import SANITY_SHARE, AttackFigures, People, judge_scores

#: How the report calls all sound attackers together.
ENSEMBLE = "all together"
# Pairs of other people are taken instead of the gallery's own if there are so many.
_FEWEST_OTHERS, _FEWEST_PAIRS = 30, 300
# By chance no more than once in a hundred does an attacker seem to work on clear photos.
_WORKS = 0.01


@dataclass(frozen=True)
class AttackData:
    """What attackers are given.

    Attributes
    ----------
    images : dict of str to dict of str to ndarray
        By kind ("clear", "released", "choices") and split; rows of a split match over kinds.
    people : dict of str to People
        By split.
    log_cells : ndarray of shape (n_probe_samples, n_cells)
        Log-probability of every cell, read off the released probe images.
    fresh : list of ndarray
        Further releases of the enrolled photos, in their order; blank where withheld.
    pairs : tuple of two ndarrays
        Clear photos, and what was released for them.
    pairs_of : str
        Whose: in words.
    strangers : tuple (images, codes) or None
        Clear photos of people outside the gallery, with codes below 0, if there are enough.
    """

    images: dict[str, dict[str, NDArray]]
    people: dict[str, People]
    log_cells: NDArray[np.float64]
    fresh: list[NDArray]
    pairs: tuple[NDArray, NDArray]
    pairs_of: str
    strangers: tuple[NDArray, NDArray[np.int64]] | None

    def gallery(self, kind: str, share: float = 1.0) -> tuple[NDArray, NDArray[np.int64]]:
        """Enrolled images and people; released ones with all fresh releases.

        A ``share`` below 1 takes so many of everybody's photos, at least one, in all releases.
        """
        codes = self.people["enrol"].codes
        turn = pd.Series(codes).groupby(codes).cumcount().to_numpy()
        photos = np.flatnonzero(turn < np.maximum(1, np.ceil(share * np.bincount(codes)))[codes])
        parts = [self.images[kind]["enrol"][photos]]
        people = [codes[photos]]
        for release in self.fresh if kind == "released" else ():
            there = photos[~is_blank(release[photos])]
            parts.append(release[there])
            people.append(codes[there])
        return np.concatenate(parts), np.concatenate(people)


def fresh_releases(
    anonymizer: Any, enrolled: NDArray[np.uint8], count: int, seed: int
) -> list[NDArray[np.uint8]]:
    """Anonymize the enrolled photos anew, as anybody can who has them and the method.

    Parameters
    ----------
    anonymizer : anonymizer with ``rekeyed``, or anything else
        Without it, or if a new key changes nothing, there are no fresh releases.
    enrolled : ndarray of shape (n_samples, height, width, 3), dtype uint8
    count : int
    seed : int
    """
    if not hasattr(anonymizer, "rekeyed"):
        return []
    keys = [anonymizer.rekeyed(seed + turn) for turn in range(count)]
    with warnings.catch_warnings():
        # Its user has seen them when the release was made.
        warnings.simplefilter("ignore", IdentityLeakWarning)
        first = to_uint8(keys[0].transform(enrolled[:8]))
        if np.array_equal(
            first, to_uint8(anonymizer.rekeyed(seed + count).transform(enrolled[:8]))
        ):
            return []
        return [to_uint8(key.transform(enrolled)) for key in keys]


def pairs_to_learn_from(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    enrol: NDArray[np.int64],
    others: NDArray[np.int64],
    codes: NDArray[np.int64],
    fresh: list[NDArray[np.uint8]],
) -> dict[str, Any]:
    """Pairs of other people if there are enough of them, else those of the gallery.

    Parameters
    ----------
    before, after : ndarray of shape (n_samples, height, width, 3), dtype uint8
    enrol, others : ndarray of int
        Rows of the gallery, and of people outside it.
    codes : ndarray of shape (n_others,)
        Who they are.
    fresh : list of ndarray
        Further releases of the gallery.
    """
    n_others = len(np.unique(codes))
    enough = n_others >= _FEWEST_OTHERS
    strangers = (before[others], -1 - codes) if enough else None
    if enough and len(others) >= _FEWEST_PAIRS:
        pairs, whose = (before[others], after[others]), f"{n_others} other people"
    else:
        there = [~is_blank(release) for release in fresh]
        clear = [before[enrol], *(before[enrol][seen] for seen in there)]
        released = [after[enrol], *(r[seen] for r, seen in zip(fresh, there, strict=True))]
        pairs, whose = (np.concatenate(clear), np.concatenate(released)), "the gallery"
    return {"pairs": pairs, "pairs_of": whose, "strangers": strangers}


class Attack(NamedTuple):
    """One attacker's scores for clear probes, its scores by split, and what else it measured."""

    clear: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    measures: dict[str, float]


def _attack(entries: list[Any], material: AttackData) -> list[Attack]:
    """Let a learner prove itself on clear photos, then play its roles, learning once for each."""
    learner = getattr(entries[0], "learner", entries[0])
    probe, clear = material.people["probe"], material.images["clear"]
    _learn(learner, material, "clear", on_clear=True)
    on_clear = _scores(entries[0].name, learner, clear["probe"], len(probe.cells))
    attacks = {}
    learned = None if hasattr(learner, "fit_pairs") else "clear"
    # Clear galleries first: the learner has just seen one.
    for entry in sorted(entries, key=lambda entry: _gallery_kind(entry) != "clear"):
        if _gallery_kind(entry) != learned:
            learned = _gallery_kind(entry)
            _learn(learner, material, learned)
        images = material.images[getattr(entry, "probe_kind", "released")]
        found = {
            name: _scores(entry.name, learner, images[name], len(probe.cells))
            for name in ("validation", "probe")
        }
        attacks[id(entry)] = Attack(on_clear, found, _measures(entry, material))
    return [attacks[id(entry)] for entry in entries]


def _scores(name: str, learner: Any, images: NDArray, n_people: int) -> NDArray[np.float64]:
    scores = np.asarray(learner.scores(images), dtype=np.float64)
    if scores.shape != (len(images), n_people) or not np.isfinite(scores).all():
        raise ValueError(
            f"The attacker {name!r} gave scores of shape {scores.shape}, of which "
            f"{int((~np.isfinite(scores)).sum())} are not finite; expected "
            f"{(len(images), n_people)}, one column per person of the gallery in sorted order."
        )
    return scores


def _gallery_kind(attacker: Any) -> str:
    return getattr(attacker, "gallery_kind", "released")


def _learn(learner: Any, material: AttackData, kind: str, *, on_clear: bool = False) -> None:
    if hasattr(learner, "fit_pairs"):
        clear, released = material.pairs
        learner.fit_pairs(clear, clear if on_clear else released)
    learner.fit(*material.gallery(kind))


def _measures(attacker: Any, material: AttackData) -> dict[str, float]:
    clear, released = (material.images[kind]["probe"] for kind in ("clear", "released"))
    found: dict[str, float] = {}
    if hasattr(attacker, "measures"):
        found |= attacker.measures(clear, released)
    embed = getattr(attacker, "embed", None)
    if embed is not None and _gallery_kind(attacker) == "clear":
        codes = material.people["probe"].codes
        impostors = material.strangers or (clear, codes)
        found |= donor_matches(embed, material.gallery("clear"), impostors, (released, codes))
    return found


def attack_all(
    attackers: list[Any],
    material: AttackData,
    seed: int,
    n_jobs: int | None,
    verbose: int,
    encoder: Any = None,
) -> tuple[list[AttackFigures], dict[str, dict[str, float]]]:
    """Run every attacker, then all sound ones together, and judge them.

    Parameters
    ----------
    attackers : list of attackers
        Those that share a learner are run as one.
    material : AttackData
    seed : int
        Of resamples and permutations.
    n_jobs : as joblib takes it
    verbose : int
        Whether a bar shows the progress.
    encoder : AdversarialAutoencoder, optional
        The anonymizer's own: who uses it is told by it.

    Returns
    -------
    outcomes : list of AttackFigures
    measures : dict of str to dict
        What attackers measured besides, by their names.
    """
    kinds = [kind_of(attacker) for attacker in attackers]  # before the work, since it can refuse
    learners: dict[int, list[Any]] = {}
    for attacker in attackers:
        learners.setdefault(id(getattr(attacker, "learner", attacker)), []).append(attacker)
    attacks = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_attack)(entries, material) for entries in learners.values()
    )
    groups = list(tqdm(attacks, desc="attacks", total=len(learners), disable=not verbose))
    # Only figures come back from the processes; fitted attackers, with their networks, do not.
    found = {
        id(entry): attack
        for entries, group in zip(learners.values(), groups, strict=True)
        for entry, attack in zip(entries, group, strict=True)
    }
    people = material.people
    bars = _bars(attackers, [found[id(attacker)] for attacker in attackers], people["probe"], seed)
    outcomes, sound, measures = [], [], {}
    for attacker, kind, bar in zip(attackers, kinds, bars, strict=True):
        attack = found[id(attacker)]
        outcome = judge_scores(
            attacker.name,
            _gallery_kind(attacker),
            validation=(attack.scores["validation"], people["validation"]),
            probe=(attack.scores["probe"], people["probe"]),
            clear_accuracy=rank_1(attack.clear, people["probe"].codes),
            bar=bar,
            probe_kind=getattr(attacker, "probe_kind", "released"),
            log_cells=material.log_cells if _sees_release(attacker) else None,
            seed=seed,
        )
        outcomes.append(replace(outcome, kind=kind, **_facts(attacker, material, encoder)))
        if attack.measures:
            measures[attacker.name] = attack.measures
        # Who is shown the photos themselves attacks something else, and does not join the others.
        if outcome.valid and getattr(attacker, "probe_kind", "released") != "clear":
            sound.append(attack)
    if len(sound) > 1:
        outcomes.append(_ensemble(sound, material, seed))
    return outcomes, measures


def _bars(attackers: list[Any], found: list[Attack], probe: People, seed: int) -> list[float]:
    """What each has to reach on clear photos: a share of the best one's success, or its own bar.

    Infinite for who does not tell the people of a cell apart on clear photos: then a share of the
    best one's success, itself perhaps none, proves nothing.
    """
    # Where few share a cell, telling anybody from anybody has to do.
    enough = smallest_p_value(probe.cells) < _WORKS / 10
    cells = probe.cells if enough else np.zeros_like(probe.cells)
    exchanged = permute_within_cells(cells, seed=seed)
    needed = max(_WORKS, 2 * smallest_p_value(cells))
    own = [getattr(attacker, "times_chance", None) for attacker in attackers]
    success = [rank_1(attack.clear, probe.codes) for attack in found]
    best = max((s for s, bar in zip(success, own, strict=True) if bar is None), default=0.0)
    bars = []
    for attack, bar in zip(found, own, strict=True):
        table = mean_scores_by_person(attack.clear, probe.codes, len(probe.cells))
        works = permutation_p_value(table, exchanged) <= needed
        wanted = SANITY_SHARE * best if bar is None else min(1.0, bar / len(probe.cells))
        bars.append(wanted if works else np.inf)
    return bars


def _facts(attacker: Any, material: AttackData, encoder: Any) -> dict[str, Any]:
    """What a report says of an attacker beside its figures."""
    used = getattr(attacker, "encode", None)
    learner = getattr(attacker, "learner", attacker)
    return {
        "pairs_of": material.pairs_of if hasattr(learner, "fit_pairs") else "",
        "network": bool(getattr(attacker, "network", False)),
        "uses_encoder": encoder is not None and encoder in (used, getattr(used, "__self__", None)),
    }


def _sees_release(attacker: Any) -> bool:
    return getattr(attacker, "probe_kind", "released") == "released"


def _ensemble(found: list[Attack], material: AttackData, seed: int) -> AttackFigures:
    """All sound attackers together: the sum of their scores, calibrated again.

    On clear photos their standardized scores are added up.
    """
    people = material.people
    validation = people["validation"]
    calibrations = [
        calibrate(attack.scores["validation"], validation.codes, validation.cells)
        for attack in found
    ]
    together = {
        name: combine(calibrations, [attack.scores[name] for attack in found])
        for name in ("validation", "probe")
    }
    outcome = judge_scores(
        ENSEMBLE,
        "both",
        validation=(together["validation"], validation),
        probe=(together["probe"], people["probe"]),
        clear_accuracy=rank_1(
            np.sum([attack.clear / (attack.clear.std() or 1.0) for attack in found], axis=0),
            people["probe"].codes,
        ),
        bar=0.0,
        log_cells=material.log_cells,
        seed=seed,
    )
    return replace(outcome, kind="ensemble")
