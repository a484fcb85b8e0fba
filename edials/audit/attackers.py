"""Attackers: each learns from a gallery of known people and scores the people for probe images.

The contract is ``fit(images, people)`` and ``scores(images) -> (n_samples, n_people)``, people
being codes 0, 1, ...; a higher score means more likely.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from .._validation import check_images, to_uint8
from ..recognizer import discriminant


class LatentAttacker:
    """Linear discriminant analysis on the anonymizer's own latents, which are public with it.

    Parameters
    ----------
    autoencoder : AdversarialAutoencoder
        Fitted; images are encoded again with it.
    shrinkage : float, default=0.05
    """

    name = "LDA on the latents"

    def __init__(self, autoencoder: Any, shrinkage: float = 0.05):
        self.autoencoder, self.shrinkage = autoencoder, shrinkage

    def features(self, images: NDArray) -> NDArray[np.float32]:
        """What the analysis sees of images."""
        return self.autoencoder.encode(images)

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> LatentAttacker:
        """Learn the gallery."""
        self.weights_, self.bias_ = discriminant(self.features(images), people, self.shrinkage)
        return self

    def scores(self, images: NDArray) -> NDArray[np.float32]:
        """Score every person of the gallery, shape (n_samples, n_people)."""
        return self.features(images) @ self.weights_.T + self.bias_


class PixelAttacker(LatentAttacker):
    """Linear discriminant analysis on principal components of the pixels: Fisherfaces.

    Parameters
    ----------
    n_components : int, default=200
    shrinkage : float, default=0.05
    random_state : int, default=0

    References
    ----------
    Belhumeur, Hespanha and Kriegman (1997), "Eigenfaces vs. Fisherfaces".
    """

    name = "LDA on the pixels"

    def __init__(self, n_components: int = 200, shrinkage: float = 0.05, random_state: int = 0):
        self.n_components, self.shrinkage = n_components, shrinkage
        self.random_state = random_state

    def features(self, images: NDArray) -> NDArray[np.float32]:
        return self.components_.transform(_rows(images))

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> PixelAttacker:
        rows = _rows(images)
        count = min(self.n_components, *(side - 1 for side in rows.shape))
        self.components_ = PCA(
            count, svd_solver="randomized", whiten=True, random_state=self.random_state
        ).fit(rows)
        super().fit(images, people)
        return self


class StaticAttacker:
    """A recogniser trained on clear images, used as it is: the published number.

    Parameters
    ----------
    recogniser : classifier
        Fitted; with ``predict_proba`` or ``decision_function`` over images.
    """

    name = "recogniser of clear photos"

    def __init__(self, recogniser: Any):
        self.recogniser = recogniser

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> StaticAttacker:
        """Nothing is learned: the gallery are the clear photos the recogniser was trained on."""
        return self

    def scores(self, images: NDArray) -> NDArray:
        """Score every person the recogniser knows, in the order of its ``classes_``."""
        if hasattr(self.recogniser, "decision_function"):
            return self.recogniser.decision_function(images)
        return self.recogniser.predict_proba(images)


def _rows(images: NDArray) -> NDArray[np.float32]:
    images = to_uint8(check_images(images)[0])
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
