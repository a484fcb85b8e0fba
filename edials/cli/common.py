"""What the commands share: options, where a file may go, which model it is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..anonymizer import EDIALSAnonymizer
from ..persistence import load

CONFIDENTIAL = "confidential: never part of a release"


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--labels`` and ``--keep``."""
    parser.add_argument(
        "--labels",
        type=Path,
        help="CSV with a column 'file' (a row per picture) or 'identity' (a row per person); "
        "every other column is an attribute, unless --keep names some of them",
    )
    parser.add_argument(
        "--keep",
        nargs="+",
        metavar="COLUMN",
        help="attributes that stay predictable (default: all columns of --labels)",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", default="auto", help="where torch computes (default: auto)")


def attribute_columns(attributes: pd.DataFrame, columns: Sequence[str] | None) -> pd.DataFrame:
    """The columns that ``--keep`` names; all of them without it."""
    if columns is None:
        return attributes
    unknown = sorted(set(columns) - set(attributes.columns))
    if unknown:
        raise ValueError(
            f"--keep names {unknown}; expected columns of the file given with --labels: "
            f"{sorted(attributes.columns)}."
        )
    return attributes[list(columns)]


def load_anonymizer(path: Path, device: str) -> EDIALSAnonymizer:
    """The model in a file that ``edials fit`` wrote."""
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"--model {path} {problem}; expected what 'edials fit' wrote.")
    model = load(path, device=device)
    if not isinstance(model, EDIALSAnonymizer):
        raise ValueError(f"{path} holds a {type(model).__name__}, not an anonymizer.")
    return model
