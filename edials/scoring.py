"""The anonymizer's score: what is still read off a release, less what an attacker gains from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from ._targets import encode_attributes
from ._validation import encode_labels
from .audit.attackers import LatentAttacker
from .audit.risk import cells_of_people, cross_validated_excess
from .kept import name_of


def utility_less_excess(
    released: NDArray,
    y: Any,
    *,
    identity: Any,
    autoencoder: Any,
    attribute_classifier: Any,
    sample_weight: Any = None,
) -> float:
    """Balanced accuracy of a kept attribute, less the risk above the floor that it sets.

    Parameters
    ----------
    released : ndarray of shape (n_samples, height, width, 3)
    y : array-like of shape (n_samples,)
        Labels of a kept attribute, missing ones allowed: a Series of its name, or, without a name,
        of the first one.
    identity : array-like of shape (n_samples,)
    autoencoder, attribute_classifier : fitted estimators
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
    cells = cells_of_people(people, pd.DataFrame({name: true}))
    excess = cross_validated_excess(LatentAttacker(autoencoder), released, people, cells)
    return float(utility - max(0.0, excess))
