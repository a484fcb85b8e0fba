"""Certification: what every picture must pass before it may leave, and who checks it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from .._validation import to_rows, to_tensor
from ..metrics.ssim import structural_similarity
from ..models.identity_classifier import IdentityClassifier
from ..networks.inference import inference_batch_size

#: Verdicts, from best to worst.
CERTIFIED, STRENGTHENED = "certified", "strengthened"
#: Left as asked for at strength 0, or blanked: neither is part of a release.
UNCERTIFIED, WITHHELD = "uncertified", "withheld"

#: False match rate of the threshold below which a picture does not match its original.
CERTIFICATION_FMR = 0.01
# A picture this similar to its original counts as a copy.
_SAME_SSIM = 0.985
_SAME_DIFFERENCE = 2.0  # mean absolute difference, in levels of 255


class RecogniserAdapter:
    """One interface to any identity classifier: scores per person, embeddings, verification.

    Parameters
    ----------
    classifier : estimator
        One of ours; a classifier of float32 images (a skorch net); or any scikit-learn classifier,
        on flat rows of pixels in [0, 1]. With ``embed`` (unit rows) and ``threshold(fmr)`` it
        verifies pairs as well.
    fmr : float, default=0.01
        False match rate of the verification threshold.
    """

    def __init__(self, classifier: Any, fmr: float = CERTIFICATION_FMR):
        self.classifier = classifier
        self.fmr = fmr
        self.n_people = len(classifier.classes_)
        self.verifies = hasattr(classifier, "embed") and hasattr(classifier, "threshold")
        self.threshold = classifier.threshold(fmr) if self.verifies else np.nan

    def predictions(self, pictures: NDArray[np.uint8]) -> CachedPredictions:
        """Predictions for pictures, computed when they are first needed."""
        return CachedPredictions(self, pictures)

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray:
        """One score per picture and person, higher is more likely, shape (n, n_people)."""
        X = as_input(self.classifier, pictures)
        if hasattr(self.classifier, "decision_function"):
            scores = self.classifier.decision_function(X)
            if scores.ndim == 1:  # two people: scikit-learn gives the difference of their scores
                return np.stack([-scores, scores], axis=1)
            if scores.shape[1] == self.n_people:  # and not one score for every pair of people
                return scores
        if hasattr(self.classifier, "predict_proba"):
            return logit(np.clip(self.classifier.predict_proba(X), 1e-9, 1 - 1e-9))
        people = self.classifier.predict(X)
        return (people[:, None] == self.classifier.classes_[None]).astype(float)

    def embed(self, pictures: NDArray[np.uint8]) -> NDArray:
        """Unit embeddings; NaN if the classifier cannot embed."""
        if not self.verifies:
            return np.full((len(pictures), 1), np.nan)
        return self.classifier.embed(as_input(self.classifier, pictures))

    def candidates(self, predictions: CachedPredictions) -> NDArray[np.int64]:
        """Codes of the quarter of people with the highest scores, best first."""
        count = max(1, self.n_people // 4)
        return np.argsort(-predictions.logits, axis=1, kind="stable")[:, :count]

    def names_any(
        self, predictions: CachedPredictions, candidates: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether the top person is among the original's candidates, or scores are not finite."""
        named = (candidates == predictions.logits.argmax(axis=1)[:, None]).any(axis=1)
        return named | ~np.isfinite(predictions.logits).all(axis=1)

    def similarity(
        self, references: NDArray, predictions: CachedPredictions
    ) -> NDArray[np.float64]:
        """Cosine of every picture with its original's embedding; NaN without embeddings."""
        return (references * predictions.embeddings).sum(axis=1, dtype=np.float64)

    def matches(self, references: NDArray, predictions: CachedPredictions) -> NDArray[np.bool_]:
        """Whether a picture matches its original; True if unknown, False without verification."""
        if not self.verifies:
            return np.zeros(len(predictions.pictures), dtype=bool)
        # Not "above": one embedding for everybody, or NaN, must not certify anything.
        return ~(self.similarity(references, predictions) < self.threshold)

    def true_match_rate(self, pictures: NDArray[np.uint8], people: NDArray[np.int64]) -> float:
        """Share of genuine pairs above the threshold; NaN without pairs or embeddings."""
        first, second = np.triu_indices(len(people), 1)
        pairs = people[first] == people[second]
        if not self.verifies or not pairs.any():
            return float("nan")
        embedded = self.embed(pictures)
        similarity = (embedded[first[pairs]] * embedded[second[pairs]]).sum(axis=1)
        return float((similarity > self.threshold).mean())


