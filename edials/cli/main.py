"""The command: ``edials demo``, ``edials fit``, ``edials anonymize`` and ``edials audit``."""

from __future__ import annotations

import argparse
import csv
import os
import secrets
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from .. import __version__
from .._validation import SIZE_MULTIPLE
from ..anonymizer import EDIALSAnonymizer
from ..datasets import load_image_folder
from ..datasets._image_folder import ImageSource
from ..exceptions import CalibrationWarning, EdialsError, IdentityLeakWarning
from ..images import read_each, write_image
from ..models.attribute_classifier import AttributeClassifier
from ..models.autoencoder import AdversarialAutoencoder
from ..models.identity_classifier import IdentityClassifier
from ..models.surrogate_decoder import SurrogateDecoder
from ..persistence import save
from .audit import add_audit
from .common import CONFIDENTIAL, attribute_columns, load_anonymizer, must_be_folder
from .demo import run_demo

_CHUNK = 256  # files in memory at a time


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 with one line on what was wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (EdialsError, OSError, ValueError) as error:
        print(f"edials {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edials", description="Share face images without sharing who is on them."
    )
    parser.add_argument("--version", action="version", version=f"edials {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser(
        "demo",
        help="fit, anonymize and attack made-up faces",
        description="Make faces, fit, anonymize held-out ones, attack them, and write a table, a "
        "page and a sheet of pictures: a few minutes on two cores.",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("edials-demo"), metavar="DIR", help="default: edials-demo"
    )
    demo.add_argument("--seed", type=int, default=0, help="default: 0")
    demo.set_defaults(run=_demo)

    fit = commands.add_parser(
        "fit",
        help="fit a model on labelled faces",
        description="Learn from labelled faces what gives people away, and write a model that "
        "anonymizes pictures of anybody. At least two people with two pictures each.",
    )
    fit.add_argument("faces", type=Path, help="a folder with one folder per person")
    fit.add_argument(
        "--labels",
        type=Path,
        help="CSV with a column 'file' (a row per picture) or 'identity' (a row per person); "
        "every other column is an attribute to keep, unless --keep names them",
    )
    fit.add_argument("--keep", nargs="+", metavar="COLUMN", help="keep only these columns")
    fit.add_argument(
        "--out", type=Path, required=True, metavar="MODEL", help=f"file to write; {CONFIDENTIAL}"
    )
    fit.add_argument("--force", action="store_true", help="replace an existing MODEL")
    fit.add_argument(
        "--size",
        type=int,
        default=64,
        help="pictures are cropped to a centred square and resized to this many pixels, a "
        "multiple of 16 (default: 64)",
    )
    fit.add_argument(
        "--networks",
        choices=("tiny", "small", "base"),
        default="small",
        help="tiny to try out, small for 64 pixels, base for 128 (default: small)",
    )
    fit.add_argument("--epochs", type=int, help="of every network; by default as the data ask")
    fit.add_argument("--device", default="auto", help="where torch computes (default: auto)")
    fit.add_argument("--seed", type=int, help="leave it out for a release: it tells the draws")
    fit.set_defaults(run=_fit)

    anonymize = commands.add_parser(
        "anonymize",
        help="anonymize a folder of faces",
        description="Write what may be released of every picture, under random names and without "
        "metadata; what cannot be certified is left out and listed in the manifest.",
    )
    anonymize.add_argument(
        "faces", type=Path, help="a folder of pictures, searched to the bottom; none is named"
    )
    anonymize.add_argument(
        "out",
        type=Path,
        help="new or empty folder for the release: square PNGs of the model's size, random names",
    )
    anonymize.add_argument("--model", type=Path, required=True, help="what 'edials fit' wrote")
    anonymize.add_argument(
        "--manifest",
        type=Path,
        help=f"new CSV of what became of each file (default: OUT-manifest.csv; {CONFIDENTIAL})",
    )
    anonymize.add_argument("--device", default="auto", help="where torch computes (default: auto)")
    anonymize.set_defaults(run=_anonymize)

    add_audit(commands)
    return parser


def _demo(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentityLeakWarning)  # the table says what was withheld
        table = run_demo(options.out, random_state=options.seed)
    print(table.T.to_string(float_format=lambda value: f"{value:.1f}"))
    print(f"\n{time.perf_counter() - start:.0f} s; see {options.out / 'report.html'}")


