"""``edials fit``: labelled faces in, a model out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.utils import Bunch

from .._validation import SIZE_MULTIPLE
from ..anonymizer import EDIALSAnonymizer
from ..datasets import load_image_folder
from ..datasets._image_folder import ImageSource
from ..models.attribute_classifier import AttributeClassifier
from ..models.autoencoder import AdversarialAutoencoder
from ..models.identity_classifier import IdentityClassifier
from ..models.surrogate_decoder import SurrogateDecoder
from ..persistence import check_folder, save
from .common import (
    CONFIDENTIAL,
    add_device_option,
    add_label_options,
    attribute_columns,
)


def add_fit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "fit",
        help="fit a model on labelled faces",
        description="Learn from labelled faces which features identify people, and write a model "
        "that anonymizes pictures of anybody. It needs two people with two pictures each, at "
        "least.",
    )
    parser.add_argument("faces", type=Path, help="a folder with one folder per person")
    add_label_options(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="MODEL", help=f"file to write; {CONFIDENTIAL}"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing MODEL")
    parser.add_argument(
        "--size",
        type=int,
        default=64,
        help="pictures are cropped to a centred square and resized to this many pixels, a "
        "multiple of 16 (default: 64)",
    )
    parser.add_argument(
        "--networks",
        choices=("tiny", "small", "base"),
        default="small",
        help="tiny to try out, small for 64 pixels, base for 128 (default: small)",
    )
    parser.add_argument(
        "--epochs", type=int, help="of every network (default: chosen from the data size)"
    )
    add_device_option(parser)
    parser.add_argument(
        "--seed", type=int, help="do not set for a release: the seed reveals the random draws"
    )
    parser.set_defaults(run=run_fit)


def run_fit(options: argparse.Namespace) -> None:
    """Read the faces, fit, say what was chosen, write the model."""
    _check_options(options)
    data = load_image_folder(options.faces, labels=options.labels, size=options.size)
    attributes = attribute_columns(data.attributes, options.keep)
    _print_summary(options, data, attributes)
    networks: dict[str, Any] = {
        "size": options.networks,
        "max_epochs": options.epochs,
        "device": options.device,
        "verbose": 1,
    }
    model = EDIALSAnonymizer(
        AdversarialAutoencoder(**networks),
        identity_classifier=IdentityClassifier(**networks),
        attribute_classifier=AttributeClassifier(**networks),
        surrogate_decoder=SurrogateDecoder(**networks),
        device=options.device,
        random_state=options.seed,
    )
    model.fit(
        data.images,
        identity=data.identity,
        attributes=attributes if len(attributes.columns) else None,
    )
    print(_strength_in_words(model))
    print(f"{save(model, options.out)} ({CONFIDENTIAL})")


def _check_options(options: argparse.Namespace) -> None:
    check_folder(options.out.absolute().parent)
    if options.out.is_dir() or (options.out.exists() and not options.force):
        raise ValueError(
            f"{options.out} exists; its key made earlier releases. Name another, or use --force."
        )
    if options.size < SIZE_MULTIPLE or options.size % SIZE_MULTIPLE:
        raise ValueError(f"--size {options.size}; expected a multiple of {SIZE_MULTIPLE}.")


def _print_summary(options: argparse.Namespace, data: Bunch, attributes: pd.DataFrame) -> None:
    people = pd.Series(data.identity)
    print(
        f"{len(people)} pictures of {people.nunique()} people, {people.isna().sum()} without a "
        f"name; attributes: {', '.join(attributes.columns) or 'none'}"
    )
    left_out = len(ImageSource(options.faces).names) - len(data.images)
    if left_out:
        print(f"{left_out} pictures are not in {options.labels} and are left out")
    if "split" in data:
        print("the column 'split' is not used: the model is fitted on every row")


def _strength_in_words(model: EDIALSAnonymizer) -> str:
    if model.strength_ == 1:
        return "strength 1: every feature is replaced"
    frontier = model.frontier_
    row = abs(frontier["strength"] - model.strength_).argmin()
    return (
        f"strength {model.strength_:.3g}: {frontier['n_retained'][row]} of {len(model.order_)} "
        f"features are retained, at {frontier['leakage_bits'][row]:.2f} bit per photo "
        f"[{frontier['leakage_low'][row]:.2f}, {frontier['leakage_high'][row]:.2f}]"
    )
