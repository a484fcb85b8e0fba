"""Originals and released images side by side, from arrays, folders or lists of paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import check_images, to_uint8
from ...exceptions import InvalidImageError
from ...images import are_paths, read_images
from ..copies import find_blanks
from .folders import common_size, pair_by_name, pictures_by_name

# Levels of 255 by which images of one colour may differ and count as withheld.
_ONE_COLOUR = 2


class Pairs(NamedTuple):
    """Originals and what was released for them, row by row."""

    original: NDArray[np.uint8]
    released: NDArray[np.uint8]
    withheld: NDArray[np.bool_]  # blank or missing
    files: list[Path | None] | None  # None if the release is in memory
    original_files: list[Path | None] | None  # also None if files were paired by name
    root: Path | None  # the released folder: what lies above it is not part of the release
    findings: list[str]  # oddities, in sentences


def read_pairs(original: Any, anonymized: Any, size: int | None = None) -> Pairs:
    """Bring both sides to uint8 arrays of one size, and find which images were withheld.

    Each side is an array, a list of paths, or a folder. ``size`` is that of pictures read from
    files; None takes the commonest of the released ones.
    """
    root = None
    is_folder = [isinstance(side, (str, os.PathLike)) for side in (original, anonymized)]
    if all(is_folder):
        root = Path(anonymized)
        original, anonymized = pair_by_name(pictures_by_name(original), pictures_by_name(root))
    elif any(is_folder):
        raise InvalidImageError("One side is a folder and the other is not; expected both alike.")
    files, original_files = _paths(anonymized), _paths(original)
    if files and original_files:
        if len(files) != len(original_files):
            raise InvalidImageError(
                f"{len(original_files)} originals and {len(files)} anonymized images; expected "
                f"the same: one for one, in order, None where one was withheld."
            )
        size = common_size(original_files, files) if size is None else size
        root = _paired_root(files, original_files) if root is None else root
    after, missing = _read(anonymized, files, size)
    if size is None and after.shape[1] == after.shape[2]:
        size = after.shape[1]  # for files beside an array
    before, absent = _read(original, original_files, size)
    if before.shape != after.shape:
        raise InvalidImageError(
            f"The originals have shape {before.shape}, the anonymized images {after.shape}; "
            f"expected the same: one for one, in order, at one size."
        )
    if absent.any():
        raise InvalidImageError(f"{int(absent.sum())} originals are missing; expected all.")
    blank, findings = find_blanks(after), []
    if blank.any() and np.ptp(after[blank].astype(int), axis=0).max() > _ONE_COLOUR:
        # Withheld images look alike; blanks that differ can identify people.
        findings = [f"{int(blank.sum())} released images are of one colour each, but not the same"]
        blank[:] = False
    original_files = None if root is not None else original_files
    return Pairs(before, after, missing | blank, files, original_files, root, findings)


def _paired_root(files: list[Path | None], original_files: list[Path | None]) -> Path | None:
    """The released folder, if names below the two folders are the same but for their endings."""
    pairs = [(f, o) for f, o in zip(files, original_files, strict=True) if f and o]
    if not pairs:
        return None
    roots, names = [], []
    for side in zip(*pairs, strict=True):
        roots.append(Path(os.path.commonpath([path.parent for path in side])))
        names.append([path.relative_to(roots[-1]).with_suffix("") for path in side])
    return roots[0] if names[0] == names[1] and roots[0] != roots[1] else None


def _paths(side: Any) -> list[Path | None] | None:
    """A list of paths, None where one is missing; None for images in memory."""
    if not are_paths(side):
        return None
    return [None if entry is None else Path(entry) for entry in side]


def _read(
    side: Any, paths: list[Path | None] | None, size: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Images, grey where missing, and which are missing."""
    if paths is None:
        images = to_uint8(check_images(side)[0])
        return images, np.zeros(len(images), dtype=bool)
    missing = np.array([path is None for path in paths])
    pictures = read_images([path for path in paths if path is not None], size)
    images = np.full((len(paths), *pictures.shape[1:]), 128, dtype=np.uint8)
    images[~missing] = pictures
    return check_images(images)[0], missing
