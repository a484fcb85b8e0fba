"""The fitted latent model: from latents to features, and what replaces these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .identity_basis import IdentityBasis
from .identity_regression import IdentityRegression
from .surrogates import SurrogatePrior


@dataclass(frozen=True, eq=False)
class LatentFeatures:
    """From latents to features: coordinates in a basis, less what predicts the person.

    Attributes
    ----------
    regression : IdentityRegression
        Subtracted from latents before any of them is retained.
    basis : IdentityBasis
    kind : {"identity", "raw"}
    """

    regression: IdentityRegression
    basis: IdentityBasis
    kind: str

    def coordinates(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of latents (n, latent_dim), shape (n, n_features)."""
        return self.basis.rotate(torch.from_numpy(latents)).numpy()

    def residual_coordinates(
        self, latents: NDArray[np.float32], embeddings: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Features (n, n_features) without the part that embeddings (n, embedding_dim) predict."""
        return self.coordinates(self.regression.residualize(latents, embeddings))

    def latents(self, coordinates: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents (n, latent_dim) of features (n, n_features)."""
        return self.basis.unrotate(torch.from_numpy(coordinates)).numpy()


@dataclass(frozen=True, eq=False)
class LatentModel:
    """The features of a fit, their distribution, and the references of explanations.

    Attributes
    ----------
    features : LatentFeatures
    prior : SurrogatePrior
        What replaced features are drawn from.
    mean, std : ndarray of shape (n_features,)
        Of every feature over the photos of the fit.
    background : ndarray of shape (n_background, n_features)
        Synthetic draws, which attributions start from: a model holds no features of a real photo.
    background_codes : ndarray of shape (n_background, n_attributes)
        Attribute codes that the background was drawn for.
    """

    features: LatentFeatures
    prior: SurrogatePrior
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    background: NDArray[np.float32]
    background_codes: NDArray[np.int64]
