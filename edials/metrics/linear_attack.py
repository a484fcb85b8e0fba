"""The linear attacker: discriminants of latents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._discriminant import discriminant


class LatentAttacker:
    """Linear discriminant analysis on the anonymizer's latents, which are public with it.

    Parameters
    ----------
    encode : callable images -> ndarray of shape (n_samples, n_features), or object with ``encode``
        An AdversarialAutoencoder; the attacker encodes images anew with it.
    shrinkage : float, default=0.05
        Share of the spherical part in the covariance, in [0, 1].
    """

    name, gallery_kind, probe_kind = "LDA on the latents", "released", "released"
    # Follows from the gallery, so that a subclass with another one need not say it twice.
    kind: str | None = None

    def __init__(self, encode: Any, shrinkage: float = 0.05):
        self.encode, self.shrinkage = encode, shrinkage

    def features(self, images: NDArray) -> NDArray[np.float32]:
        """Features of images that the analysis learns, shape (n_samples, n_features)."""
        return getattr(self.encode, "encode", self.encode)(images)

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> LatentAttacker:
        """Learn the gallery."""
        self.weights_, self.bias_ = discriminant(self.features(images), people, self.shrinkage)
        return self

    def scores(self, images: NDArray) -> NDArray[np.float32]:
        """Score every person of the gallery, shape (n_samples, n_people)."""
        return self.features(images) @ self.weights_.T + self.bias_
