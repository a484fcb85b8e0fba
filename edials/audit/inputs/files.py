"""What the files of a release disclose besides their pictures: names, metadata, times."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import fisher_exact, kruskal

# Metadata that Pillow reports for every file of a format.
_HARMLESS = {
    *("jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "gamma", "srgb", "aspect"),
    *("compression", "interlace", "transparency", "background", "loop", "duration", "timestamp"),
    *("version", "progressive", "progression", "chromaticity", "adobe", "adobe_transform", "bbox"),
    *("resolution", "extension", "default_image"),
}
# Levels of the tests that a label is in a name, and that times depend on the person.
_NAME_LEVEL, _TIME_LEVEL = 0.01, 0.001


def file_findings(
    files: list[Path | None],
    people: NDArray[np.int64],
    labels: NDArray,
    *,
    original_files: list[Path | None] | None = None,
    root: Path | None = None,
    seed: int = 0,
) -> list[str]:
    """Find what the files of a release disclose, in one sentence for each finding.

    Findings are metadata (EXIF, text, comments, colour profiles); names that contain the person's
    label more often than permuted labels; names that equal the original's; and modification times
    that depend on the person.

    Parameters
    ----------
    files : list of Path or None
        None where nothing was released.
    people : ndarray of shape (n_files,)
        Index into ``labels``; -1 where unknown.
    labels : ndarray of shape (n_people,)
        Names of the people.
    original_files : list of Path or None, optional
        Files of the originals. Leave them out for folders that are paired by name, where equal
        names say nothing of the release.
    root : Path, optional
        The released folder; only names below it count. None takes file names alone.
    seed : int, default=0

    Returns
    -------
    list of str
        Empty without findings.
    """
    rows = [row for row, file in enumerate(files) if file is not None]
    paths = [file for file in files if file is not None]
    places = np.flatnonzero(people[rows] >= 0)
    labelled_paths, codes = [paths[place] for place in places], people[rows][places]
    findings = [*_metadata(paths), *_labels_in_names(labelled_paths, codes, labels, root, seed)]
    if original_files is not None:
        originals = [original_files[row] for row in rows]
        n_equal = sum(
            original is not None and original.stem == path.stem
            for original, path in zip(originals, paths, strict=True)
        )
        if n_equal:
            findings.append(
                f"{n_equal} of {len(paths)} released files are named like their original"
            )
    return [*findings, *_times(labelled_paths, codes)]


def _metadata(paths: list[Path]) -> list[str]:
    counts: Counter[str] = Counter()
    for path in paths:
        with Image.open(path) as picture:
            if len(picture.getexif()):
                counts["EXIF"] += 1
            picture.load()  # text may follow the pixels
            for key, value in {**picture.info, **getattr(picture, "text", {})}.items():
                name = str(key)
                if value and name.lower() not in _HARMLESS and name.lower() != "exif":
                    counts[name] += 1
    return [
        f"{count} of {len(paths)} released files carry metadata: {name}"
        for name, count in sorted(counts.items())
    ]


def _labels_in_names(
    paths: list[Path], codes: NDArray[np.int64], labels: NDArray, root: Path | None, seed: int
) -> list[str]:
    if not paths:
        return []
    names = [
        path.relative_to(root).with_suffix("").as_posix() if root is not None else path.stem
        for path in paths
    ]

    def n_labelled(people: NDArray[np.int64]) -> int:
        return sum(_contains(name, str(labels[p])) for name, p in zip(names, people, strict=True))

    # Short labels such as numbers are in many names by accident, as often as permuted ones.
    true, permuted = n_labelled(codes), n_labelled(np.random.default_rng(seed).permutation(codes))
    table = [[true, len(names) - true], [permuted, len(names) - permuted]]
    if not true or fisher_exact(table, alternative="greater").pvalue > _NAME_LEVEL:
        return []
    note = " (names equal to the originals' are not counted: folders are paired by name)"
    return [
        f"{true} of {len(names)} released files have the person's label in their name"
        + (note if root is not None else "")
    ]


def _contains(name: str, label: str) -> bool:
    """Whether a name contains a label, as separate words or, if it is long, anywhere."""
    words, wanted = (re.findall(r"[^\W_]+", text.casefold()) for text in (name, label))
    if not wanted:
        return False
    joined = "".join(wanted)
    if len(joined) >= 4 and not joined.isdigit() and joined in "".join(words):
        return True
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words)))


def _times(paths: list[Path], codes: NDArray[np.int64]) -> list[str]:
    times = np.array([path.stat().st_mtime_ns for path in paths])
    if len(np.unique(times)) < 2 or len(np.unique(codes)) < 2:
        return []
    if kruskal(*(times[codes == code] for code in np.unique(codes))).pvalue > _TIME_LEVEL:
        return []
    return ["modification times of the released files go by people: one was written after another"]
