"""Pictures of a folder or a zip file, and the table that says who and what they show."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..exceptions import InvalidLabelsError, UnreadableImageError, first_few, warn_caller
from ..images import IMAGE_SUFFIXES, read_images

PathLike = str | os.PathLike[str]
LabelSource = PathLike | pd.DataFrame | None

_SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "test", "probe", "gallery"}


class ImageSource:
    """The pictures of a folder or a zip file, by their relative names with forward slashes."""

    def __init__(self, path: PathLike, *, zip_allowed: bool = True) -> None:
        self.path = Path(path)
        expected = "a folder or a zip file" if zip_allowed else "a folder"
        if not self.path.exists():
            raise FileNotFoundError(f"{str(self.path)!r} does not exist. Expected {expected}.")
        self.is_zip = self.path.is_file()
        if self.is_zip and not (zip_allowed and zipfile.is_zipfile(self.path)):
            raise UnreadableImageError(
                f"{str(self.path)!r} is a file. Expected {expected}; unpack archives first."
            )
        self.names = sorted(name for name in self._all_names() if _is_picture(name))
        if not self.names:
            raise UnreadableImageError(
                f"{str(self.path)!r} holds no pictures. Expected files that end in "
                f"{', '.join(IMAGE_SUFFIXES)}."
            )

    def _all_names(self) -> list[str]:
        if self.is_zip:
            with zipfile.ZipFile(self.path) as archive:
                return archive.namelist()
        return [f.relative_to(self.path).as_posix() for f in self.path.rglob("*") if f.is_file()]

    def read(self, names: Sequence[str], size: int) -> NDArray[np.uint8]:
        """Pictures of these names as an array, as :func:`edials.images.read_images` reads them."""
        if not self.is_zip:
            return read_images([self.path / name for name in names], size)
        with zipfile.ZipFile(self.path) as archive:
            return read_images([zipfile.Path(archive, name) for name in names], size)


def _is_picture(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and name.lower().endswith(IMAGE_SUFFIXES)


def join_labels(source: ImageSource, labels: LabelSource, *, identity_needed: bool = True) -> Bunch:
    """Join the pictures of a source with a table of labels."""
    table = pd.DataFrame({"file": source.names}) if labels is None else _read_labels(labels)
    if "file" not in table:
        table = _spread_over_pictures(source, table)
    elif labels is not None:
        _check_files(source, table)
    if "identity" not in table:
        _check_folders(table["file"])
        table = table.assign(identity=table["file"].map(_folder_of))
    unnamed = table["identity"].isna()
    if identity_needed and unnamed.all():
        raise InvalidLabelsError(
            f"Nobody is named: {first_few(table['file'].tolist())} lie directly in "
            f"{str(source.path)!r}. Expected one folder per person, or labels= with the columns "
            f"'file' and 'identity'."
        )
    columns = table.drop(columns=["file", "identity", "split"], errors="ignore")
    data = Bunch(
        files=table["file"].to_numpy(dtype=str),
        identity=table["identity"].astype(str).astype(object).where(~unnamed, None).to_numpy(),
        attributes=columns.reset_index(drop=True),
    )
    if "split" in table:
        data.split = table["split"].to_numpy(dtype=object)
    return data


def _read_labels(labels: PathLike | pd.DataFrame) -> pd.DataFrame:
    if isinstance(labels, pd.DataFrame):
        table, origin = labels, "labels"
    else:
        origin = f"labels={str(labels)!r}"
        # Only empty cells are missing: people are called "Nan" and "None", too.
        table = read_csv(labels, origin, na_values=[""], dtype={"file": str, "identity": str})
    if not {"file", "identity"} & set(table.columns):
        raise InvalidLabelsError(
            f"{origin} has the columns {list(table.columns)}. Expected 'file' (a row per picture) "
            f"or 'identity' (a row per person) among them, separated by commas."
        )
    unnamed = [name for name in table.columns if str(name).startswith("Unnamed: ")]
    if unnamed:  # what pandas calls a column without a name
        raise InvalidLabelsError(
            f"{origin} has columns without a name: {unnamed}. Expected a name for every column; "
            f"pandas writes the index as one unless index=False."
        )
    return table


def read_csv(path: PathLike, origin: str, **options: Any) -> pd.DataFrame:
    """A table from a file; messages call it ``origin``. Cells such as "NA" are text."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{origin} does not exist. Expected a CSV file.")
    try:
        return pd.read_csv(path, keep_default_na=False, **options)
    except (ValueError, UnicodeError) as error:
        raise InvalidLabelsError(
            f"{origin} could not be read ({error}). Expected a CSV file in UTF-8 with a row of "
            f"column names."
        ) from error


def _spread_over_pictures(source: ImageSource, people: pd.DataFrame) -> pd.DataFrame:
    """Give every picture the row of its person; people without a row lack the labels."""
    pictures = pd.DataFrame({"file": source.names, "identity": map(_folder_of, source.names)})
    _check_folders(pictures["file"])
    repeated = people.loc[people["identity"].duplicated(), "identity"].tolist()
    if repeated:
        raise InvalidLabelsError(
            f"people with several rows in labels: {first_few(repeated)}. Expected one row per "
            f"folder."
        )
    rows, folders = set(people["identity"].astype(str)), set(pictures["identity"].dropna())
    if not folders & rows:
        raise InvalidLabelsError(
            f"labels names {first_few(sorted(rows))}, but the folders are "
            f"{first_few(sorted(folders))}. Expected rows whose identity is the name of a folder."
        )
    for what, names in (
        ("folders without a row in labels", folders - rows),
        ("people in labels without a folder", rows - folders),
    ):
        if names:
            warn_caller(f"{len(names)} {what}: {first_few(sorted(names))}.")
    return pictures.merge(people.astype({"identity": str}), on="identity", how="left")


def _check_files(source: ImageSource, table: pd.DataFrame) -> None:
    files = table["file"]
    faults = []
    if files.isna().any():
        faults.append(f"{int(files.isna().sum())} rows without a file")
    files = files.dropna()
    repeated = files[files.duplicated()].unique().tolist()
    if repeated:
        faults.append(f"files named twice: {first_few(repeated)}")
    missing = sorted(set(files) - set(source.names))
    if missing:
        faults.append(f"{len(missing)} files that are not there: {first_few(missing)}")
    if faults:
        raise InvalidLabelsError(
            f"labels has {'; '.join(faults)}. Expected names relative to {str(source.path)!r}, "
            f"such as {source.names[0]!r}."
        )


def _check_folders(names: pd.Series) -> None:
    """One folder name in several places would merge people, for example by year."""
    folders = pd.Series(
        sorted({str(PurePosixPath(name).parent) for name in names.dropna()} - {"."})
    )
    for name, places in folders.groupby(folders.map(lambda folder: PurePosixPath(folder).name)):
        tops = {PurePosixPath(place).parts[0].lower() for place in places}
        # Splits repeat every person on purpose.
        if len(places) > 1 and tops - _SPLIT_FOLDERS:
            raise InvalidLabelsError(
                f"The folder name {name!r} occurs at {first_few(places.tolist())}, so it cannot "
                f"name one person. Expected one folder per person; otherwise give labels= with "
                f"'file' and 'identity'."
            )


def _folder_of(name: str) -> str | None:
    return PurePosixPath(name).parent.name or None
