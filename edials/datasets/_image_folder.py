"""Pictures of a folder or a zip file, and the table that says who and what they show."""

from __future__ import annotations

import io
import os
import threading
import warnings
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from ..exceptions import InvalidLabelsError, UnreadableImageError
from ..images import IMAGE_SUFFIXES, read_image

PathLike = str | os.PathLike[str]
Labels = PathLike | pd.DataFrame | None

_SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "test", "probe", "gallery"}
_FAULTS_SHOWN = 10


class Source:
    """The pictures of a folder or a zip file, by their relative names with forward slashes."""

    def __init__(self, path: PathLike, *, zip_allowed: bool = True) -> None:
        self.path = Path(path)
        if not self.path.exists():
            kind = "a folder or a zip file" if zip_allowed else "a folder"
            raise FileNotFoundError(f"{str(self.path)!r} does not exist. Expected {kind}.")
        self.is_zip = self.path.is_file()
        if self.is_zip and not (zip_allowed and zipfile.is_zipfile(self.path)):
            expected = (
                "a folder or a zip file" if zip_allowed else "a folder; unpack archives first"
            )
            raise UnreadableImageError(f"{str(self.path)!r} is a file. Expected {expected}.")
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

    def read(self, names: Sequence[str] | np.ndarray, size: int) -> np.ndarray:
        """Decode pictures on a few threads; every unreadable one is named in one error."""
        images = np.empty((len(names), size, size, 3), dtype=np.uint8)

        def decode(opened: zipfile.ZipFile | None, lock: threading.Lock, row: int) -> str:
            try:
                if opened is None:
                    images[row] = read_image(self.path / names[row], size)
                else:
                    # One archive has one file position; only decoding runs side by side.
                    with lock:
                        content = opened.read(names[row])
                    images[row] = read_image(io.BytesIO(content), size)
            except (UnreadableImageError, zipfile.BadZipFile) as error:
                return f"{names[row]} ({error.__cause__ or error})"
            return ""

        archive = zipfile.ZipFile(self.path) if self.is_zip else None
        try:
            lock = threading.Lock()
            with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
                outcomes = pool.map(lambda row: decode(archive, lock, row), range(len(names)))
                faults = [fault for fault in outcomes if fault]
        finally:
            if archive is not None:
                archive.close()
        if faults:
            raise UnreadableImageError(
                f"{len(faults)} of {len(names)} pictures could not be read: {some(faults)}. "
                f"Remove or repair them."
            )
        return images


