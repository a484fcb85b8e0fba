"""Risk of re-identification, and the floor that the kept attributes set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from ..exceptions import InvalidLabelsError


def rank_1(scores: NDArray, people: NDArray[np.int64]) -> float:
    """Share of probes whose own person scores highest, mean over people, in [0, 1].

    Parameters
    ----------
    scores : ndarray of shape (n_probes, n_people)
    people : ndarray of shape (n_probes,)
        True person of each probe, as a column of ``scores``.
    """
    return float(
        recall_score(people, scores.argmax(axis=1), average="macro", labels=np.unique(people))
    )


def cross_validated_risk(attacker: Any, images: NDArray, people: NDArray[np.int64]) -> float:
    """Rank-1 risk of an attacker who learns one half of the images and is shown the other.

    Every person's images are dealt in turn to two halves, and each half is the gallery once.
    Parameters as for :func:`cross_validated_excess`.
    """
    return float(_cross_validated(attacker, images, people, np.zeros(len(people), int))[0].mean())


def cross_validated_excess(
    attacker: Any, images: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> float:
    """Mean over people of that attacker's success inside the true cell, less 1 / people in it.

    Parameters
    ----------
    attacker : see :mod:`edials.audit.attackers.base`
    images : ndarray of shape (n_samples, height, width, 3)
    people : ndarray of shape (n_samples,)
        Person codes; -1 (unknown) and people with one image are left out.
    cells : ndarray of shape (n_samples,)
        Cell of each image's person, see :func:`attribute_cells`.
    """
    success, floor = _cross_validated(attacker, images, people, cells)
    return float((success - floor).mean())


def _cross_validated(
    attacker: Any, images: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Everybody's success inside their cell, and what guessing there gives."""
    order = np.argsort(people, kind="stable")
    turn = np.empty(len(people), dtype=np.int64)
    starts = np.searchsorted(people[order], people[order])
    turn[order] = np.arange(len(people)) - starts
    known = people >= 0
    if not known.any() or np.bincount(people[known]).max() < 2:
        raise InvalidLabelsError(
            "Nobody has two images, so no attacker can learn one and be shown another; expected "
            "several images of each person. Score larger folds, or stratify them by person."
        )
    known &= np.bincount(people[known], minlength=people.max() + 1)[people] >= 2
    rows, codes = np.flatnonzero(known), np.unique(people[known], return_inverse=True)[1]
    own = cells[rows][np.unique(codes, return_index=True)[1]]
    hits = np.zeros(len(rows))
    for half in (0, 1):
        gallery = turn[rows] % 2 == half
        attacker.fit(images[rows[gallery]], codes[gallery])
        scores = np.asarray(attacker.scores(images[rows[~gallery]]), dtype=np.float64)
        inside = own[codes[~gallery]][:, None] == own
        named = np.where(inside, scores, -np.inf).argmax(axis=1)
        hits[~gallery] = named == codes[~gallery]
    sizes = np.unique(own, return_inverse=True, return_counts=True)
    return np.bincount(codes, hits) / np.bincount(codes), 1 / sizes[2][sizes[1]]


def attribute_cells(people: NDArray[np.int64], attributes: pd.DataFrame | None) -> NDArray:
    """Name of the attribute cell of every image's person: that of most of their images.

    Parameters
    ----------
    people : ndarray of shape (n_samples,)
        Person codes; an image of nobody known (-1) has its own cell.
    attributes : DataFrame of shape (n_samples, n_attributes), optional
        None is one cell. A missing label counts as one of its own.

    Returns
    -------
    ndarray of str objects, shape (n_samples,)
    """
    if attributes is None:
        return np.full(len(people), "", dtype=object)
    text = attributes.map(str).agg("\x1f".join, axis=1).to_numpy(dtype=object)
    names = text.copy()
    for person in np.unique(people[people >= 0]):
        names[people == person] = pd.Series(text[people == person]).mode().iloc[0]
    return names


def attribute_floor(people: NDArray[np.int64], cells: NDArray[np.int64]) -> float:
    """Rank-1 risk from an attacker who knows everybody's true kept attributes and nothing else.

    Such an attacker is right once per cell: the number of cells over the number of people. A
    person's cell is that of their first image.

    Parameters
    ----------
    people : ndarray of shape (n_samples,)
        Person codes; -1 (unknown) is left out.
    cells : ndarray of shape (n_samples,) or (n_samples, n_attributes)
        Codes of the kept attributes.
    """
    table = _table_of_people(people, cells)
    return len(np.unique(table, axis=0)) / len(table)


def singleton_share(people: NDArray[np.int64], cells: NDArray[np.int64]) -> float:
    """Share of people whom nobody else shares a cell with; parameters as above."""
    table = _table_of_people(people, cells)
    return float((np.unique(table, axis=0, return_counts=True)[1] == 1).sum() / len(table))


def _table_of_people(people: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.int64]:
    known = people >= 0
    first = np.unique(people[known], return_index=True)[1]
    return np.reshape(cells, (len(people), -1))[known][first]
