"""What the files of a release tell besides their pictures: names, metadata, order of writing."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import fisher_exact, kruskal

# What Pillow says of every file of a kind, and what tells nothing.
_HARMLESS = {
    *("jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "gamma", "srgb", "aspect"),
    *("compression", "interlace", "transparency", "background", "loop", "duration", "timestamp"),
    *("version", "progressive", "progression", "chromaticity", "adobe", "adobe_transform", "bbox"),
    *("resolution", "extension", "default_image"),
}
_SURE = 0.01  # of a name that contains the label by accident
_ORDERED = 0.001  # of an order of writing that is not that of the people


def file_findings(
    files: list[Path | None],
    people: NDArray[np.int64],
    labels: NDArray,
    *,
    origins: list[Path | None] | None = None,
    root: Path | None = None,
    seed: int = 0,
) -> list[str]:
    """Look for what the files of a release give away, and say each finding in a sentence.

    Metadata (EXIF, text, comments, colour profiles); names that contain who is on the picture,
    more often than labels exchanged among the files would; names that equal the original's; an
    order of modification times that goes by people.

    Parameters
    ----------
    files : list of Path or None
        None where nothing was released.
    people : ndarray of shape (n_files,)
        Index into ``labels``; -1 where unknown.
    labels : ndarray of shape (n_people,)
        Names of the people.
    origins : list of Path or None, optional
        Files of the originals. Leave them out for folders that are paired by name: there equal
        names are how the pairs were found, and say nothing of the release.
    root : Path, optional
        The released folder; only names below it are looked at. None looks at file names alone.
    seed : int, default=0

    Returns
    -------
    list of str
        Empty if nothing was found.
    """
    there = [row for row, file in enumerate(files) if file is not None]
    released = [files[row] for row in there]
    paths = [path for path in released if path is not None]
    known = people[there] >= 0
    codes = people[there][known]
    named = [path for path, sure in zip(paths, known, strict=True) if sure]
    findings = [*_metadata(paths), *_named(named, codes, labels, root, seed)]
    if origins is not None:
        firsts = [origins[row] for row in there]
        same = sum(
            first is not None and first.stem == path.stem
            for first, path in zip(firsts, paths, strict=True)
        )
        if same:
            findings.append(f"{same} of {len(paths)} released files are named like their original")
    return [*findings, *_order(named, codes)]


def _metadata(paths: list[Path]) -> list[str]:
    counts: Counter[str] = Counter()
    for path in paths:
        with Image.open(path) as picture:
            if len(picture.getexif()):
                counts["EXIF"] += 1
            # Text behind the pixels is read only with them.
            picture.load()
            for key, value in {**picture.info, **getattr(picture, "text", {})}.items():
                name = str(key)
                if value and name.lower() not in _HARMLESS and name.lower() != "exif":
                    counts[name] += 1
    return [
        f"{count} of {len(paths)} released files carry metadata: {name}"
        for name, count in sorted(counts.items())
    ]


def _named(
    paths: list[Path], codes: NDArray[np.int64], labels: NDArray, root: Path | None, seed: int
) -> list[str]:
    if not paths:
        return []
    names = [
        path.relative_to(root).with_suffix("").as_posix() if root is not None else path.stem
        for path in paths
    ]
    wanted = [str(label) for label in labels]
    own = sum(_contains(name, wanted[code]) for name, code in zip(names, codes, strict=True))
    # Short labels such as numbers are in many names by accident: as many as if they were dealt.
    dealt = np.random.default_rng(seed).permutation(codes)
    other = sum(_contains(name, wanted[code]) for name, code in zip(names, dealt, strict=True))
    table = [[own, len(names) - own], [other, len(names) - other]]
    if not own or fisher_exact(table, alternative="greater").pvalue > _SURE:
        return []
    equal = " (names equal to the originals' are not counted: folders are paired by name)"
    return [
        f"{own} of {len(names)} released files have the person's label in their name"
        + (equal if root is not None else "")
    ]


def _contains(name: str, label: str) -> bool:
    """Whether a name says a label, as words of its own or, if it is long, anywhere."""
    words, wanted = (re.findall(r"[^\W_]+", text.casefold()) for text in (name, label))
    if not wanted:
        return False
    joined = "".join(wanted)
    if len(joined) >= 4 and not joined.isdigit() and joined in "".join(words):
        return True
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words)))


def _order(paths: list[Path], codes: NDArray[np.int64]) -> list[str]:
    times = np.array([path.stat().st_mtime_ns for path in paths])
    if len(np.unique(times)) < 2 or len(np.unique(codes)) < 2:
        return []
    groups = [times[codes == code] for code in np.unique(codes)]
    if kruskal(*groups).pvalue > _ORDERED:
        return []
    return ["modification times of the released files go by people: one was written after another"]
