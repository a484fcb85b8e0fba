"""Originals and released images side by side, from arrays, folders or lists of paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import check_images, to_uint8
from ...exceptions import InvalidImageError
from ...images import read_images
from ...release.certification import is_blank
from .folders import pair_by_name, pictures_by_name, size_of_both


class Pairs(NamedTuple):
    """Originals and what was released for them, row by row.

    Attributes
    ----------
    before, after : ndarray of shape (n_samples, height, width, 3), dtype uint8
    withheld : ndarray of bool, shape (n_samples,)
        Blank or missing.
    files : list of Path or None, or None
        The released file of every row, where the release is made of files.
    origins : list of Path, or None
        The original's file of every row; None as well for folders, where files are paired by
        their names.
    root : Path or None
        The released folder: what lies above it is not part of the release.
    findings : list of str
        What is odd about them, in sentences.
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    withheld: NDArray[np.bool_]
    files: list[Path | None] | None
    origins: list[Path | None] | None
    root: Path | None
    findings: list[str]


# Levels of 255 by which images of one colour may differ and count as withheld.
_ONE_COLOUR = 4


def read_pairs(original: Any, anonymized: Any, size: int | None = None) -> Pairs:
    """Bring both sides to uint8 arrays of one size, and find which images were withheld.

    Parameters
    ----------
    original, anonymized : array-like of shape (n_samples, height, width, 3), list of paths, folder
    size : int, optional
        Of pictures read from files; None takes the commonest of the released ones.

    Raises
    ------
    InvalidImageError
        If they cannot be paired.
    """
    root = None
    first, second = _paths(original), _paths(anonymized)
    if isinstance(first, dict) and isinstance(second, dict):
        root = Path(anonymized)
        original, anonymized = pair_by_name(first, second)
    elif isinstance(first, dict) or isinstance(second, dict):
        raise InvalidImageError("One side is a folder and the other is not; expected both alike.")
    if size is None and _are_paths(original) and _are_paths(anonymized):
        _same_number(len(original), len(anonymized))
        size = size_of_both(original, anonymized)
    after, missing = _images(anonymized, size)
    # Files beside an array take its size.
    size = after.shape[1] if size is None and after.shape[1] == after.shape[2] else size
    before, absent = _images(original, size)
    if before.shape != after.shape:
        raise InvalidImageError(
            f"The originals have shape {before.shape}, the anonymized images {after.shape}; "
            f"expected the same: one for one, in order, at one size."
        )
    if absent.any():
        raise InvalidImageError(f"{int(absent.sum())} originals are missing; expected all.")
    files, origins = _files(anonymized), _files(original)
    if root is None and files and origins:
        root = _paired_by_name(files, origins)
    blank, findings = is_blank(after), []
    if blank.any() and np.ptp(after[blank].astype(int), axis=0).max() > _ONE_COLOUR:
        # What was withheld looks alike; blanks that differ can say whose they are.
        findings = [f"{int(blank.sum())} released images are of one colour each, but not the same"]
        blank[:] = False
    origins = None if root is not None else origins
    return Pairs(before, after, missing | blank, files, origins, root, findings)


def _paired_by_name(files: list[Path | None], origins: list[Path | None]) -> Path | None:
    """The released folder, if names below the two folders are the same but for their endings."""
    pairs = [(f, o) for f, o in zip(files, origins, strict=True) if f is not None and o is not None]
    if not pairs:
        return None
    sides = zip(*pairs, strict=True)
    roots = [Path(os.path.commonpath([path.parent for path in side])) for side in sides]
    same = all(
        f.relative_to(roots[0]).with_suffix("") == o.relative_to(roots[1]).with_suffix("")
        for f, o in pairs
    )
    return roots[0] if same and roots[0] != roots[1] else None


def _files(side: Any) -> list[Path | None] | None:
    """A list of paths as such, or None for pictures in memory."""
    if not _are_paths(side):
        return None
    return [None if entry is None else Path(entry) for entry in side]


def _paths(side: Any) -> dict[str, Path] | None:
    """A folder's pictures by relative name without ending; None if it is no folder."""
    return pictures_by_name(side) if isinstance(side, (str, os.PathLike)) else None


def _are_paths(side: Any) -> bool:
    if isinstance(side, np.ndarray) and side.dtype.kind in "fu":
        return False
    first = next((entry for entry in side if entry is not None), None)
    return isinstance(first, (str, os.PathLike))


def _same_number(originals: int, released: int) -> None:
    if originals != released:
        raise InvalidImageError(
            f"{originals} originals and {released} anonymized images; expected the same: one for "
            f"one, in order, None where one was withheld."
        )


def _images(side: Any, size: int | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    if isinstance(side, np.ndarray) and side.dtype.kind in "fu":
        return to_uint8(check_images(side)[0]), np.zeros(len(side), dtype=bool)
    entries = list(side)
    if _are_paths(entries):
        missing = np.array([entry is None for entry in entries])
        found = read_images([entry for entry in entries if entry is not None], size)
        images = np.full((len(entries), *found.shape[1:]), 128, dtype=np.uint8)
        images[~missing] = found
        return to_uint8(check_images(images)[0]), missing
    images, _ = check_images(side)
    return to_uint8(images), np.zeros(len(images), dtype=bool)
