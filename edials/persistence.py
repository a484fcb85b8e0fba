"""Saving fitted estimators without pickle: loading a file runs none of its contents.

A file is a zip of one JSON description and plain NumPy arrays. It is confidential all the same: it
holds the key of the draws, the names of the people, a network that recognises them, and the mean
embeddings and latents of people with many photos.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._random import torch_defaults
from ._validation import resolve_device
from .anonymizer import EDIALSAnonymizer
from .exceptions import ModelFileError
from .images import ImageReader
from .latent.identity_basis import IdentityBasis
from .latent.identity_regression import IdentityRegression
from .latent.model import LatentFeatures, LatentModel
from .latent.surrogates import SurrogatePrior
from .models.attribute_classifier import AttributeClassifier
from .models.autoencoder import AdversarialAutoencoder
from .models.identity_classifier import IdentityClassifier
from .models.surrogate_decoder import SurrogateDecoder

#: Grows when an older edials could not read the file.
FORMAT_VERSION = 7
_ESTIMATORS: dict[str, type[BaseEstimator]] = {
    kind.__name__: kind
    for kind in (
        AdversarialAutoencoder,
        AttributeClassifier,
        EDIALSAnonymizer,
        IdentityClassifier,
        ImageReader,
        SurrogateDecoder,
    )
}
_RECORDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (IdentityBasis, IdentityRegression, LatentFeatures, LatentModel, SurrogatePrior)
}


def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> Path:
    """Save a fitted edials estimator to one file, readable by its owner alone.

    Parameters
    ----------
    estimator : EDIALSAnonymizer, AdversarialAutoencoder, IdentityClassifier, AttributeClassifier
        Modules, explainers and scikit-learn classifiers of a user inside it cannot be described
        without running code: use joblib for these.
    path : path of the file
        Written whole or not at all; an existing file is replaced.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ModelFileError
        If a part of it cannot be saved this way.
    """
    check_is_fitted(estimator)
    arrays: dict[str, NDArray] = {}
    tree = {"edials": FORMAT_VERSION, "estimator": _describe(estimator, "estimator", arrays)}
    with private_file(Path(path)) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.json", json.dumps(tree))
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return Path(path)


@contextlib.contextmanager
def private_file(target: Path) -> Iterator[BinaryIO]:
    """A file that nobody else may read, written whole or not at all."""
    check_folder(target.parent)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def check_folder(folder: Path) -> None:
    """Refuse a folder that does not exist."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; make it first.")


@torch_defaults()
def load(path: str | os.PathLike[str], *, device: str = "auto") -> Any:
    """Load what :func:`save` wrote.

    Parameters
    ----------
    path : path of the file
    device : str, default="auto"
        Where the networks go.

    Returns
    -------
    estimator
        Fitted; it gives the same output as the one that was saved, on the same kind of device.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is not one of ours, damaged, or from a newer edials.
    ValueError
        If torch does not know the device.
    """
    resolved = resolve_device(device)
    with open(path, "rb") as file:
        if file.read(2) != b"PK":  # how a zip begins
            raise ModelFileError(f"{str(path)!r} is not a file of edials.save.")
    try:
        with zipfile.ZipFile(path) as archive:
            tree = json.loads(archive.read("model.json"))
            version, content = tree["edials"], tree.get("estimator", {})
            while content.get("kind") == "frozen":
                content = content["estimator"]
            newer = version > FORMAT_VERSION
            # An older file of a network alone still loads.
            older = version < FORMAT_VERSION
            if newer or (older and content.get("name") == "EDIALSAnonymizer"):
                raise ModelFileError(
                    f"{str(path)!r} has format {version}; expected {FORMAT_VERSION}. "
                    f"{'Update edials' if newer else 'Fit it again'}."
                )
            return _Rebuilder(archive, device, resolved).build(tree["estimator"])
    except ModelFileError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelFileError(
            f"{str(path)!r} is not a whole file of edials.save ({error}). Expected one; save the "
            f"model again."
        ) from error


