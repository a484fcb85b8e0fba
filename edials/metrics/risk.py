"""Risk of re-identification, and the floor that the attributes set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from ..exceptions import InvalidLabelsError


def rank_1(scores: NDArray, people: NDArray[np.int64]) -> float:
    """Share of probes whose true person scores highest, mean over people, in [0, 1]."""
    return float(
        recall_score(people, scores.argmax(axis=1), average="macro", labels=np.unique(people))
    )


def cross_validated_risk(attacker: Any, images: NDArray, people: NDArray[np.int64]) -> float:
    """Rank-1 risk, in [0, 1]; parameters as for :func:`cross_validated_excess`."""
    return float(_cross_validate(attacker, images, people, np.zeros(len(people), int))[0].mean())


def cross_validated_excess(
    attacker: Any, images: NDArray, people: NDArray[np.int64], cells: NDArray
) -> float:
    """Rank-1 success inside the true cell, less 1 / people in it, mean over people.

    The images of every person alternate between two halves; each half is the gallery once and the
    probe once. Unknown people (-1) and people with one image are left out. ``cells`` (n_samples,)
    hold the cell of each image's person, see :func:`attribute_cells`.
    """
    success, floor = _cross_validate(attacker, images, people, cells)
    return float((success - floor).mean())


def _cross_validate(
    attacker: Any, images: NDArray, people: NDArray[np.int64], cells: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Success of every person inside their cell, and that of a guess there, shape (n_people,)."""
    n_images = pd.Series(people).groupby(people).transform("size").to_numpy()
    rows = np.flatnonzero((people >= 0) & (n_images >= 2))
    if not len(rows):
        raise InvalidLabelsError(
            "Nobody has two images, so no attacker can learn one and be probed with another; "
            "expected several images of each person. Score larger folds, or stratify them by "
            "person."
        )
    codes = np.unique(people[rows], return_inverse=True)[1]
    half = pd.Series(codes).groupby(codes).cumcount().to_numpy() % 2
    cell_of_person = cells[rows][np.unique(codes, return_index=True)[1]]
    hits = np.zeros(len(rows))
    for gallery in (half == 0, half == 1):
        attacker.fit(images[rows[gallery]], codes[gallery])
        scores = np.asarray(attacker.scores(images[rows[~gallery]]), dtype=np.float64)
        inside = cell_of_person[codes[~gallery]][:, None] == cell_of_person
        hits[~gallery] = np.where(inside, scores, -np.inf).argmax(axis=1) == codes[~gallery]
    _, cell, sizes = np.unique(cell_of_person, return_inverse=True, return_counts=True)
    return np.bincount(codes, hits) / np.bincount(codes), 1 / sizes[cell]


def attribute_cells(people: NDArray[np.int64], attributes: pd.DataFrame | None) -> NDArray:
    """Name of the attribute cell of every image's person: the most frequent of their images.

    An image of an unknown person (-1) has the cell of its own attributes. A missing label counts as
    a label; without attributes there is one cell. The names are str objects of shape (n_samples,).
    """
    if attributes is None:
        return np.full(len(people), "", dtype=object)
    text = attributes.map(str).agg("\x1f".join, axis=1).to_numpy(dtype=object)
    names = text.copy()
    for person in np.unique(people[people >= 0]):
        names[people == person] = pd.Series(text[people == person]).mode().iloc[0]
    return names


def attribute_floor(people: NDArray[np.int64], cells: NDArray[np.int64]) -> float:
    """Rank-1 risk from an attacker who knows everybody's true attributes and nothing else.

    Such an attacker is right once per cell: the number of cells over the number of people.
    ``cells`` are codes of each image's cell or attributes, of shape (n_samples,) or
    (n_samples, n_attributes); a person's first image counts. Unknown people (-1) are left out.
    """
    sizes = _cell_sizes(people, cells)
    return len(sizes) / int(sizes.sum())


def singleton_share(people: NDArray[np.int64], cells: NDArray[np.int64]) -> float:
    """Share of people alone in their cell; parameters as for :func:`attribute_floor`."""
    sizes = _cell_sizes(people, cells)
    return int((sizes == 1).sum()) / int(sizes.sum())


def _cell_sizes(people: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of people in every cell."""
    rows = np.flatnonzero(people >= 0)
    first = rows[np.unique(people[rows], return_index=True)[1]]
    cell_of_person = np.reshape(cells, (len(people), -1))[first]
    return np.unique(cell_of_person, axis=0, return_counts=True)[1]
