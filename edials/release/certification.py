"""The door: what every image must pass before it may leave, and the recogniser that watches it."""

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

#: The door lets two pictures match as often as two different people do by chance.
DOOR_FMR = 0.01
# A picture this similar to its original is the original, saved again.
_SAME_SSIM = 0.985
_SAME_DIFFERENCE = 2.0  # mean absolute difference, in levels of 255


class RecogniserAdapter:
    """The identity classifier as the door sees it: whom does it name, and do two pictures match.

    Parameters
    ----------
    classifier : estimator
        One of ours; a classifier of float32 images (a skorch net); or any scikit-learn classifier,
        on flat rows of pixels in [0, 1]. With ``embed`` (unit rows) and ``threshold(fmr)`` it
        verifies pairs as well.
    fmr : float
        False match rate of the verification threshold.
    """

    def __init__(self, classifier: Any, fmr: float):
        self.classifier = classifier
        self.fmr = fmr
        self.n_people = len(classifier.classes_)
        self.verifies = hasattr(classifier, "embed") and hasattr(classifier, "threshold")
        self.threshold = classifier.threshold(fmr) if self.verifies else np.nan

    def view(self, pictures: NDArray[np.uint8]) -> View:
        """The pictures as the classifier sees them."""
        return View(self, pictures)

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
        named = self.classifier.predict(X)
        return (named[:, None] == self.classifier.classes_[None]).astype(float)

    def embed(self, pictures: NDArray[np.uint8]) -> NDArray:
        """Unit embeddings; NaN if the classifier cannot embed."""
        if not self.verifies:
            return np.full((len(pictures), 1), np.nan)
        return self.classifier.embed(as_input(self.classifier, pictures))

    def candidates(self, view: View) -> NDArray[np.int64]:
        """The quarter of the people that each picture most resembles, best first, as codes."""
        count = max(1, self.n_people // 4)
        return np.argsort(-view.logits, axis=1, kind="stable")[:, :count]

    def names_any(self, view: View, candidates: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the person named is one of the original's candidates: evasion with a margin."""
        return (candidates == view.logits.argmax(axis=1)[:, None]).any(axis=1)

    def similarity(self, references: NDArray, view: View) -> NDArray[np.float64]:
        """Cosine of every picture with its original's embedding; NaN if nothing can be embedded."""
        return (references * view.embeddings).sum(axis=1, dtype=np.float64)

    def matches(self, references: NDArray, view: View) -> NDArray[np.bool_]:
        """Whether a picture matches its original's embedding; True where that cannot be said.

        Never True for a classifier that does not verify.
        """
        if not self.verifies:
            return np.zeros(len(view.pictures), dtype=bool)
        # Not "above": a recogniser that gives everybody one embedding, or NaN, tells nothing.
        return ~(self.similarity(references, view) < self.threshold)

    def true_match_rate(self, pictures: NDArray[np.uint8], people: NDArray[np.int64]) -> float:
        """Share of pairs of one person above the threshold; NaN without such pairs or embeddings.

        Parameters
        ----------
        pictures : ndarray of shape (n, height, width, 3), dtype uint8
        people : ndarray of shape (n,)
        """
        first, second = np.triu_indices(len(people), 1)
        pairs = people[first] == people[second]
        if not self.verifies or not pairs.any():
            return float("nan")
        embedded = self.embed(pictures)
        similarity = (embedded[first[pairs]] * embedded[second[pairs]]).sum(axis=1)
        return float((similarity > self.threshold).mean())


@dataclass(frozen=True)
class View:
    """Pictures as a recogniser sees them: looked at once, and only for what is asked.

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
        if is_ours(self.recogniser.classifier):
            return self.recogniser.classifier.logits_of(self.embeddings)
        return self.recogniser.logits(self.pictures)


def is_ours(classifier: Any) -> bool:
    """Whether a classifier, frozen or not, is edials' own, which takes uint8 images."""
    return isinstance(getattr(classifier, "estimator", classifier), IdentityClassifier)


def as_input(classifier: Any, images: NDArray) -> NDArray:
    """Images as a recogniser takes them.

    Ours takes them as they are; a skorch net, known by its ``module``, float32 images
    (n, height, width, 3) in [0, 1]; anything else flat float32 rows.
    """
    if is_ours(classifier):
        return images
    rows = to_rows(images)
    if hasattr(getattr(classifier, "estimator", classifier), "module"):
        return rows.reshape(images.shape)
    return rows


def is_original(originals: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a picture is its original or nearly so, whatever made it.

    Parameters
    ----------
    originals, pictures : ndarray of shape (n, height, width, 3), dtype uint8

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    same = np.zeros(len(pictures), dtype=bool)
    at_once = inference_batch_size(len(pictures), pictures.shape[1:])
    every = max(4, pictures.shape[1] // 32)
    for start in range(0, len(pictures), at_once):
        rows = slice(start, start + at_once)
        # Both measures are means over channels and places. Where some of these rule a copy out,
        # were all others perfect, the others need not be looked at.
        unsure = start + np.flatnonzero(
            _is_alike(originals[rows, ..., 1:2], pictures[rows, ..., 1:2], share=1 / 3, every=every)
        )
        same[unsure] = _is_alike(originals[unsure], pictures[unsure])
    return same


def _is_alike(
    originals: NDArray[np.uint8], pictures: NDArray[np.uint8], share: float = 1.0, every: int = 1
) -> NDArray[np.bool_]:
    """Whether pictures may be copies, judged by this share of their channels and some of the rows.

    False only where the whole pictures would be told apart, too.
    """
    if not len(pictures):
        return np.zeros(0, dtype=bool)
    first, second = to_tensor(originals), to_tensor(pictures)
    dissimilarity = share / every * (1 - structural_similarity(first, second, every=every))
    difference = share * (first - second).abs().flatten(1).mean(1) * 255
    return ((1 - dissimilarity > _SAME_SSIM) | (difference < _SAME_DIFFERENCE)).numpy()


def is_blank(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a picture holds nothing: no two pixels differ by more than two levels."""
    flat = pictures.reshape(len(pictures), -1, 3)
    blank = np.zeros(len(flat), dtype=bool)
    # Few pixels show that a picture is none; only where they do not are all of them looked at.
    few = flat[:, :: max(1, flat.shape[1] // 64)]
    unsure = np.flatnonzero((_spread(few) <= 2).all(axis=1))
    blank[unsure] = (_spread(flat[unsure]) <= 2).all(axis=1)
    return blank


def _spread(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest less smallest level of every channel, shape (n, 3)."""
    return np.ptp(pixels, axis=1) if len(pixels) else np.zeros((0, 3), dtype=np.uint8)
