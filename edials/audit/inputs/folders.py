"""Folders of pictures: pairs of files, and one size for both sides."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..._validation import SIZE_MULTIPLE
from ...datasets._image_folder import ImageSource
from ...exceptions import InvalidImageError, first_few
from ...images import picture_size

_MAX_SIZE = 128  # bounds the memory of all pictures together
_PROPORTION_TOLERANCE = 0.02  # rounding of sides


def pictures_by_name(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """A folder's pictures by relative name without ending, in the order of `load_image_folder`."""
    source = ImageSource(folder, zip_allowed=False)
    pictures: dict[str, Path] = {}
    for name in source.names:
        bare = str(Path(name).with_suffix(""))
        if bare in pictures:
            raise InvalidImageError(
                f"{name!r} and {pictures[bare].name!r} in {str(folder)!r} differ in their endings "
                f"only; expected one file of a name, since endings may change in a release."
            )
        pictures[bare] = source.path / name
    return pictures


def pair_by_name(
    originals: dict[str, Path], released: dict[str, Path]
) -> tuple[list[Path], list[Path | None]]:
    """Originals, and the released file of the same name for each: None if there is none."""
    unpaired = sorted(set(released) - set(originals))
    if unpaired:
        raise InvalidImageError(
            f"{len(unpaired)} anonymized files have no original of their name, such as "
            f"{unpaired[0]!r}; expected pairs. Pass two lists of paths in the same order, or "
            f"on the command line the manifest of the release."
        )
    return list(originals.values()), [released.get(name) for name in originals]


def common_size(
    originals: Sequence[str | os.PathLike[str] | None],
    released: Sequence[str | os.PathLike[str] | None],
) -> int:
    """Side of the squares that all pictures are cropped and resized to.

    It is the commonest shorter side of the released pictures, at most 128, rounded down to a
    multiple of 16. A few small ones must not blind attackers to the others. Pictures that are not
    square lose the same margins on both sides; if one has other proportions than its original, the
    margins would differ, which is an error. A missing release is None.
    """
    sides: Counter[int] = Counter()
    distorted = []
    for original, picture in zip(originals, released, strict=True):
        if picture is None:
            continue
        width, height = picture_size(picture)
        sides[min(width, height)] += 1
        if width != height and original is not None:
            true_width, true_height = picture_size(original)
            if abs(width / height * true_height / true_width - 1) > _PROPORTION_TOLERANCE:
                distorted.append(
                    f"{picture} ({width} x {height}, was {true_width} x {true_height})"
                )
    if distorted:
        raise InvalidImageError(
            f"{len(distorted)} released pictures are neither square nor of their original's "
            f"proportions: {first_few(distorted[:3])}. Crop or resize both sides alike first."
        )
    # The larger of two that are as common; the largest if nothing is released.
    side = max(sides, key=lambda side: (sides[side], side), default=_MAX_SIZE)
    if side < SIZE_MULTIPLE:
        raise InvalidImageError(
            f"Most released pictures have a side of {side} pixels; expected at least "
            f"{SIZE_MULTIPLE}."
        )
    return min(side, _MAX_SIZE) // SIZE_MULTIPLE * SIZE_MULTIPLE