def _is_picture(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and name.lower().endswith(IMAGE_SUFFIXES)


def labelled(source: Source, labels: Labels, *, identity_needed: bool = True) -> Bunch:
    """Join the pictures of a source with a table of labels."""
    table = _read_table(labels)
    if table is None:
        table = pd.DataFrame({"file": source.names})
    elif "file" not in table:
        table = _spread_over_pictures(source, table)
    else:
        _check_files(source, table)
    if "identity" not in table:
        _check_folders(source, table["file"])
        table = table.assign(identity=table["file"].map(parent))

    nameless = table.loc[table["identity"].isna(), "file"].tolist()
    if identity_needed and len(nameless) == len(table):
        raise InvalidLabelsError(
            f"Nobody is named: {some(nameless)} lie directly in {str(source.path)!r}. Expected one "
            f"folder per person, or labels= with the columns 'file' and 'identity'."
        )
    identity = table["identity"].map(str, na_action="ignore").astype(object)
    data = Bunch(
        files=table["file"].to_numpy(dtype=str),
        identity=identity.where(identity.notna(), None).to_numpy(dtype=object),
        attributes=table.drop(columns=["file", "identity", "split"], errors="ignore"),
    )
    data.attributes = data.attributes.reset_index(drop=True)
    if "split" in table:
        data.split = table["split"].to_numpy(dtype=object)
    return data


def _read_table(labels: Labels) -> pd.DataFrame | None:
    if labels is None:
        return None
    if isinstance(labels, pd.DataFrame):
        table, origin = labels.copy(), "labels"
    else:
        if not Path(labels).is_file():
            raise FileNotFoundError(f"labels={str(labels)!r} does not exist. Expected a CSV file.")
        # Only empty cells are missing: people are called "Nan" and "None", too.
        dtypes = {"file": str, "identity": str}
        try:
            table = pd.read_csv(labels, keep_default_na=False, na_values=[""], dtype=dtypes)
        except (ValueError, UnicodeError) as error:
            raise InvalidLabelsError(
                f"labels={str(labels)!r} could not be read ({error}). Expected a CSV file in UTF-8 "
                f"with a row of column names."
            ) from error
        origin = f"labels={str(labels)!r}"
    if not {"file", "identity"} & set(table.columns):
        raise InvalidLabelsError(
            f"{origin} has the columns {list(table.columns)}. Expected 'file' (a row per picture) "
            f"or 'identity' (a row per person) among them, separated by commas."
        )
    return table


def _spread_over_pictures(source: Source, people: pd.DataFrame) -> pd.DataFrame:
    """Give every picture the row of its person; people without a row lack the labels."""
    _check_folders(source, pd.Series(source.names))
    repeated = people.loc[people["identity"].duplicated(), "identity"].tolist()
    pictures = pd.DataFrame({"file": source.names, "identity": map(parent, source.names)})
    known = set(people["identity"].astype(str))
    folders = set(pictures["identity"].dropna())
    if repeated:
        raise InvalidLabelsError(
            f"people with several rows in labels: {some(repeated)}. Expected one row per folder."
        )
    if not folders & known:
        raise InvalidLabelsError(
            f"labels names {some(sorted(known))}, but the folders are {some(sorted(folders))}. "
            f"Expected rows whose identity is the name of a folder."
        )
    for what, names in (
        ("folders without a row in labels", folders - known),
        ("people in labels without a folder", known - folders),
    ):
        if names:
            warnings.warn(f"{len(names)} {what}: {some(sorted(names))}.", stacklevel=4)
    return pictures.merge(people.astype({"identity": str}), on="identity", how="left")


def _check_files(source: Source, table: pd.DataFrame) -> None:
    files = table["file"]
    faults = []
    if files.isna().any():
        faults.append(f"{int(files.isna().sum())} rows without a file")
    files = files.dropna()
    if files.duplicated().any():
        faults.append(f"files named twice: {some(files[files.duplicated()].tolist())}")
    missing = sorted(set(files) - set(source.names))
    if missing:
        faults.append(f"{len(missing)} files that are not there: {some(missing)}")
    if faults:
        raise InvalidLabelsError(
            f"labels has {'; '.join(faults)}. Expected names relative to {str(source.path)!r}, "
            f"such as {source.names[0]!r}."
        )


def _check_folders(source: Source, names: pd.Series) -> None:
    """One folder name in several places would merge people, for example by year."""
    folders = {str(PurePosixPath(name).parent) for name in names.dropna()} - {"."}
    places: dict[str, list[str]] = {}
    for folder in sorted(folders):
        places.setdefault(PurePosixPath(folder).name, []).append(folder)
    merged = {name: found for name, found in places.items() if len(found) > 1}
    # Splits repeat every person on purpose.
    merged = {
        name: found
        for name, found in merged.items()
        if {PurePosixPath(f).parts[0].lower() for f in found} - _SPLIT_FOLDERS
    }
    if merged:
        name, found = next(iter(merged.items()))
        raise InvalidLabelsError(
            f"The folder name {name!r} occurs at {some(found)}, so it cannot name one person. "
            f"Expected one folder per person; otherwise give labels= with 'file' and 'identity'."
        )


def parent(name: str) -> str | None:
    return PurePosixPath(name).parent.name or None


def some(names: Sequence[object]) -> str:
    """The first few of many, for a message."""
    shown = ", ".join(repr(name) for name in list(names)[:_FAULTS_SHOWN])
    more = len(names) - _FAULTS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
