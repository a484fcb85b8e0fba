"""The anonymizer's score: what is still read off a release, less what an attacker gains from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from .._labels import encode_attributes, encode_labels
from ..exceptions import InvalidLabelsError
from .linear_attack import LatentAttacker
from .risk import attribute_cells, cross_validated_excess


def check_scorable(attribute_classifier: Any, identity: Any) -> None:
    """Refuse to score without a kept attribute, or without knowing who is on the images."""
    if attribute_classifier is None:
        raise InvalidLabelsError("score needs a kept attribute; fit with y or attributes.")
    if identity is None:
        raise InvalidLabelsError(
            "score needs identity=, who is on each image, to measure risk. In cross-validation "
            "switch metadata routing on: sklearn.set_config(enable_metadata_routing=True)."
        )


def utility_minus_excess_risk(
    released: NDArray,
    y: Any,
    *,
    identity: Any,
    autoencoder: Any,
    attribute_classifier: Any,
    read: NDArray[np.int64],
    sample_weight: Any = None,
) -> float:
    """Balanced accuracy of a kept attribute, less the risk above the floor that all of them set.

    Parameters
    ----------
    released : ndarray of shape (n_samples, height, width, 3)
    y : array-like of shape (n_samples,)
        Labels of a kept attribute, missing ones allowed: a Series of its name, or, without a name,
        of the first one.
    identity : array-like of shape (n_samples,)
    autoencoder, attribute_classifier : fitted estimators
    read : ndarray of shape (n_samples, n_attributes)
        Kept attributes as read off the originals, as codes: the others beside ``y`` are kept, too.
    sample_weight : array-like of shape (n_samples,), optional
        Of the accuracy.
    """
    names = list(attribute_classifier.classes_per_attribute_)
    name = name_of(y, names)
    classes = attribute_classifier.classes_per_attribute_[name]
    column = pd.DataFrame({name: np.asarray(y, dtype=object)})
    labels = encode_attributes(column, len(released), {name: classes})
    assert labels is not None
    true = labels.codes[:, 0]
    known = true >= 0
    predicted = attribute_classifier.predict_codes(released)[known, names.index(name)]
    weights = None if sample_weight is None else np.asarray(sample_weight)[known]
    utility = balanced_accuracy_score(true[known], predicted, sample_weight=weights)
    people = encode_labels(identity, name="identity", n_samples=len(released)).codes
    kept = pd.DataFrame(read, columns=names)
    kept[name] = true
    cells = attribute_cells(people, kept)
    excess = cross_validated_excess(LatentAttacker(autoencoder), released, people, cells)
    return float(utility - max(0.0, excess))


def name_of(y: Any, names: list[str]) -> str:
    """Which kept attribute some labels are: the one a Series is named after, else the first."""
    name = getattr(y, "name", None)
    if name is None or len(names) == 1:
        return names[0]
    if name not in names:
        raise InvalidLabelsError(f"y is named {name!r}; expected one of the kept {names!r}.")
    return str(name)
