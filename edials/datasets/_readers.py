"""Readers of face data sets on the local disk; nothing here downloads anything."""

from __future__ import annotations

import itertools
import re
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from ..exceptions import InvalidLabelsError, first_few
from ._image_folder import ImageSource, LabelSource, PathLike, join_labels

_UTKFACE_GENDER = {"0": "male", "1": "female"}
_UTKFACE_RACE = {"0": "White", "1": "Black", "2": "Asian", "3": "Indian", "4": "Other"}
# Patterns of a task's folder. Short words stand alone: "images" and "Page" contain "age".
# Identity comes last: "gender_recognition" is a task of its own.
_MTF_TASKS = {
    "age": r"(?<![a-z])age(?![a-z])",
    "gender": "gender",
    "race": r"(?<![a-z])race(?![a-z])",
    "identity": "identity|person|recognition",
}
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def load_image_folder(
    path: PathLike, *, labels: LabelSource = None, size: int | None = None
) -> Bunch:
    """Find the pictures of a folder and who is on them.

    Paths stay paths: by default nothing is decoded, and the paths go into a Pipeline whose first
    step is `edials.images.ImageReader`.

    Parameters
    ----------
    path : path of a folder
        One folder per person, ``<person>/<picture>``, at any depth; or any folder of pictures if
        `labels` has the columns ``file`` and ``identity``. Hidden files are left out.
    labels : path of a CSV file or DataFrame, optional
        With a column ``file`` (relative to `path`): one row per picture, and only these pictures
        are used. Without it, a column ``identity``: one row per person. A column ``split`` is
        returned as such, every other column is an attribute. Empty cells are missing labels.
    size : int, optional
        Also read the pictures, cropped to a centred square and resized to ``(size, size)``.

    Returns
    -------
    Bunch
        paths : ndarray of shape (n,) of str
        files : ndarray of shape (n,) of str
            The same, relative to `path`, with forward slashes.
        identity : ndarray of shape (n,), str objects
            Missing entries are None.
        attributes : DataFrame of shape (n, n_attributes)
        split : ndarray of shape (n,)
            Only if `labels` has such a column.
        images : ndarray of shape (n, size, size, 3), uint8
            Only if `size` is given.

    Raises
    ------
    FileNotFoundError
        If the folder or the table does not exist.
    InvalidLabelsError
        If files named in the table do not exist, or a picture has no person.
    UnreadableImageError
        If pictures cannot be decoded; all of them are named at once.
    """
    source = ImageSource(path, zip_allowed=False)
    data = join_labels(source, labels)
    data.paths = np.array([str(source.path / name) for name in data.files], dtype=str)
    if size is not None:
        data.images = source.read(data.files, size)
    return data


def load_lfw(path: PathLike, *, labels: LabelSource = None, size: int = 64) -> Bunch:
    """Read Labeled Faces in the Wild, or any data in its layout.

    Parameters
    ----------
    path : path of a zip file or a folder
        Holds ``Person_Name/Person_Name_0001.jpg``, in an enclosing folder or not.
    labels : path of a CSV file or DataFrame, optional
        As in `load_image_folder`; with a column ``file``, only the pictures it names are read.
    size : int, default=64
        Pictures are cropped to a centred square and resized to ``(size, size)`` pixels (bicubic).

    Returns
    -------
    Bunch
        images : ndarray of shape (n, size, size, 3), uint8
        files, identity, attributes, split
            As those of `load_image_folder`, whose errors this raises, too.

    References
    ----------
    .. [1] G. B. Huang, M. Ramesh, T. Berg and E. Learned-Miller, "Labeled Faces in the Wild", 2007.
    """
    source = ImageSource(path)
    data = join_labels(source, labels)
    data.images = source.read(data.files, size)
    return data


def load_utkface(path: PathLike, *, labels: LabelSource = None, size: int = 64) -> Bunch:
    """Read UTKFace: ages, genders and races of people without names.

    Parameters
    ----------
    path : path of a zip file or a folder
    labels : path of a CSV file or DataFrame, optional
        Columns ``file``, ``age_years``, ``gender``, ``race``; only the pictures it names are read.
        Without it, the published file names ``[age]_[gender]_[race]_[date].jpg`` are parsed; a few
        of them lack a part, which gives a missing label.
    size : int, default=64
        Pictures are cropped to a centred square and resized to ``(size, size)`` pixels (bicubic).

    Returns
    -------
    Bunch
        As `load_lfw` returns it. ``identity`` is None everywhere: such rows count as unlabelled.
        ``attributes`` has the columns ``age_years``, ``gender``, ``race``.

    References
    ----------
    .. [1] Z. Zhang, Y. Song and H. Qi, "Age Progression/Regression by Conditional Adversarial
       Autoencoder", CVPR 2017.
    """
    source = ImageSource(path)
    if labels is None:
        data = Bunch(files=np.array(source.names), attributes=_parse_utkface_names(source))
    else:
        data = join_labels(source, labels, identity_needed=False)
    data.identity = np.full(len(data.files), None, dtype=object)
    data.images = source.read(data.files, size)
    return data


