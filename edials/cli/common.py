"""What the commands share: which columns are kept, where a file may go, which model it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..anonymizer import EDIALSAnonymizer
from ..persistence import load

CONFIDENTIAL = "confidential: never part of a release"


def attribute_columns(attributes: pd.DataFrame, keep: Sequence[str] | None) -> pd.DataFrame:
    """The columns that ``--keep`` names; all of them without it."""
    if keep is None:
        return attributes
    unknown = sorted(set(keep) - set(attributes.columns))
    if unknown:
        raise ValueError(
            f"--keep names {unknown}; expected columns of the file given with --labels: "
            f"{sorted(attributes.columns)}."
        )
    return attributes[list(keep)]


def must_be_folder(folder: Path) -> None:
    """Refuse a place whose folder nobody made."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; make it first.")


def load_anonymizer(path: Path, device: str) -> EDIALSAnonymizer:
    """What ``edials fit`` wrote, and nothing else."""
    model = load(path, device=device)
    if not isinstance(model, EDIALSAnonymizer):
        raise ValueError(f"{path} holds a {type(model).__name__}, not an anonymizer.")
    return model
