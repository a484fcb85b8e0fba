"""Several label columns as one integer table, the form every network learns them from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ._validation import check_attributes, encode_labels
from .exceptions import InvalidLabelsError


@dataclass(frozen=True)
class AttributeTargets:
    """Kept attributes as codes.

    Attributes
    ----------
    codes : ndarray of shape (n_samples, n_attributes), dtype int64
        Class of every attribute; -1 where missing.
    classes : dict of str to ndarray
        Sorted classes of every attribute, in column order.
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
        """The labels again, one column per attribute; None where missing."""
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
    """Check attributes and encode them; None stays None.

    Parameters
    ----------
    attributes : DataFrame, Series, array-like or None
        As in :func:`edials._validation.check_attributes`.
    n_samples : int
    classes : mapping, optional
        Known classes by attribute; a label outside them is an error.

    Raises
    ------
    InvalidLabelsError
        As there, and if an attribute has a single class or a label that was not seen in fit.
    """
    table = check_attributes(attributes, n_samples)
    if table is None:
        return None
    columns, found = [], {}
    for name in table.columns:
        labels = encode_labels(table[name], name=f"attribute {name!r}")
        if classes is None:
            found[name] = labels.classes
            columns.append(labels.codes)
            continue
        known = list(classes[name])
        unseen = [value for value in labels.classes if value not in known]
        if unseen:
            raise InvalidLabelsError(
                f"Attribute {name!r} has labels {unseen[:5]!r} that were not seen in fit; "
                f"expected some of {known!r}."
            )
        found[name] = classes[name]
        lookup = np.array([known.index(value) for value in labels.classes], dtype=np.int64)
        columns.append(np.where(labels.known, lookup[labels.codes], -1))
    return AttributeTargets(np.stack(columns, axis=1), found)


def decode_attributes(codes: NDArray[np.int64], classes: Mapping[str, NDArray]) -> pd.DataFrame:
    """Turn a code table back into labels, one column per attribute; nothing may be missing."""
    return pd.DataFrame(
        {name: labels[codes[:, column]] for column, (name, labels) in enumerate(classes.items())}
    )