def _fit(options: argparse.Namespace) -> None:
    must_be_folder(options.out.absolute().parent)
    if options.out.is_dir() or (options.out.exists() and not options.force):
        raise ValueError(
            f"{options.out} exists; its key made earlier releases. Name another, or use --force."
        )
    if options.size < SIZE_MULTIPLE or options.size % SIZE_MULTIPLE:
        raise ValueError(f"--size {options.size}; expected a multiple of {SIZE_MULTIPLE}.")
    data = load_image_folder(options.faces, labels=options.labels, size=options.size)
    attributes = attribute_columns(data.attributes, options.keep)
    kept = list(attributes.columns)
    named = pd.Series(data.identity)
    print(
        f"{len(data.images)} pictures of {named.nunique()} people, {named.isna().sum()} of nobody "
        f"named; kept: {', '.join(kept) or 'nothing'}"
    )
    left_out = len(ImageSource(options.faces).names) - len(data.images)
    if left_out:
        print(f"{left_out} pictures are not in {options.labels} and are left out")
    if "split" in data:
        print("the column 'split' is not used: every row is fitted on")
    common: dict[str, Any] = {
        "size": options.networks,
        "max_epochs": options.epochs,
        "device": options.device,
        "verbose": 1,
    }
    model = EDIALSAnonymizer(
        AdversarialAutoencoder(**common),
        identity_classifier=IdentityClassifier(**common),
        attribute_classifier=AttributeClassifier(**common),
        surrogate_decoder=SurrogateDecoder(**common),
        device=options.device,
        random_state=options.seed,
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", CalibrationWarning)
        model.fit(data.images, identity=data.identity, attributes=attributes if kept else None)
    for warning in said:
        print(f"edials: {warning.message}", file=sys.stderr)
    print(_what_is_replaced(model))
    print(f"{save(model, options.out)} ({CONFIDENTIAL})")


def _what_is_replaced(model: EDIALSAnonymizer) -> str:
    """The strength that fit chose, in words."""
    if model.strength_ == 1:
        return "strength 1: every feature is replaced"
    frontier = model.frontier_
    chosen = abs(frontier["strength"] - model.strength_).argmin()
    return (
        f"strength {model.strength_:.3g}: {frontier['n_retained'][chosen]} of {len(model.order_)} "
        f"features are given back, at {frontier['leakage_bits'][chosen]:.2f} bit a photo "
        f"[{frontier['leakage_low'][chosen]:.2f}, {frontier['leakage_high'][chosen]:.2f}]"
    )


def _anonymize(options: argparse.Namespace) -> None:
    source = ImageSource(options.faces, zip_allowed=False)
    files = [str(source.path / name) for name in source.names]
    # On disk, files lie in the order they were written: it must not be that of the people.
    secrets.SystemRandom().shuffle(files)
    manifest = options.manifest or options.out.with_name(f"{options.out.name}-manifest.csv")
    _check_places(options.faces, options.out, manifest)
    model = load_anonymizer(options.model, options.device)
    options.out.mkdir(exist_ok=True)
    counts: Counter[str] = Counter()
    opened = os.open(manifest, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with (
        open(opened, "w", newline="", encoding="utf-8") as stream,
        tqdm(total=len(files), desc="anonymize") as bar,
    ):
        writer = csv.writer(stream)
        writer.writerow(["file", "released_as", "verdict"])
        for start in range(0, len(files), _CHUNK):
            for row in _anonymize_chunk(model, files[start : start + _CHUNK], options.out):
                writer.writerow(row)
                counts[row[2]] += 1
                bar.update()
    for verdict, count in sorted(counts.items()):
        print(f"{verdict}: {count}")
    print(f"{manifest} ({CONFIDENTIAL})")
    if not any(options.out.iterdir()):
        raise ValueError(f"Nothing could be released: {dict(counts)}.")


def _anonymize_chunk(
    model: EDIALSAnonymizer, files: Sequence[str], out: Path
) -> Iterator[tuple[str, str, str]]:
    """Write what was certified; one row (file, released as, verdict) for every input."""
    pictures = dict(zip(files, read_each(files, model.image_shape_[0]), strict=True))
    readable = {path: p for path, p in pictures.items() if isinstance(p, np.ndarray)}
    yield from ((path, "", "unreadable") for path in files if path not in readable)
    if not readable:
        return
    result = model.anonymize(np.stack(list(readable.values())))
    certified = dict(zip(result.kept_indices.tolist(), result.images, strict=True))
    for row, (path, verdict) in enumerate(zip(readable, result.verdicts, strict=True)):
        # What is not certified has no picture in the result, so nothing of it can be written.
        name = write_image(certified[row], out).name if row in certified else ""
        yield path, name, str(verdict)


def _check_places(faces: Path, out: Path, manifest: Path) -> None:
    """The release must not mix with originals, an older release, or its own manifest."""
    source, target = faces.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise ValueError(f"{out} and {faces} lie inside one another; expected separate folders.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; expected a new or an empty folder.")
    if target == manifest.resolve() or target in manifest.resolve().parents:
        raise ValueError(f"The manifest {manifest} lies inside the release; it is {CONFIDENTIAL}.")
    if manifest.exists():
        raise ValueError(f"{manifest} exists; move it away, or name another with --manifest.")
    must_be_folder(target.parent)
    must_be_folder(manifest.resolve().parent)
