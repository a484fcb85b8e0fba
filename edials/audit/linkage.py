"""Linkage inside a release: do two released images show one person?"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors

from ..metrics.linear_attack import LatentAttacker
from ..metrics.verification import equal_error_rate
from .attackers.base import PixelAttacker
from .figures import People

_MAX_PAIRS = 200_000  # of a cell, for the equal error rate


def link_release(
    images: dict[str, dict[str, NDArray]], people: dict[str, People], encode: Any = None
) -> dict[str, float]:
    """Link released probe images in the coordinates that tell the people of the gallery apart.

    ``images`` and ``people`` are those of :class:`~edials.audit.attack_data.AttackData`; with
    ``encode``, latents are used beside the pixels. To :func:`nearest_neighbour_linkage` it adds
    ``linked_clear``: the same share on clear photos, without which a low one says nothing.
    """
    linkage = {}
    for kind in ("released", "clear"):
        attackers: list[LatentAttacker] = [PixelAttacker().fit_components(images[kind]["enrol"])]
        attackers += [LatentAttacker(encode)] if encode is not None else []
        gallery, probe = (
            np.hstack([attacker.features(images[kind][split]) for attacker in attackers])
            for split in ("enrol", "probe")
        )
        coordinates = _discriminant_coordinates(gallery, people["enrol"].codes, probe)
        linkage[kind] = nearest_neighbour_linkage(coordinates, people["probe"])
    return {**linkage["released"], "linked_clear": linkage["clear"]["linked"]}


def _discriminant_coordinates(
    gallery: NDArray, people: NDArray[np.int64], probe: NDArray
) -> NDArray:
    """Probe in Fisher's coordinates; unchanged where the images of a person do not differ."""
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.05)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Only one sample available")
        try:
            return analysis.fit(gallery.astype(np.float64), people).transform(probe)
        except np.linalg.LinAlgError:
            return probe


def nearest_neighbour_linkage(features: NDArray, people: People) -> dict[str, float]:
    """Whether the nearest image inside the cell shows the same person.

    ``features`` are rows whose distance means difference. ``linked`` is the share of images, mean
    over people; ``null`` the same with people permuted inside cells, (images of the person - 1) /
    (images of the cell - 1); ``eer`` the equal error rate of verifying two released images of one
    cell, 0.5 being chance.
    """
    codes, cells = people.codes, people.cells
    hits, null = np.full(len(codes), np.nan), np.full(len(codes), np.nan)
    distances, genuine = [], []
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells[codes] == cell)
        if len(np.unique(codes[rows])) < 2:
            continue
        n_images = np.bincount(codes[rows])[codes[rows]]
        nearest = NearestNeighbors(n_neighbors=2).fit(features[rows])
        neighbours = nearest.kneighbors(features[rows], return_distance=False)
        # The first neighbour is the image itself, or one identical to it.
        is_self = neighbours[:, 0] == np.arange(len(rows))
        neighbour = np.where(is_self, neighbours[:, 1], neighbours[:, 0])
        linkable = n_images > 1
        hits[rows[linkable]] = (codes[rows[neighbour]] == codes[rows])[linkable]
        null[rows[linkable]] = ((n_images - 1) / (len(rows) - 1))[linkable]
        first, second = np.triu_indices(len(rows), 1)
        if len(first) > _MAX_PAIRS:
            chosen = np.random.default_rng(0).choice(len(first), _MAX_PAIRS, replace=False)
            first, second = first[chosen], second[chosen]
        distances.append(np.linalg.norm(features[rows[first]] - features[rows[second]], axis=1))
        genuine.append(codes[rows[first]] == codes[rows[second]])
    has_neighbour = np.isfinite(hits)
    if not has_neighbour.any():
        return {"linked": np.nan, "null": np.nan, "eer": np.nan}
    weights = 1 / np.bincount(codes[has_neighbour])[codes[has_neighbour]]
    return {
        "linked": float(np.average(hits[has_neighbour], weights=weights)),
        "null": float(np.average(null[has_neighbour], weights=weights)),
        "eer": equal_error_rate(-np.concatenate(distances), np.concatenate(genuine)),
    }