def load_mtf(path: PathLike, *, size: int = 64) -> Bunch:
    """Read the Multi-Task Faces (MTF) data, the set that EDIALS was published on.

    The curated set has 5,246 pictures of 240 people, labelled by identity, age (young, old), gender
    (female, male) and race (four classes). Its authors offer it, and a version with one folder per
    task, through https://github.com/RamiHaf/MTF_data_set. It is not downloaded here.

    The expected layout follows the published training scripts, which read one class per folder;
    nothing more could be checked. `path` holds one folder per task, whose name contains "identity",
    "person" or "recognition"; "age"; "gender"; "race" (in any case). Each has a folder per class
    (for identity: per person), perhaps below folders for training, validation and test. One picture
    has the same file name in every task, which joins the tasks; a task that lacks a picture gives
    it a missing label. For another layout use `load_image_folder` and a table.

    Parameters
    ----------
    path : path of a zip file or a folder
    size : int, default=64
        Pictures are cropped to a centred square and resized to ``(size, size)`` pixels (bicubic).

    Returns
    -------
    Bunch
        As `load_lfw` returns it. ``attributes`` has those of the columns ``age``, ``gender``,
        ``race`` for which there is a task. ``split`` is "train", "validation" or "test" of the
        identity task, and absent without such folders.

    Raises
    ------
    InvalidLabelsError
        If there is no identity task, if file names repeat within a task, or if a task shares no
        file name with the identity task.

    References
    ----------
    .. [1] R. Haffar, D. Sanchez and J. Domingo-Ferrer, "Multi-Task Faces (MTF) Data Set: A Legally
       and Ethically Compliant Collection of Face Images for Various Classification Tasks", IEEE
       Access 13, 2025.
    """
    source = ImageSource(path)
    tasks = _mtf_tasks(source)
    people = tasks.pop("identity")
    data = Bunch(
        files=people["file"].to_numpy(dtype=str),
        identity=people["label"].to_numpy(dtype=object),
        attributes=pd.DataFrame(
            {name: task["label"].reindex(people.index).to_numpy() for name, task in tasks.items()},
            index=range(len(people)),
        ),
    )
    if people["split"].notna().any():
        data.split = people["split"].to_numpy(dtype=object)
    data.images = source.read(data.files, size)
    return data


def _parse_utkface_names(source: ImageSource) -> pd.DataFrame:
    rows = []
    for name in source.names:
        # [age]_[gender]_[race]_[date and time]; where a part is missing, the date shifts left.
        parts = PurePosixPath(name).name.split(".")[0].split("_")
        age, gender, race = parts[:3] if len(parts) == 4 else (*parts[:2], "", "")[:3]
        years = float(age) if age.isdecimal() and len(age) < 4 else np.nan
        rows.append((years, _UTKFACE_GENDER.get(gender), _UTKFACE_RACE.get(race)))
    table = pd.DataFrame(rows, columns=["age_years", "gender", "race"])
    if table["age_years"].isna().all():
        raise InvalidLabelsError(
            f"No file name of {str(source.path)!r} says an age: {first_few(source.names)}. "
            f"Expected [age]_[gender]_[race]_[date].jpg; otherwise give labels= with the columns "
            f"'file', 'age_years', 'gender', 'race'."
        )
    return table


def _mtf_tasks(source: ImageSource) -> dict[str, pd.DataFrame]:
    """Per task a table ``file``, ``label``, ``split`` indexed by the bare file name."""
    rows = []
    for name in source.names:
        *folders, bare = PurePosixPath(name).parts
        splits = [_SPLITS[folder.lower()] for folder in folders if folder.lower() in _SPLITS]
        folders = [folder for folder in folders if folder.lower() not in _SPLITS]
        for folder, below in itertools.pairwise(folders):
            matching = [task for task, key in _MTF_TASKS.items() if re.search(key, folder.lower())]
            if matching:
                rows.append((matching[0], bare, name, below, splits[0] if splits else None))
                break
    table = pd.DataFrame(rows, columns=["task", "bare", "file", "label", "split"])
    tasks = {str(task): found for task, found in table.set_index("bare").groupby("task")}
    _check_mtf_tasks(source, tasks)
    return tasks


def _check_mtf_tasks(source: ImageSource, tasks: dict[str, pd.DataFrame]) -> None:
    faults = []
    if "identity" not in tasks:
        faults.append(
            f"no task folder for identity (tasks found: {sorted(tasks)}; expected a folder whose "
            f"name matches {_MTF_TASKS['identity']!r})"
        )
    for task, table in tasks.items():
        repeated = table.index[table.index.duplicated()].unique().tolist()
        if repeated:
            faults.append(f"file names that repeat within the task {task!r}: {first_few(repeated)}")
        elif "identity" in tasks and not table.index.isin(tasks["identity"].index).any():
            faults.append(f"no picture of the task {task!r} has a name that identity has, too")
    if faults:
        raise InvalidLabelsError(
            f"{str(source.path)!r} is not laid out as expected: {'; '.join(faults)}. Use "
            f"load_image_folder with a table of labels instead."
        )