def _describe(value: Any, where: str, arrays: dict[str, NDArray]) -> Any:
    """A value as JSON; arrays are collected apart and referred to by name."""

    def inner(mapping: dict[str, Any]) -> dict[str, Any]:
        return {key: _describe(v, f"{where}.{key}", arrays) for key, v in mapping.items()}

    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return _describe(value.detach().cpu().numpy(), where, arrays)
    if isinstance(value, np.ndarray) and value.dtype != object:
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"kind": "array", "name": name}
    if type(value) in (list, tuple) or isinstance(value, np.ndarray):
        kind = "labels" if isinstance(value, np.ndarray) else type(value).__name__
        return {"kind": kind, "items": [_describe(v, f"{where}[]", arrays) for v in value]}
    if isinstance(value, bytes):
        return {"kind": "bytes", "hex": value.hex()}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"kind": "dict", "items": inner(value)}
    if isinstance(value, nn.Linear):
        return {"kind": "linear", "items": inner(dict(value.state_dict()))}
    if isinstance(value, FrozenEstimator):
        return {"kind": "frozen", "estimator": _describe(value.estimator, where, arrays)}
    name = type(value).__name__
    if type(value) is _RECORDS.get(name):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"kind": "record", "name": name, "items": inner(fields)}
    if type(value) is _ESTIMATORS.get(name):
        return _describe_estimator(value, name, inner)
    raise ModelFileError(
        f"{where} is {value!r:.80}, which cannot be saved without pickle; expected edials' own "
        f"estimators with their own networks and settings in plain values. Use joblib.dump."
    )


def _describe_estimator(
    value: Any, name: str, inner: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    params = value.get_params(deep=False)
    # The network is built from the parameters and filled; the skorch net around it follows.
    fitted = {key: v for key, v in vars(value).items() if key not in params and key != "net_"}
    described = {"kind": "estimator", "name": name, "params": inner(params)}
    described["fitted"] = inner(fitted)
    if hasattr(value, "module_"):
        described["weights"] = inner(dict(value.module_.state_dict()))
    return described


class _Rebuilder:
    """Turns a description back into objects; names outside the tables above are refused."""

    def __init__(self, archive: zipfile.ZipFile, device: str, resolved: torch.device):
        self.archive, self.device, self.resolved = archive, device, resolved

    def build(self, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        kind = tree["kind"]
        if kind == "array":
            raw = io.BytesIO(self.archive.read(f"{tree['name']}.npy"))
            return np.lib.format.read_array(raw, allow_pickle=False)
        if kind == "bytes":
            return bytes.fromhex(tree["hex"])
        if kind == "frozen":
            return FrozenEstimator(self.build(tree["estimator"]))
        if kind == "estimator":
            return self._estimator(tree)
        if kind in ("list", "tuple", "labels"):
            entries = [self.build(item) for item in tree["items"]]
            if kind == "labels":
                return np.fromiter(entries, dtype=object, count=len(entries))
            return entries if kind == "list" else tuple(entries)
        items = {key: self.build(value) for key, value in tree["items"].items()}
        if kind == "dict":
            return items
        if kind == "linear":
            return self._linear(items)
        if kind == "record":
            return _RECORDS[tree["name"]](**items)
        raise ValueError(f"unknown kind {kind!r}")

    def _linear(self, state: dict[str, NDArray]) -> nn.Linear:
        rows, columns = state["weight"].shape
        layer = nn.utils.skip_init(nn.Linear, columns, rows).to(self.resolved)
        layer.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
        return layer.requires_grad_(False)

    def _estimator(self, tree: dict[str, Any]) -> Any:
        params = {key: self.build(value) for key, value in tree["params"].items()}
        if "device" in params:
            params["device"] = self.device
        estimator: Any = _ESTIMATORS[tree["name"]](**params)
        for key, value in tree["fitted"].items():
            setattr(estimator, key, self.build(value))
        if "weights" in tree:
            module = estimator._new_module(seed=0)
            weights = {k: torch.as_tensor(self.build(v)) for k, v in tree["weights"].items()}
            module.load_state_dict(weights)
            estimator._hold(module, self.resolved)
        return estimator
