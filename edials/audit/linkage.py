"""Linkage inside a release, and copies of originals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors

from ..metrics.linear_attack import LatentAttacker
from ..metrics.verification import equal_error_rate
from ..release.certification import is_original
from .attackers.base import PixelAttacker
from .figures import People


def link_release(
    images: dict[str, dict[str, NDArray]], people: dict[str, People], encode: Any = None
) -> dict[str, float]:
    """Link released probe images by what tells the people of the gallery apart.

    Parameters
    ----------
    images : dict of str to dict of str to ndarray
        By kind ("clear", "released") and split ("enrol", "probe").
    people : dict of str to People
        By split.
    encode : estimator with ``encode``, optional
        Its latents are looked at beside the pixels.

    Returns
    -------
    dict
        As from :func:`nearest_neighbour_linkage`, and ``linked_clear``: the same share on clear
        photos, without which a low one says nothing.
    """
    found = {}
    for kind in ("released", "clear"):
        enrol, codes = images[kind]["enrol"], people["enrol"].codes
        attackers: list[LatentAttacker] = [PixelAttacker().fit_components(enrol)]
        attackers += [LatentAttacker(encode)] if encode is not None else []
        rows = {
            name: np.hstack([a.features(images[kind][name]) for a in attackers])
            for name in ("enrol", "probe")
        }
        seen = _discriminants(rows["enrol"].astype(np.float64), codes, rows["probe"])
        found[kind] = nearest_neighbour_linkage(seen, people["probe"])
    return {**found["released"], "linked_clear": found["clear"]["linked"]}


def _discriminants(gallery: NDArray, people: NDArray[np.int64], probe: NDArray) -> NDArray:
    """Probe in Fisher's coordinates; as it is where the images of a person do not differ."""
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.05)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Only one sample available")
        try:
            return analysis.fit(gallery, people).transform(probe)
        except np.linalg.LinAlgError:
            return probe


def nearest_neighbour_linkage(features: NDArray, people: People) -> dict[str, float]:
    """Whether the nearest released image inside the cell shows the same person.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Unit vectors or any features in which distance means difference.
    people : People

    Returns
    -------
    dict
        ``linked``: share of images, mean over people; ``null``: the same if people were exchanged
        inside cells, (images of the person - 1) / (images of the cell - 1); ``eer``: equal error
        rate of verifying two released images of one cell, 0.5 being chance.
    """
    codes, cells = people.codes, people.cells
    hits, null = np.full(len(codes), np.nan), np.full(len(codes), np.nan)
    distances, same = [], []
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells[codes] == cell)
        if len(np.unique(codes[rows])) < 2:
            continue
        own = np.bincount(codes[rows])[codes[rows]]
        nearest = NearestNeighbors(n_neighbors=2).fit(features[rows])
        neighbour = nearest.kneighbors(features[rows], return_distance=False)
        # Identical images have each other, or themselves, first.
        other = np.where(neighbour[:, 0] == np.arange(len(rows)), neighbour[:, 1], neighbour[:, 0])
        linkable = own > 1
        hits[rows[linkable]] = (codes[rows[other]] == codes[rows])[linkable]
        null[rows[linkable]] = ((own - 1) / (len(rows) - 1))[linkable]
        first, second = np.triu_indices(len(rows), 1)
        if len(first) > 200_000:
            chosen = np.random.default_rng(0).choice(len(first), 200_000, replace=False)
            first, second = first[chosen], second[chosen]
        distances.append(np.linalg.norm(features[rows[first]] - features[rows[second]], axis=1))
        same.append(codes[rows[first]] == codes[rows[second]])
    known = np.isfinite(hits)
    if not known.any():
        return {"linked": np.nan, "null": np.nan, "eer": np.nan}
    weights = 1 / np.bincount(codes[known])[codes[known]]
    return {
        "linked": float(np.average(hits[known], weights=weights)),
        "null": float(np.average(null[known], weights=weights)),
        "eer": equal_error_rate(-np.concatenate(distances), np.concatenate(same)),
    }


def copies_of_originals(
    original: NDArray[np.uint8], released: NDArray[np.uint8], *, batch_size: int = 256
) -> int:
    """Released images that are their original, or nearly so: an anonymizer that failed open.

    Parameters
    ----------
    original, released : ndarray of shape (n_samples, height, width, 3), dtype uint8
    batch_size : int, default=256
    """
    starts = range(0, len(original), batch_size)
    return sum(
        int(is_original(original[s : s + batch_size], released[s : s + batch_size]).sum())
        for s in starts
    )
