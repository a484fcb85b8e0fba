"""``edials audit``: a folder of originals and what was released of it, judged from the shell."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..anonymizer import EDIALSAnonymizer
from ..audit import audit
from ..audit.inputs.folders import pair_by_name, pictures_by_name
from ..datasets import load_image_folder
from ..exceptions import InvalidLabelsError, first_few
from .common import CONFIDENTIAL, attribute_columns, load_anonymizer, must_be_folder

_LEFT_OUT = Path()  # stands for an original that was not part of the release


def add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "audit",
        help="judge what any anonymizer left of who it is",
        description="Attack released pictures as somebody would who knows the method, and write "
        "what was found beside what the kept attributes alone give away. At least three released "
        "pictures each of two people; without --labels nothing counts as kept.",
    )
    parser.add_argument("originals", type=Path, help="a folder with one folder per person")
    parser.add_argument(
        "released",
        type=Path,
        help="what became of them: the same relative names with any ending, or see --manifest; a "
        "missing file counts as withheld",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        help="CSV with a column 'file' (a row per picture) or 'identity' (a row per person); "
        "every other column is a kept attribute, unless --keep names them",
    )
    parser.add_argument("--keep", nargs="+", metavar="COLUMN", help="only these were kept")
    parser.add_argument(
        "--manifest", type=Path, help="CSV that 'edials anonymize' wrote: pairs by it, not by name"
    )
    parser.add_argument(
        "--attackers",
        choices=("quick", "standard", "thorough"),
        default="standard",
        help="quick are linear ones, the others train networks as well (default: standard)",
    )
    parser.add_argument(
        "--model", type=Path, help="what 'edials fit' wrote: attackers then use its encoder"
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
        "of 16 (default: that of the model, or the commonest of the released ones, at most 128)",
    )
    parser.add_argument("--device", default="auto", help="where torch computes (default: auto)")
    parser.set_defaults(run=run_audit)


def run_audit(options: argparse.Namespace) -> None:
    """Pair, judge, print the summary, write the report."""
    _check_out(options)
    data = load_image_folder(options.originals, labels=options.labels)
    attributes = attribute_columns(data.attributes, options.keep)
    model = None if options.model is None else load_anonymizer(options.model, options.device)
    size = options.size if model is None else _size_of(model, options.size)
    if options.manifest is None:
        released = _by_name(options.originals, options.released, data.paths)
    else:
        released = _by_manifest(options.manifest, options.released, data.files, data.paths)
    tried = np.array([path is not _LEFT_OUT for path in released])
    withheld = sum(path is None for path in released)
    print(
        f"{tried.sum()} pictures of {pd.Series(data.identity[tried]).nunique()} people, {withheld} "
        f"withheld, {(~tried).sum()} not in the manifest or unreadable",
        file=sys.stderr,
    )
    report = audit(
        list(data.paths[tried]),
        [path for path in released if path is not _LEFT_OUT],
        identity=data.identity[tried],
        attributes=attributes[tried].reset_index(drop=True) if len(attributes.columns) else None,
        split=_split(data, tried),
        attackers=options.attackers,
        anonymizer=model,
        size=size,
        random_state=options.seed,
        verbose=1,
    )
    print(report.summary())
    # The page may show originals, the figures are about these people: for their owner's eyes.
    options.out.mkdir(mode=0o700, exist_ok=True)
    page = report.to_html(pictures=not options.no_pictures)
    for name, text in (("report.html", page), ("report.json", report.to_json())):
        print(f"{_write_private(options.out / name, text)} ({CONFIDENTIAL})")


def _check_out(options: argparse.Namespace) -> None:
    """Neither originals nor a release may get a page among them that tells of the others."""
    out = options.out.resolve()
    for folder in (options.originals, options.released):
        if out == folder.resolve() or folder.resolve() in out.parents:
            raise ValueError(f"{options.out} lies inside {folder}; expected a folder elsewhere.")
    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"{options.out} is a file; expected a folder.")
    must_be_folder(out.parent)


def _size_of(model: EDIALSAnonymizer, asked: int | None) -> int:
    height, width, _ = model.image_shape_
    if height != width or asked not in (None, height):
        raise ValueError(
            f"The model works on {height} x {width} pixels and --size is {asked}; expected a model "
            f"of squares, and its size or none."
        )
    return height


def _by_name(originals: Path, released: Path, paths: Iterable[str]) -> list[Path | None]:
    """The released file of each original; None where there is none."""
    before, after = pair_by_name(pictures_by_name(originals), pictures_by_name(released))
    places = {str(path): place for path, place in zip(before, after, strict=True)}
    return [places[path] for path in paths]


def _by_manifest(
    manifest: Path, released: Path, files: Sequence[str], paths: Sequence[str]
) -> list[Path | None]:
    """The same as a manifest has it; what it does not know, or could not read, is left out."""
    table = _read_manifest(manifest)
    # A manifest holds paths as they were typed then; they are known by their ends as well.
    whole = {Path(name).resolve(): row for row, name in enumerate(table["file"])}
    ends: dict[tuple[str, ...], list[int]] = {}
    for row, name in enumerate(table["file"]):
        parts = PurePath(name).parts
        for start in range(len(parts)):
            ends.setdefault(parts[start:], []).append(row)
    found: list[Path | None] = []
    for file, path in zip(files, paths, strict=True):
        known = whole.get(Path(path).resolve())
        rows = ends.get(PurePath(file).parts, []) if known is None else [known]
        if len(rows) > 1:
            raise InvalidLabelsError(
                f"{manifest} has {len(rows)} rows that end in {file!r}; expected one. Give the "
                f"folder of originals as it was given to 'edials anonymize'."
            )
        if not rows or table["verdict"][rows[0]] == "unreadable":
            found.append(_LEFT_OUT)
        else:
            name = table["released_as"][rows[0]]
            found.append(released / name if name else None)
    missing = [str(p) for p in found if p not in (None, _LEFT_OUT) and not Path(str(p)).is_file()]
    if missing:
        raise InvalidLabelsError(
            f"{manifest} names files that are not there: {first_few(missing)}."
        )
    if all(path is _LEFT_OUT for path in found):
        raise InvalidLabelsError(f"{manifest} names none of the originals; expected their own one.")
    return found


def _read_manifest(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected what 'edials anonymize' wrote.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeError) as error:
        raise InvalidLabelsError(f"{path} could not be read as a manifest ({error}).") from error
    lacking = [name for name in ("file", "released_as", "verdict") if name not in table]
    if lacking:
        raise InvalidLabelsError(
            f"{path} has the columns {list(table.columns)} and lacks {lacking}; expected what "
            f"'edials anonymize' wrote."
        )
    return table


def _split(data: Bunch, tried: NDArray[np.bool_]) -> NDArray | None:
    """A column 'split' in the words of an audit; other words are not used."""
    if "split" not in data:
        return None
    given = data.split[tried]
    if set(given) <= {"enrol", "validation", "probe", "none"}:
        return given
    print("the column 'split' has other words than enrol, validation, probe: not used")
    return None


def _write_private(path: Path, text: str) -> Path:
    """Write a file that nobody else may read, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(opened, "w", encoding="utf-8") as stream:
        stream.write(text)
    partial.replace(path)
    return path
