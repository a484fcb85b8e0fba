"""Originals and released images side by side, from arrays, folders or lists of paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import check_images, to_uint8
from ..certification import is_blank
from ..datasets._sources import Source
from ..exceptions import InvalidImageError
from ..images import read_images


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
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    withheld: NDArray[np.bool_]
    files: list[Path | None] | None
    origins: list[Path | None] | None
    root: Path | None


def read_pairs(original: Any, anonymized: Any) -> Pairs:
    """Bring both sides to uint8 arrays of one size, and find which images were withheld.

    Parameters
    ----------
    original, anonymized : array-like of shape (n_samples, height, width, 3), list of paths, folder

    Raises
    ------
    InvalidImageError
        If they cannot be paired.
    """
    root, folder = None, anonymized
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
        root = Path(folder)
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
    origins = _files(original) if root is None else None
    return Pairs(before, after, missing | is_blank(after), _files(anonymized), origins, root)


def _files(side: Any) -> list[Path | None] | None:
    """A list of paths as such, or None for pictures in memory."""
    if isinstance(side, np.ndarray) and side.dtype.kind in "fu":
        return None
    entries = list(side)
    if not all(entry is None or isinstance(entry, (str, os.PathLike)) for entry in entries):
        return None
    return [None if entry is None else Path(entry) for entry in entries]


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
