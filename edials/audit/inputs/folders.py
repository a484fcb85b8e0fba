"""Folders of pictures: which files are a pair, and the one size that both sides are brought to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..._validation import SIZE_MULTIPLE
from ...datasets._image_folder import ImageSource
from ...exceptions import InvalidImageError, first_few
from ...images import picture_size

_LARGEST = 128
_SAME_PROPORTIONS = 0.02


def pictures_by_name(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """A folder's pictures by relative name without ending, in the order `load_image_folder` has.

    Raises
    ------
    InvalidImageError
        If two files differ in their endings only.
    """
    source = ImageSource(folder, zip_allowed=False)
    found: dict[str, Path] = {}
    for name in source.names:
        bare = str(Path(name).with_suffix(""))
        if bare in found:
            raise InvalidImageError(
                f"{name!r} and {found[bare].name!r} in {str(folder)!r} differ in their endings "
                f"only; expected one file of a name, since endings may change in a release."
            )
        found[bare] = source.path / name
    return found


def pair_by_name(
    originals: dict[str, Path], released: dict[str, Path]
) -> tuple[list[Path], list[Path | None]]:
    """Originals, and the released file of the same name for each: None if there is none.

    Parameters
    ----------
    originals, released : dict of str to Path
        See :func:`pictures_by_name`.

    Raises
    ------
    InvalidImageError
        If released files have no original of their name.
    """
    strangers = sorted(set(released) - set(originals))
    if strangers:
        raise InvalidImageError(
            f"{len(strangers)} anonymized files have no original of their name, such as "
            f"{strangers[0]!r}; expected pairs. Pass two lists of paths in the same order, or "
            f"on the command line the manifest of the release."
        )
    return list(originals.values()), [released.get(name) for name in originals]


def size_of_both(
    originals: Sequence[str | os.PathLike[str]],
    released: Sequence[str | os.PathLike[str] | None],
) -> int:
    """Side of the squares that all pictures are cropped and resized to.

    That is the commonest shorter side of the released pictures, at most 128, down to a multiple of
    16: a few small ones must not make attackers blind to the others. Pictures that are not square
    lose the same margins on both sides.

    Parameters
    ----------
    originals, released : sequences of path, paired; None where nothing was released

    Raises
    ------
    InvalidImageError
        If a released picture is not square and has other proportions than its original: the
        margins would not be the same.
    UnreadableImageError
        If a file is no picture.
    """
    sides: Counter[int] = Counter()
    crooked = []
    for before, after in zip(originals, released, strict=True):
        if after is None:
            continue
        width, height = picture_size(after)
        sides[min(width, height)] += 1
        if width != height:
            own_width, own_height = picture_size(before)
            proportions = width / height * own_height / own_width
            if abs(proportions - 1) > _SAME_PROPORTIONS:
                crooked.append(f"{after} ({width} x {height}, was {own_width} x {own_height})")
    if crooked:
        raise InvalidImageError(
            f"{len(crooked)} released pictures are neither square nor of their original's "
            f"proportions: {first_few(crooked[:3])}. Crop or resize both sides alike first."
        )
    # The larger of two that are as common; nothing released is any size.
    common = max(sides, key=lambda side: (sides[side], side), default=_LARGEST)
    if common < SIZE_MULTIPLE:
        raise InvalidImageError(
            f"Most released pictures have a side of {common} pixels; expected at least "
            f"{SIZE_MULTIPLE}."
        )
    return min(common, _LARGEST) // SIZE_MULTIPLE * SIZE_MULTIPLE
