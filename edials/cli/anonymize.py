"""``edials anonymize``: a folder of faces in, a folder of released pictures and a manifest out."""

from __future__ import annotations

import argparse
import csv
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..anonymizer import EDIALSAnonymizer
from ..datasets._image_folder import ImageSource
from ..images import read_each, write_image
from ..persistence import check_folder
from .common import CONFIDENTIAL, add_device_option, load_anonymizer

_CHUNK_FILES = 256  # in memory at a time


def add_anonymize(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "anonymize",
        help="anonymize a folder of faces",
        description="Write a released picture for every picture that can be certified, under a "
        "random name and without metadata. The manifest lists all others.",
    )
    parser.add_argument(
        "faces", type=Path, help="a folder of pictures, searched with its subfolders"
    )
    parser.add_argument(
        "out",
        type=Path,
        help="new or empty folder for the release: square PNGs of the model's size, random names",
    )
    parser.add_argument("--model", type=Path, required=True, help="what 'edials fit' wrote")
    parser.add_argument(
        "--manifest",
        type=Path,
        help="new CSV with the released name and verdict of each file "
        f"(default: OUT-manifest.csv; {CONFIDENTIAL})",
    )
    add_device_option(parser)
    parser.set_defaults(run=run_anonymize)


def run_anonymize(options: argparse.Namespace) -> None:
    """Anonymize file by file, in random order, and write the manifest on the way."""
    source = ImageSource(options.faces, zip_allowed=False)
    files = [str(source.path / name) for name in source.names]
    # On disk, files lie in the order they were written: it must not be that of the people.
    secrets.SystemRandom().shuffle(files)
    manifest = options.manifest or options.out.with_name(f"{options.out.name}-manifest.csv")
    _check_places(options.faces, options.out, manifest)
    model = load_anonymizer(options.model, options.device)
    options.out.mkdir(exist_ok=True)
    counts: Counter[str] = Counter()
    descriptor = os.open(manifest, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with (
        open(descriptor, "w", newline="", encoding="utf-8") as stream,
        tqdm(total=len(files), desc="anonymize") as progress,
    ):
        writer = csv.writer(stream)
        writer.writerow(["file", "released_as", "verdict"])
        for start in range(0, len(files), _CHUNK_FILES):
            for row in _anonymize_chunk(model, files[start : start + _CHUNK_FILES], options.out):
                writer.writerow(row)
                counts[row[2]] += 1
                progress.update()
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
    check_folder(target.parent)
    check_folder(manifest.resolve().parent)
