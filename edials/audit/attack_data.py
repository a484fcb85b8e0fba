"""Data that attackers get: galleries and probes, more releases of the gallery, pairs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._validation import to_uint8
from ..exceptions import IdentityLeakWarning
from .copies import find_blanks
from .figures import People

# So many people outside the gallery give impostors, and so many of their images pairs.
_MIN_OUTSIDERS, _MIN_PAIRS = 30, 300

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class AttackData:
    """Data that attackers get."""

    # By kind ("clear", "released", "choices") and split; rows of a split match over kinds.
    images: dict[str, dict[str, NDArray]]
    people: dict[str, People]  # by split
    # Log-probability of every cell, predicted from released images, (n_probe_samples, n_cells).
    log_cells: NDArray[np.float64]
    fresh_releases: list[Images]  # further ones of the gallery, in its order; blank where withheld
    pairs: tuple[Images, Images]  # clear photos, and what was released for them
    pairs_of: str  # people on the pairs, in words
    # Clear photos of people outside the gallery, with codes below 0, if there are enough.
    impostors: tuple[Images, NDArray[np.int64]] | None

    def gallery(self, kind: str, share: float = 1.0) -> tuple[NDArray, NDArray[np.int64]]:
        """Gallery images and people; "released" with all fresh releases.

        A ``share`` below 1 takes that part of everybody's photos, at least one, in all releases.
        """
        codes = self.people["enrol"].codes
        index_within_person = pd.Series(codes).groupby(codes).cumcount().to_numpy()
        n_photos = np.maximum(1, np.ceil(share * np.bincount(codes)))
        photos = np.flatnonzero(index_within_person < n_photos[codes])
        parts, people = [self.images[kind]["enrol"][photos]], [codes[photos]]
        for release in self.fresh_releases if kind == "released" else ():
            released = photos[~find_blanks(release[photos])]
            parts.append(release[released])
            people.append(codes[released])
        return np.concatenate(parts), np.concatenate(people)


def make_fresh_releases(anonymizer: Any, photos: Images, count: int, seed: int) -> list[Images]:
    """Anonymize the gallery anew, as anybody can who has its photos and the method.

    There are none without ``anonymizer.with_new_key``, or if a new key changes nothing.
    """
    if not hasattr(anonymizer, "with_new_key"):
        return []
    first, *others = (anonymizer.with_new_key(seed + index) for index in range(count + 1))
    with warnings.catch_warnings():
        # The user saw them when the release was made.
        warnings.simplefilter("ignore", IdentityLeakWarning)
        probes = [to_uint8(a.transform(photos[:8])) for a in (first, others[-1])]
        if np.array_equal(probes[0], probes[1]):
            return []
        return [to_uint8(a.transform(photos)) for a in (first, *others[:-1])]


def select_pairs(
    gallery: tuple[Images, Images],
    outsiders: tuple[Images, Images],
    codes: NDArray[np.int64],
    fresh_releases: list[Images],
) -> dict[str, Any]:
    """Pairs and impostors of people outside the gallery if they are enough; else gallery pairs.

    ``gallery`` and ``outsiders`` are (photos, releases); ``codes`` are the persons of the
    outsiders' images. The names are those of :class:`AttackData`.
    """
    n_people = len(np.unique(codes))
    impostors = (outsiders[0], -1 - codes) if n_people >= _MIN_OUTSIDERS else None
    if impostors is not None and len(codes) >= _MIN_PAIRS:
        return {"pairs": outsiders, "pairs_of": f"{n_people} other people", "impostors": impostors}
    photos, releases = [gallery[0]], [gallery[1]]
    for release in fresh_releases:
        released = ~find_blanks(release)
        photos.append(gallery[0][released])
        releases.append(release[released])
    pairs = np.concatenate(photos), np.concatenate(releases)
    return {"pairs": pairs, "pairs_of": "the gallery", "impostors": impostors}
