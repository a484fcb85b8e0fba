"""Which kept attributes an image shows: what is seen, and what is on record of whom it resembles.

At strength 1 the answer is all that a release tells about an image. Who is misread in the same way
on every photo is marked by that among the others of their true cell; so what its user wrote down
about the people of the fit helps to read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from .._labels import AttributeTargets, Labels
from .._validation import matmul
from .certification import RecogniserAdapter, View

# An attribute belongs to people, not photos, if so many photos agree with their person's, and so
# much of that is more than chance (Cohen's kappa): what is rare everywhere agrees by itself.
_OF_PEOPLE, _KAPPA = 0.95, 0.9
# How fast resemblance falls off, in standard deviations of an image's scores for all people.
# Of 1, 2, 3, 4 and 6, this one reads enrolled people best at little cost for strangers.
_SHARPNESS = 3.0
# The probability that a record leaves to what it does not say.
_DOUBT = 0.01


def attribute_records(
    kept: AttributeTargets, people: Labels, classes: NDArray
) -> list[NDArray[np.float64]]:
    """What is on record about the people a recogniser knows.

    Parameters
    ----------
    kept : AttributeTargets
    people : Labels
    classes : ndarray of shape (n_people,)
        As the recogniser calls them.

    Returns
    -------
    list of ndarray of shape (n_people, n_classes)
        For every attribute, 1 at a person's class; even where that is not known, and everywhere for
        an attribute that differs between photos of one person, such as a smile.
    """
    places = {name: place for place, name in enumerate(classes.tolist())}
    known_as = np.array([places.get(name, -1) for name in people.classes.tolist()])
    records = []
    for codes, size in zip(kept.codes.T, kept.sizes, strict=True):
        rows = (people.codes >= 0) & (codes >= 0)
        counts = np.zeros((len(people.classes), size))
        np.add.at(counts, (people.codes[rows], codes[rows]), 1)
        record = np.full((len(classes), size), 1 / size)
        several = counts[counts.sum(axis=1) >= 2]  # one photo always agrees with itself
        photos = max(several.sum(), 1)
        agree, chance = several.max(axis=1).sum() / photos, ((several.sum(0) / photos) ** 2).sum()
        if agree >= _OF_PEOPLE and agree - chance >= _KAPPA * (1 - chance):
            sure = (counts.sum(axis=1) > 0) & (known_as >= 0)
            record[known_as[sure]] = np.eye(size)[counts[sure].argmax(axis=1)]
        records.append(record)
    return records


@dataclass(frozen=True)
class AttributeReader:
    """The attribute classifier's opinion, together with the records of the people of the fit.

    ``log p(a | x) + log(sum over people of P(p | x) [p's attribute is a] + 0.01)``, the most likely
    class of each attribute. How much an image resembles people is the recogniser's scores,
    standardized over people: any recogniser's scores will do.

    Attributes
    ----------
    classifier : AttributeClassifier or None
        None keeps nothing.
    recogniser : RecogniserAdapter
    records : list of ndarray of shape (n_people, n_classes)
        See :func:`attribute_records`.
    """

    classifier: Any
    recogniser: RecogniserAdapter
    records: list[NDArray[np.float64]]

    @property
    def useful(self) -> bool:
        """Whether the records say anything."""
        return any(np.ptp(record) > 0 for record in self.records)

    def codes(self, images: NDArray[np.uint8], view: View | None = None) -> NDArray[np.int64]:
        """Attributes of images as class codes.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, 3), dtype uint8
        view : View, optional
            The recogniser's, if it has looked at the images already.

        Returns
        -------
        ndarray of shape (n, n_attributes)
        """
        if self.classifier is None:
            return np.empty((len(images), 0), dtype=np.int64)
        if not self.useful:
            return self.classifier.predict_codes(images)
        seen_by_panel = self.recogniser.logits(images) if view is None else view.logits
        scores = np.array(seen_by_panel, dtype=np.float64)
        # A recogniser that says nothing about an image leaves it to the classifier.
        scores[~np.isfinite(scores).all(axis=1)] = 0.0
        spread = scores.std(axis=1, keepdims=True)
        scores = (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
        resemblance = softmax(_SHARPNESS * scores, axis=1)
        return np.stack(
            [
                (
                    log_softmax(seen.astype(np.float64), axis=1)
                    + np.log(matmul(resemblance, r) + _DOUBT)
                )
                .argmax(axis=1)
                .astype(np.int64)
                for seen, r in zip(self.classifier.logits(images), self.records, strict=True)
            ],
            axis=1,
        )
