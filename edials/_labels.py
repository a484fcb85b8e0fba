"""Labels as integer codes: one column of people, or a table of attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from .exceptions import InvalidLabelsError


@dataclass(frozen=True)
class AttributeTargets:
    """Attributes as codes.

    ``codes`` (n_samples, n_attributes) has every image's class of every attribute, -1 where it is
    missing; ``classes`` the sorted classes, in column order.
    """

    codes: NDArray[np.int64]
    classes: dict[str, NDArray]

    @property
    def sizes(self) -> list[int]:
        """Number of classes of each attribute."""
        return [len(classes) for classes in self.classes.values()]

    def class_weights(self, device: torch.device) -> list[torch.Tensor]:
        """Weights inversely proportional to the square root of the class counts, mean 1.

        The square root is a compromise: full balancing would let a class of a handful of images
        dominate the gradient.
        """
        weights = []
        for column, size in enumerate(self.sizes):
            known = self.codes[self.codes[:, column] >= 0, column]
            counts = np.maximum(np.bincount(known, minlength=size), 1)
            weight = counts**-0.5
            weight = weight * (len(known) / max((weight * counts).sum(), 1e-12))
            weights.append(torch.as_tensor(weight, dtype=torch.float32, device=device))
        return weights

    def table(self) -> pd.DataFrame:
        """The labels, one column per attribute; None where missing."""
        columns = {}
        for column, (name, classes) in enumerate(self.classes.items()):
            values = np.full(len(self.codes), None, dtype=object)
            known = self.codes[:, column] >= 0
            values[known] = classes[self.codes[known, column]]
            columns[name] = values
        return pd.DataFrame(columns, dtype=object)

    def take(self, rows: NDArray) -> AttributeTargets:
        """The targets of some images, with all classes."""
        return AttributeTargets(self.codes[rows], self.classes)

    def one_hot(self) -> NDArray[np.float64]:
        """Indicator matrix of shape (n_samples, sum(sizes)); missing labels are spread evenly."""
        return one_hot(self.codes, self.sizes)


def one_hot(codes: NDArray[np.int64], sizes: list[int]) -> NDArray[np.float64]:
    """Indicator matrix (n_samples, sum(sizes)) of codes; a missing label counts 1 / size each."""
    blocks = []
    for column, size in enumerate(sizes):
        block = np.eye(size)[np.maximum(codes[:, column], 0)]
        block[codes[:, column] < 0] = 1.0 / size
        blocks.append(block)
    return np.concatenate(blocks, axis=1) if blocks else np.empty((len(codes), 0))


def encode_attributes(
    attributes: Any, n_samples: int, classes: Mapping[str, NDArray] | None = None
) -> AttributeTargets | None:
    """Check attributes and encode them; a label outside known ``classes`` is an error."""
    table = check_attributes(attributes, n_samples)
    if table is None:
        return None
    columns, classes_by_name = [], {}
    for name in table.columns:
        labels = encode_labels(table[name], name=f"attribute {name!r}")
        if classes is None:
            classes_by_name[name] = labels.classes
            columns.append(labels.codes)
            continue
        known = list(classes[name])
        unseen = [value for value in labels.classes if value not in known]
        if unseen:
            raise InvalidLabelsError(
                f"Attribute {name!r} has labels {unseen[:5]!r} that were not seen in fit; "
                f"expected some of {known!r}."
            )
        classes_by_name[name] = classes[name]
        lookup = np.array([known.index(value) for value in labels.classes], dtype=np.int64)
        columns.append(np.where(labels.known, lookup[labels.codes], -1))
    return AttributeTargets(np.stack(columns, axis=1), classes_by_name)


def decode_attributes(codes: NDArray[np.int64], classes: Mapping[str, NDArray]) -> pd.DataFrame:
    """Turn a code table back into labels, one column per attribute; nothing may be missing."""
    return pd.DataFrame(
        {name: labels[codes[:, column]] for column, (name, labels) in enumerate(classes.items())}
    )


@dataclass(frozen=True)
class Labels:
    """One column of labels as integer codes.

    ``codes`` (n_samples,) are indices into the sorted ``classes``; -1 where the label is missing.
    """

    codes: NDArray[np.int64]
    classes: NDArray

    def take(self, rows: NDArray) -> Labels:
        """The labels of some images, with all classes."""
        return Labels(self.codes[rows], self.classes)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where a label is present, shape (n_samples,)."""
        return self.codes >= 0


