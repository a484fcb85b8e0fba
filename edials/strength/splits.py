"""Photos for ``strength="auto"``: a gallery for attackers, a probe, and the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..fitting.data import TrainingData

#: People, and photos of each with all attributes, that the measurement needs at least.
MIN_PEOPLE, MIN_PHOTOS = 20, 6
# A quarter for the probe, as much as an audit takes by default.
_PROBE_SHARE = 0.25
# The capacity depends on how photos are halved (on LFW-89 from 0.05 to 0.08 bit with three
# features), so it is a mean over this many halvings.
_N_HALVINGS = 6


class CalibrationSplit(NamedTuple):
    """Rows of the images in fit, by their use.

    Attributes
    ----------
    gallery : ndarray of int
        Photos that attackers learn from. The networks see them, the trial basis does not.
    probe : ndarray of int
        Photos that attackers name. No network sees them, unless it came frozen.
    training : ndarray of int
        Photos that networks may see: all but the probe.
    """

    gallery: NDArray[np.int64]
    probe: NDArray[np.int64]
    training: NDArray[np.int64]


def no_split(data: TrainingData) -> CalibrationSplit:
    """Everything is for training."""
    no_rows = np.array([], dtype=np.int64)
    return CalibrationSplit(no_rows, no_rows, np.arange(len(data.images)))


def split_photos(data: TrainingData, seed: int) -> CalibrationSplit:
    """Split the photos of everybody who has six or more with all attributes.

    A quarter is the probe, and half of the rest the gallery. The last photos of an attribute's
    class stay with the networks, which would not know the class otherwise. With fewer than twenty
    such people nothing is split off.
    """
    generator = np.random.default_rng(seed)
    gallery, probe = [], []
    people, codes = data.people.codes, data.attribute_codes
    usable = np.flatnonzero((people >= 0) & np.all(codes >= 0, axis=1))
    counts = np.bincount(people[usable], minlength=1)
    for person in np.flatnonzero(counts >= MIN_PHOTOS):
        rows = generator.permutation(usable[people[usable] == person])
        # At least two: attackers are calibrated on one and evaluated on the other.
        n_probe = max(2, round(_PROBE_SHARE * len(rows)))
        probe.append(rows[:n_probe])
        gallery.append(rows[n_probe : n_probe + (len(rows) - n_probe) // 2])
    if len(probe) < MIN_PEOPLE:
        return no_split(data)
    probe_rows, gallery_rows = np.sort(np.concatenate(probe)), np.sort(np.concatenate(gallery))
    for column in codes.T:
        elsewhere = np.delete(column, probe_rows)
        probe_rows = probe_rows[np.isin(column[probe_rows], elsewhere)]
    gallery_rows = gallery_rows[np.isin(people[gallery_rows], people[probe_rows])]
    training = np.delete(np.arange(len(people)), probe_rows)
    return CalibrationSplit(gallery_rows, probe_rows, training)


def random_half_splits(
    people: NDArray[np.int64], split: CalibrationSplit, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Several ways to halve the training photos of the probe's people; first, gallery and rest."""
    generator = np.random.default_rng(seed)
    rest = split.training[np.isin(people[split.training], people[split.probe])]
    halves = [(split.gallery, np.setdiff1d(rest, split.gallery))]
    for _ in range(_N_HALVINGS - 1):
        # Shuffled, then every second photo of each person.
        shuffled = generator.permutation(rest)
        shuffled = shuffled[np.argsort(people[shuffled], kind="stable")]
        halves.append((np.sort(shuffled[::2]), np.sort(shuffled[1::2])))
    return halves
