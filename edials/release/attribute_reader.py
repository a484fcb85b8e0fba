"""Predicting attributes: a classifier, corrected by records of the people whom an image resembles.

At strength 1 the predicted attributes are all that a release tells about an image. A person whose
attributes are always misclassified in the same way stands out from the rest of their cell, so the
labels given in fit correct the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from .._labels import AttributeTargets, Labels
from .._validation import matmul
from .certification import CachedPredictions, RecogniserAdapter

# An attribute belongs to people, not photos, if photos agree with their person's majority this
# often and Cohen's kappa is this high: a rare class agrees often by chance.
_MIN_AGREEMENT, _MIN_KAPPA = 0.95, 0.9
# Inverse temperature of the resemblance, on scores standardised over people. Of 1, 2, 3, 4 and 6,
# this one reads enrolled people best at little cost for strangers.
_SHARPNESS = 3.0
# Probability that a record leaves to other classes.
_RECORD_ERROR = 0.01


def attribute_records(
    attributes: AttributeTargets, people: Labels, classes: NDArray
) -> list[NDArray[np.float64]]:
    """Attributes of a recogniser's people: for every attribute an array (n_people, n_classes).

    1 at a person's class. Even where it is unknown, and everywhere for an attribute that differs
    between photos of one person, such as a smile.
    """
    columns = {name: column for column, name in enumerate(classes.tolist())}
    column_of = np.array([columns.get(name, -1) for name in people.classes.tolist()])
    records = []
    for codes, size in zip(attributes.codes.T, attributes.sizes, strict=True):
        rows = (people.codes >= 0) & (codes >= 0)
        counts = np.zeros((len(people.classes), size))
        np.add.at(counts, (people.codes[rows], codes[rows]), 1)
        record = np.full((len(classes), size), 1 / size)
        repeated = counts[counts.sum(axis=1) >= 2]  # one photo always agrees with itself
        photos = max(repeated.sum(), 1)
        agree, chance = repeated.max(axis=1).sum() / photos, ((repeated.sum(0) / photos) ** 2).sum()
        if agree >= _MIN_AGREEMENT and agree - chance >= _MIN_KAPPA * (1 - chance):
            recorded = (counts.sum(axis=1) > 0) & (column_of >= 0)
            record[column_of[recorded]] = np.eye(size)[counts[recorded].argmax(axis=1)]
        records.append(record)
    return records


@dataclass(frozen=True)
class AttributeReader:
    """Predicts attributes as class codes.

    ``log p(a | x) + log(sum over people of P(p | x) [p's attribute is a] + 0.01)``, the most likely
    class of each attribute. ``P(p | x)`` is a softmax of the recogniser's scores, standardised over
    people, so that any recogniser serves.

    Attributes
    ----------
    classifier : AttributeClassifier or None
        None without attributes.
    recogniser : RecogniserAdapter
    records : list of ndarray of shape (n_people, n_classes)
        See :func:`attribute_records`.
    """

    classifier: Any
    recogniser: RecogniserAdapter
    records: list[NDArray[np.float64]]

    @property
    def useful(self) -> bool:
        """Whether any record differs from the uniform one."""
        return any(np.ptp(record) > 0 for record in self.records)

    def codes(
        self, images: NDArray[np.uint8], predictions: CachedPredictions | None = None
    ) -> NDArray[np.int64]:
        """Attribute codes of images, shape (n, n_attributes)."""
        if self.classifier is None:
            return np.empty((len(images), 0), dtype=np.int64)
        if not self.useful:
            return self.classifier.predict_codes(images)
        logits = self.recogniser.logits(images) if predictions is None else predictions.logits
        scores = np.array(logits, dtype=np.float64)
        # Without finite scores the classifier decides alone.
        scores[~np.isfinite(scores).all(axis=1)] = 0.0
        spread = scores.std(axis=1, keepdims=True)
        scores = (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
        resemblance = softmax(_SHARPNESS * scores, axis=1)
        return np.stack(
            [
                (
                    log_softmax(logits_of_attribute.astype(np.float64), axis=1)
                    + np.log(matmul(resemblance, r) + _RECORD_ERROR)
                )
                .argmax(axis=1)
                .astype(np.int64)
                for logits_of_attribute, r in zip(
                    self.classifier.logits(images), self.records, strict=True
                )
            ],
            axis=1,
        )