def encode_labels(values: ArrayLike, *, name: str, n_samples: int | None = None) -> Labels:
    """Encode one column of labels, called ``name`` in errors.

    None, NaN, and -1 among integers are missing. All must be strings, or all integers.
    """
    if isinstance(values, dict):
        raise InvalidLabelsError(
            f"{name} is a dict; expected an array or DataFrame with one row per image, because "
            f"cross-validation slices those and not dicts. Use pandas.DataFrame({name})."
        )
    if values is None:
        raise InvalidLabelsError(f"{name} is required; got None, expected one label per image.")
    # pandas' own arrays stay as they are, so that their missing entries are seen as such.
    array: Any = values
    if not hasattr(values, "ndim"):
        array = np.asarray(values, dtype=object if isinstance(values, (list, tuple)) else None)
    if array.ndim != 1:
        raise InvalidLabelsError(
            f"{name} has shape {array.shape}; expected (n_samples,), one label per image."
        )
    column = pd.Series(array)
    if n_samples is not None and len(column) != n_samples:
        raise InvalidLabelsError(
            f"{name} has {len(column)} entries for {n_samples} images; expected one per image."
        )
    missing = column.isna().to_numpy(dtype=bool)
    plain = column.to_numpy(dtype=object)
    numeric = all(
        isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        for value in plain[~missing]
    )
    if numeric:
        fractional = [value for value in plain[~missing] if not float(value).is_integer()]
        if fractional:
            raise InvalidLabelsError(
                f"{name} holds fractional numbers such as {fractional[0]!r}. Unknown label type: "
                f"continuous. Expected classes; cut continuous values into groups first "
                f"(pandas.cut)."
            )
        pairs = zip(missing, plain, strict=True)
        missing = np.array([gap or value == -1 for gap, value in pairs], dtype=bool)
    if missing.all():
        raise InvalidLabelsError(f"Every entry of {name} is missing; expected at least one label.")
    kinds = {isinstance(value, str) for value in plain[~missing]}
    try:
        if len(kinds) > 1:  # NumPy would turn 1 and "1" into one label
            raise TypeError("strings and others")
        classes, inverse = np.unique(np.array(list(plain[~missing])), return_inverse=True)
    except TypeError as error:
        raise InvalidLabelsError(
            f"{name} mixes types that cannot be sorted together: {error}. Expected all strings or "
            f"all integers."
        ) from error
    codes = np.full(len(column), -1, dtype=np.int64)
    codes[~missing] = inverse
    return Labels(codes, classes)


def check_attributes(attributes: Any, n_samples: int) -> pd.DataFrame | None:
    """Bring attributes to a table, one categorical column each; missing labels are None."""
    if attributes is None:
        return None
    if isinstance(attributes, dict):
        raise InvalidLabelsError(
            "attributes is a dict; expected a DataFrame, because cross-validation slices those and "
            "not dicts. Use pandas.DataFrame(attributes)."
        )
    if isinstance(attributes, pd.DataFrame):
        table = attributes.reset_index(drop=True)
    elif isinstance(attributes, pd.Series):
        table = attributes.reset_index(drop=True).to_frame(attributes.name or "attribute")
    else:
        array = np.asarray(attributes)
        if array.ndim == 1:
            table = pd.DataFrame({"attribute": array})
        elif array.ndim == 2:
            table = pd.DataFrame(array, columns=[f"attribute_{i}" for i in range(array.shape[1])])
        else:
            raise InvalidLabelsError(
                f"attributes has shape {array.shape}; expected (n_samples,) or (n_samples, "
                f"n_attributes)."
            )
    if len(table) != n_samples:
        raise InvalidLabelsError(
            f"attributes has {len(table)} rows for {n_samples} images; expected one per image."
        )
    if not table.shape[1]:
        return None
    decoded = {}
    for column in table.columns:
        labels = encode_labels(table[column], name=f"attribute {column!r}")
        values = np.full(n_samples, None, dtype=object)
        values[labels.known] = labels.classes[labels.codes[labels.known]]
        decoded[str(column)] = values
    return pd.DataFrame(decoded, dtype=object)
