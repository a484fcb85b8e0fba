"""Gallery of an audit: the people that attackers name, and the split of their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InvalidLabelsError
from .figures import People

#: Splits: attackers learn the first, are selected and calibrated on the second, and are reported
#: on the third.
SPLITS = ("enrol", "validation", "probe")


@dataclass(frozen=True)
class GallerySplit:
    """People with images in every split."""

    people: NDArray[np.int64]  # on each image, (n_samples,); -1 outside the gallery
    cells: NDArray[np.int64]  # attribute cell of each person, (n_people,)
    rows: dict[str, NDArray[np.int64]]  # of the gallery's images, by split

    @property
    def all_rows(self) -> NDArray[np.int64]:
        """Rows of all splits, in order."""
        return np.sort(np.concatenate(list(self.rows.values())))

    def people_by_split(self) -> dict[str, People]:
        """People on the images of every split."""
        return {name: People(self.people[rows], self.cells) for name, rows in self.rows.items()}

    def take(self, images: NDArray) -> dict[str, NDArray]:
        """Images by split."""
        return {name: images[rows] for name, rows in self.rows.items()}


def split_gallery(
    codes: NDArray[np.int64],
    cell_names: NDArray,
    withheld: NDArray[np.bool_],
    split: Any,
    seed: int,
) -> GallerySplit:
    """Split the images of every person, and leave out people without images in every split.

    All arrays have shape (n_samples,). Images of unknown people (code -1) and withheld ones belong
    to no split. None as ``split`` splits every person's images 60 : 15 : 25.
    """
    usable = (codes >= 0) & ~withheld
    splits = _random_split(codes, usable, seed) if split is None else _check_split(split, codes)
    splits = np.where(usable, splits, "none")
    gallery = set.intersection(*(set(codes[splits == name].tolist()) for name in SPLITS))
    if len(gallery) < 2:
        raise InvalidLabelsError(
            f"{len(gallery)} people have images to enrol, to validate and to probe; expected at "
            f"least two. Give at least three images of each person, of which few are withheld "
            f"(blank or missing)."
        )
    people = np.full(len(codes), -1, dtype=np.int64)
    for code, person in enumerate(sorted(gallery)):
        people[codes == person] = code
    first = np.unique(people[people >= 0], return_index=True)[1]
    cells = np.unique(cell_names[people >= 0][first], return_inverse=True)[1]
    rows = {name: np.flatnonzero((people >= 0) & (splits == name)) for name in SPLITS}
    return GallerySplit(people, cells, rows)


def _check_split(split: Any, codes: NDArray[np.int64]) -> NDArray[np.str_]:
    names = np.asarray(split).astype(str)
    if names.shape != codes.shape or not set(names.tolist()) <= {*SPLITS, "none"}:
        raise InvalidLabelsError(
            f"split has {len(names)} entries for {len(codes)} images and the values "
            f"{sorted(set(names.tolist()))}; expected one of {SPLITS} (or 'none') per image."
        )
    return names


def _random_split(
    codes: NDArray[np.int64], usable: NDArray[np.bool_], seed: int
) -> NDArray[np.str_]:
    splits = np.full(len(codes), "none", dtype="U10")
    generator = np.random.default_rng(seed)
    for person in np.unique(codes[usable]):
        rows = generator.permutation(np.flatnonzero(usable & (codes == person)))
        # At least one image for each of the latter two, as far as they go.
        n_validation, n_probe = max(1, round(0.15 * len(rows))), max(1, round(0.25 * len(rows)))
        splits[rows[:n_validation]] = "validation"
        splits[rows[n_validation : n_validation + n_probe]] = "probe"
        splits[rows[n_validation + n_probe :]] = "enrol"
    return splits
