"""The door: what every image must pass before it may leave, and the recogniser that watches it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit

from ._validation import to_tensor
from .losses import structural_similarity

#: Verdicts, from best to worst.
CERTIFIED, STRENGTHENED = "certified", "strengthened"
#: Left as asked for at strength 0, or blanked: neither is part of a release.
UNCERTIFIED, WITHHELD = "uncertified", "withheld"

# A picture this similar to its original is the original, saved again.
_SAME_SSIM = 0.985
_SAME_DIFFERENCE = 2.0  # mean absolute difference, in levels of 255


class Panel:
    """The identity classifier as the door sees it: whom does it name, and do two pictures match.

    Parameters
    ----------
    classifier : estimator
        One of ours, or any scikit-learn classifier on flat rows of pixels in [0, 1].
    fmr : float
        False match rate of the verification threshold.
    """

    def __init__(self, classifier: Any, fmr: float):
        self.classifier = classifier
        self.on_images = takes_images(classifier)
        self.n_people = len(classifier.classes_)
        self.verifies = hasattr(classifier, "embed") and hasattr(classifier, "threshold")
        self.threshold = classifier.threshold(fmr) if self.verifies else np.nan

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray:
        """One score per picture and person, higher is more likely, shape (n, n_people)."""
        X = as_input(pictures, self.on_images)
        if self.on_images and hasattr(self.classifier, "decision_function"):
            return self.classifier.decision_function(X)
        if hasattr(self.classifier, "predict_proba"):
            return logit(np.clip(self.classifier.predict_proba(X), 1e-9, 1 - 1e-9))
        named = self.classifier.predict(X)
        return (named[:, None] == self.classifier.classes_[None]).astype(float)

    def candidates(self, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The quarter of the people that each picture most resembles, best first, as codes."""
        count = max(1, self.n_people // 4)
        return np.argsort(-self.logits(pictures), axis=1, kind="stable")[:, :count]

    def names_any(
        self, pictures: NDArray[np.uint8], candidates: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether the person named is one of the original's candidates: evasion with a margin."""
        named = self.logits(pictures).argmax(axis=1)
        return (candidates == named[:, None]).any(axis=1)

    def similarity(
        self, originals: NDArray[np.uint8], pictures: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        """Cosine of every picture with its own original; NaN if the classifier cannot embed."""
        if not self.verifies:
            return np.full(len(pictures), np.nan)
        first = self.classifier.embed(as_input(originals, self.on_images))
        second = self.classifier.embed(as_input(pictures, self.on_images))
        return (first * second).sum(axis=1, dtype=np.float64)


def takes_images(classifier: Any) -> bool:
    """Whether a classifier takes image arrays: ours, a skorch net or a module do; others rows."""
    # A fitted one of ours or a skorch net has ``module_``; before that, ``module`` is a parameter.
    inside = getattr(classifier, "estimator", classifier)  # of a FrozenEstimator
    return any(hasattr(inside, name) for name in ("module_", "module")) or isinstance(
        inside, torch.nn.Module
    )


def as_input(pictures: NDArray[np.uint8], on_images: bool) -> NDArray:
    """Pictures as a recogniser takes them: uint8 images, or flat rows in [0, 1]."""
    if on_images:
        return pictures
    return pictures.reshape(len(pictures), -1).astype(np.float32) / np.float32(255)


def is_original(originals: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a picture is its original or nearly so, whatever made it.

    Parameters
    ----------
    originals, pictures : ndarray of shape (n, height, width, 3), dtype uint8

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    if not len(pictures):
        return np.zeros(0, dtype=bool)
    first, second = to_tensor(originals), to_tensor(pictures)
    difference = (first - second).abs().flatten(1).mean(1) * 255
    same = (structural_similarity(first, second) > _SAME_SSIM) | (difference < _SAME_DIFFERENCE)
    return same.numpy()


def is_blank(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a picture holds nothing: no two pixels differ by more than two levels."""
    flat = pictures.reshape(len(pictures), -1, 3)
    return (np.ptp(flat, axis=1) <= 2).all(axis=1) if len(flat) else np.zeros(0, dtype=bool)
