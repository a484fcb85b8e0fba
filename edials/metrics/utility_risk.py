"""The anonymizer's score: accuracy of an attribute on a release, less the excess risk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from .._labels import encode_labels
from .._validation import check_weights
from ..exceptions import InvalidLabelsError
from .linear_attack import LatentAttacker
from .risk import attribute_cells, cross_validated_excess


def check_scorable(attribute_classifier: Any, identity: Any) -> None:
    """Refuse to score without an attribute or without identities."""
    if attribute_classifier is None:
        raise InvalidLabelsError("score needs an attribute; fit with y or attributes.")
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
    attribute_codes: NDArray[np.int64],
    sample_weight: Any = None,
) -> float:
    """Balanced accuracy of one attribute, less the risk in excess of the floor of all of them.

    ``y`` holds labels of one attribute, missing ones allowed. They replace its column of
    ``attribute_codes`` (n_samples, n_attributes), which are predicted from the originals.
    ``sample_weight`` weighs the accuracy.
    """
    classes = attribute_classifier.classes_per_attribute_
    names = list(classes)
    name = attribute_name(y, names)
    labels = encode_labels(y, name="y", n_samples=len(released))
    places = {label: code for code, label in enumerate(classes[name].tolist())}
    if not set(places) & set(labels.classes.tolist()):
        raise InvalidLabelsError(
            f"y holds {labels.classes.tolist()[:5]}, not seen in fit; expected some of the labels "
            f"{list(places)} of the attribute {name!r}."
        )
    # A label that fit has not seen, as a fold may hold, has a code of its own: predictions miss it.
    codes = [places.get(label, len(places) + k) for k, label in enumerate(labels.classes.tolist())]
    true = np.where(labels.known, np.array(codes)[labels.codes], -1)
    has_label = labels.known
    predicted = attribute_classifier.predict_codes(released)[has_label, names.index(name)]
    weights = None
    if sample_weight is not None:
        weights = check_weights(sample_weight, len(released))[has_label]
    utility = recall_score(
        true[has_label],
        predicted,
        labels=np.unique(true[has_label]),
        average="macro",
        sample_weight=weights,
    )
    people = encode_labels(identity, name="identity", n_samples=len(released)).codes
    attributes = pd.DataFrame(attribute_codes, columns=names).assign(**{name: true})
    cells = attribute_cells(people, attributes)
    excess = cross_validated_excess(LatentAttacker(autoencoder), released, people, cells)
    return float(utility - max(0.0, excess))


def attribute_name(y: Any, names: list[str]) -> str:
    """Attribute that ``y`` holds: the one a Series is named after, else the first."""
    name = getattr(y, "name", None)
    if name is None or len(names) == 1:
        return names[0]
    if name not in names:
        raise InvalidLabelsError(f"y is named {name!r}; expected one of the attributes {names!r}.")
    return str(name)
