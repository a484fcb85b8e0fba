"""Which photos measure the leakage, and which ones networks may see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._labels import AttributeTargets, Labels

# Fewer people than this say nothing about a budget, and fewer photos cannot be shared out.
_FEWEST_PEOPLE, _FEWEST_PHOTOS = 20, 6


_HELD_OUT = 0.25


# How often photos that are not judged are halved for the limit: how they were halved once moves it
# by as much as a feature does (on LFW-89 from 0.05 to 0.08 bit with three of them).
_HALVINGS = 6


class CalibrationSplit(NamedTuple):
    """Which photos calibration uses for what; rows of the images in fit.

    Attributes
    ----------
    gallery : ndarray of int
        Photos that attackers learn from and the trial basis does not see.
    judged : ndarray of int
        Photos that attackers are asked about; no network is fitted on them, unless it came frozen.
        The final basis and the draws are, afterwards.
    """

    gallery: NDArray[np.int64]
    judged: NDArray[np.int64]


def share_out(
    people: NDArray[np.int64], complete: NDArray[np.bool_], seed: int
) -> CalibrationSplit:
    """Share out the photos of everybody who has six or more with all kept attributes.

    A quarter is judged, and half of the others are the attackers' gallery.

    Parameters
    ----------
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown.
    complete : ndarray of bool, shape (n_samples,)
    seed : int

    Returns
    -------
    CalibrationSplit
        Empty where there are too few people.
    """
    generator = np.random.default_rng(seed)
    gallery, judged = [], []
    usable = np.flatnonzero((people >= 0) & complete)
    counts = np.bincount(people[usable], minlength=1)
    for person in np.flatnonzero(counts >= _FEWEST_PHOTOS):
        own = generator.permutation(usable[people[usable] == person])
        # Two at least: one to calibrate on, one to judge.
        asked = max(2, round(_HELD_OUT * len(own)))
        judged.append(own[:asked])
        gallery.append(own[asked : asked + (len(own) - asked) // 2])
    if len(judged) < _FEWEST_PEOPLE:
        nobody = np.array([], dtype=np.int64)
        return CalibrationSplit(nobody, nobody)
    return CalibrationSplit(np.sort(np.concatenate(gallery)), np.sort(np.concatenate(judged)))


def random_half_splits(
    people: NDArray[np.int64], shares: CalibrationSplit, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Several ways to halve the photos of judged people that are not judged themselves.

    Parameters
    ----------
    people : ndarray of shape (n_samples,)
    shares : CalibrationSplit
    seed : int

    Returns
    -------
    list of tuple (ndarray of int, ndarray of int)
        Rows of each half, both of everybody; the very first is the gallery.
    """
    generator = np.random.default_rng(seed)
    usable = np.isin(people, people[shares.judged])
    usable[shares.judged] = False
    rest = np.flatnonzero(usable)
    halvings = [(shares.gallery, np.setdiff1d(rest, shares.gallery))]
    for _ in range(_HALVINGS - 1):
        # Mixed, then person by person: every second one.
        mixed = generator.permutation(rest)
        mixed = mixed[np.argsort(people[mixed], kind="stable")]
        halvings.append((np.sort(mixed[::2]), np.sort(mixed[1::2])))
    return halvings


def shares_of(people: Labels, kept: AttributeTargets | None, seed: int) -> CalibrationSplit:
    """Photos to calibrate on; the last photos of an attribute's class are not among the judged."""
    codes = np.empty((len(people.codes), 0), np.int64) if kept is None else kept.codes
    shares = share_out(people.codes, np.all(codes >= 0, axis=1), seed)
    judged = shares.judged
    for own in codes.T:
        # What only judged photos show would be unknown to the classifier: they are not judged.
        left = np.delete(own, judged)
        judged = judged[np.isin(own[judged], left)]
    asked_about = np.isin(people.codes[shares.gallery], people.codes[judged])
    return CalibrationSplit(shares.gallery[asked_about], judged)
