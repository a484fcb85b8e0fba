"""``edials audit``: attack a folder of originals and its release from the shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..anonymizer import EDIALSAnonymizer
from ..audit import audit
from ..audit.inputs.folders import pictures_by_name
from ..datasets import load_image_folder
from ..datasets._image_folder import read_csv
from ..exceptions import InvalidLabelsError, first_few
from ..persistence import check_folder, private_file
from .common import (
    CONFIDENTIAL,
    add_device_option,
    add_label_options,
    attribute_columns,
    load_anonymizer,
)


def add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "audit",
        help="measure how much of the identity any anonymizer left",
        description="Attack released pictures as an attacker would who knows the method. The "
        "report sets what attackers found beside what the attributes alone reveal. It needs three "
        "released pictures each of two people, at least; without --labels there are no attributes.",
    )
    parser.add_argument("originals", type=Path, help="a folder with one folder per person")
    parser.add_argument(
        "released",
        type=Path,
        help="the released pictures: the same relative names with any ending, or see --manifest; "
        "a missing file counts as withheld",
    )
    add_label_options(parser)
    parser.add_argument(
        "--manifest", type=Path, help="CSV that 'edials anonymize' wrote: pair by it, not by name"
    )
    parser.add_argument(
        "--attackers",
        choices=("quick", "standard", "thorough"),
        default="standard",
        help="quick: linear ones; the others train networks as well (default: standard)",
    )
    parser.add_argument(
        "--model", type=Path, help="what 'edials fit' wrote: attackers use its encoder"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("edials-audit"),
        metavar="DIR",
        help="folder for report.html and report.json (default: edials-audit)",
    )
    parser.add_argument(
        "--no-pictures", action="store_true", help="leave originals out of the page"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--size",
        type=int,
        help="pictures are cropped to a centred square and resized to this many pixels, a multiple "
        "of 16 (default: the model's, or the most common one of the release, at most 128)",
    )
    add_device_option(parser)
    parser.set_defaults(run=run_audit)


def run_audit(options: argparse.Namespace) -> None:
    """Pair originals and release, audit, print the summary, write the report."""
    _check_out(options)
    data = load_image_folder(options.originals, labels=options.labels)
    attributes = attribute_columns(data.attributes, options.keep)
    model = None if options.model is None else load_anonymizer(options.model, options.device)
    size = options.size if model is None else _size_of(model, options.size)
    if options.manifest is None:
        released = _by_name(options.originals, options.released, data.files)
        included = np.ones(len(released), dtype=bool)
    else:
        released, included = _by_manifest(options, data.files, data.paths)
    left_out = f", {(~included).sum()} not in the manifest or unreadable"
    print(
        f"{included.sum()} pictures of {pd.Series(data.identity[included]).nunique()} people, "
        f"{sum(path is None for path in released)} withheld{left_out if options.manifest else ''}",
        file=sys.stderr,
    )
    report = audit(
        list(data.paths[included]),
        released,
        identity=data.identity[included],
        attributes=attributes[included].reset_index(drop=True) if attributes.size else None,
        split=_split(data, included),
        attackers=options.attackers,
        anonymizer=model,
        size=size,
        random_state=options.seed,
        verbose=1,
    )
    print(report.summary())
    # The page may show originals, and the figures are about these people: readable by the owner.
    options.out.mkdir(mode=0o700, exist_ok=True)
    page = report.to_html(pictures=not options.no_pictures)
    for name, text in (("report.html", page), ("report.json", report.to_json())):
        with private_file(options.out / name) as file:
            file.write(text.encode())
        print(f"{options.out / name} ({CONFIDENTIAL})")


def _check_out(options: argparse.Namespace) -> None:
    """The report shows originals and release, so it must lie in neither of their folders."""
    out = options.out.resolve()
    for folder in (options.originals, options.released):
        if out == folder.resolve() or folder.resolve() in out.parents:
            raise ValueError(f"{options.out} lies inside {folder}; expected a folder elsewhere.")
    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"{options.out} is a file; expected a folder.")
    check_folder(out.parent)


def _size_of(model: EDIALSAnonymizer, size: int | None) -> int:
    height, width, _ = model.image_shape_
    if height != width or size not in (None, height):
        raise ValueError(
            f"The model works on {height} x {width} pixels and --size is {size}; expected a model "
            f"of square pictures, and its size or none."
        )
    return height


def _by_name(originals: Path, released: Path, files: Sequence[str]) -> list[Path | None]:
    """The released file of each original; None where there is none."""
    after = pictures_by_name(released)
    unpaired = sorted(set(after) - set(pictures_by_name(originals)))
    if unpaired:
        raise InvalidLabelsError(
            f"For a release of 'edials anonymize', pass its --manifest: {len(unpaired)} released "
            f"files have no original of their name, such as {unpaired[0]!r}."
        )
    return [after.get(str(Path(file).with_suffix(""))) for file in files]


def _by_manifest(
    options: argparse.Namespace, files: Sequence[str], paths: Sequence[str]
) -> tuple[list[Path | None], NDArray[np.bool_]]:
    """The released file of each original in the manifest, and which originals are in it.

    Originals that 'edials anonymize' could not read count as not in it.
    """
    manifest = options.manifest
    table = _read_manifest(manifest)
    # A manifest holds paths as they were typed then, so their ends match as well.
    rows_of: dict[tuple[str, ...], set[int]] = {}
    for row, name in enumerate(table["file"]):
        parts = PurePath(name).parts
        for key in (Path(name).resolve().parts, *(parts[start:] for start in range(len(parts)))):
            rows_of.setdefault(key, set()).add(row)
    released: list[Path | None] = []
    included = np.zeros(len(files), dtype=bool)
    for index, (file, path) in enumerate(zip(files, paths, strict=True)):
        rows = rows_of.get(Path(path).resolve().parts) or rows_of.get(PurePath(file).parts, set())
        if len(rows) > 1:
            raise InvalidLabelsError(
                f"{manifest} has {len(rows)} rows that end in {file!r}; expected one. Pass the "
                f"folder of originals as you passed it to 'edials anonymize'."
            )
        for row in rows:
            included[index] = table["verdict"][row] != "unreadable"
            if included[index]:
                name = table["released_as"][row]
                released.append(options.released / name if name else None)
    missing = [str(file) for file in released if file is not None and not file.is_file()]
    if missing:
        raise InvalidLabelsError(f"{manifest} names files that do not exist: {first_few(missing)}.")
    if not included.any():
        raise InvalidLabelsError(
            f"{manifest} names none of the originals; expected the manifest of this release."
        )
    return released, included


def _read_manifest(path: Path) -> pd.DataFrame:
    table = read_csv(path, str(path), dtype=str)
    lacking = [name for name in ("file", "released_as", "verdict") if name not in table]
    if lacking:
        raise InvalidLabelsError(
            f"{path} has the columns {list(table.columns)} and lacks {lacking}; expected what "
            f"'edials anonymize' wrote."
        )
    return table


def _split(data: Bunch, included: NDArray[np.bool_]) -> NDArray | None:
    """The column 'split' if it has the words of an audit."""
    if "split" not in data:
        return None
    split = data.split[included]
    if set(split) <= {"enrol", "validation", "probe", "none"}:
        return split
    print("the column 'split' has other words than enrol, validation, probe: not used")
    return None