@dataclass(frozen=True)
class CachedPredictions:
    """Pictures with what a recogniser predicts of them, each prediction computed once.

    Attributes
    ----------
    recogniser : RecogniserAdapter
    pictures : ndarray of shape (n, height, width, 3), dtype uint8
    """

    recogniser: RecogniserAdapter
    pictures: NDArray[np.uint8]

    @cached_property
    def embeddings(self) -> NDArray:
        """Of shape (n, embedding_dim), as :meth:`RecogniserAdapter.embed`."""
        return self.recogniser.embed(self.pictures)

    @cached_property
    def logits(self) -> NDArray:
        """Of shape (n, n_people), as :meth:`RecogniserAdapter.logits`."""
        if hasattr(self.recogniser.classifier, "logits_of"):
            return self.recogniser.classifier.logits_of(self.embeddings)
        return self.recogniser.logits(self.pictures)


def as_input(classifier: Any, images: NDArray) -> NDArray:
    """Images as a recogniser takes them, also one inside a FrozenEstimator or a search.

    Ours takes them as they are; a skorch net, known by its ``module``, float32 images
    (n, height, width, 3) in [0, 1]; anything else flat float32 rows.
    """
    inner = getattr(classifier, "estimator", classifier)
    if isinstance(inner, IdentityClassifier):
        return images
    rows = to_rows(images)
    return rows.reshape(images.shape) if hasattr(inner, "module") else rows


def is_original(originals: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a picture is its original or nearly so, whatever made it."""
    same = np.zeros(len(pictures), dtype=bool)
    at_once = inference_batch_size(len(pictures), pictures.shape[1:])
    row_stride = max(4, pictures.shape[1] // 32)
    for start in range(0, len(pictures), at_once):
        rows = slice(start, start + at_once)
        # Both measures are means over channels and rows. Where a part of these rules a copy out,
        # even if all others were equal, the others are not computed.
        possible = start + np.flatnonzero(
            _is_alike(
                originals[rows, ..., 1:2],
                pictures[rows, ..., 1:2],
                share=1 / 3,
                row_stride=row_stride,
            )
        )
        same[possible] = _is_alike(originals[possible], pictures[possible])
    return same


def _is_alike(
    originals: NDArray[np.uint8],
    pictures: NDArray[np.uint8],
    share: float = 1.0,
    row_stride: int = 1,
) -> NDArray[np.bool_]:
    """Whether pictures may be copies, from some channels and rows; False only if certainly not."""
    if not len(pictures):
        return np.zeros(0, dtype=bool)
    first, second = to_tensor(originals), to_tensor(pictures)
    dissimilarity = (
        share / row_stride * (1 - structural_similarity(first, second, row_stride=row_stride))
    )
    difference = share * (first - second).abs().flatten(1).mean(1) * 255
    return ((1 - dissimilarity > _SAME_SSIM) | (difference < _SAME_DIFFERENCE)).numpy()


def is_blank(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a picture is blank: no two pixels differ by more than two levels."""
    flat = pictures.reshape(len(pictures), -1, 3)
    blank = np.zeros(len(flat), dtype=bool)
    # A few pixels rule most pictures out; only the others are read whole.
    sample = flat[:, :: max(1, flat.shape[1] // 64)]
    possible = np.flatnonzero((_spread(sample) <= 2).all(axis=1))
    blank[possible] = (_spread(flat[possible]) <= 2).all(axis=1)
    return blank


def _spread(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest less smallest level of every channel, shape (n, 3)."""
    return np.ptp(pixels, axis=1) if len(pixels) else np.zeros((0, 3), dtype=np.uint8)
