"""Surrogates: pictures made of attribute codes, retained features and keys, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._random import image_keys, keyed_normal
from ..latent.model import LatentModel
from ..metrics.head_pose import yaw_proxy
from ..models.surrogate_decoder import MAX_RETAINED_SHARE
from .certification import CachedPredictions


class Retained(NamedTuple):
    """What of an image enters its surrogate, beside the attributes.

    Attributes
    ----------
    coordinates : ndarray of shape (n, n_retained)
    yaw : ndarray of shape (n,)
    """

    coordinates: NDArray[np.float32]
    yaw: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurrogateGenerator:
    """Draws surrogates for images.

    Attributes
    ----------
    autoencoder : fitted autoencoder
    decoder : fitted SurrogateDecoder
    model : LatentModel
    temperature : float
        See :meth:`edials.latent.surrogates.SurrogatePrior.condition`.
    secret : bytes
        Key of the draws.
    """

    autoencoder: Any
    decoder: Any
    model: LatentModel
    temperature: float
    secret: bytes

    def generate(
        self,
        codes: NDArray[np.int64],
        retained: Retained | None,
        keys: NDArray[np.uint8],
        mask: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """Make pictures from predicted attribute codes, retained features, and :func:`image_keys`.

        ``mask`` marks the features to replace; ``retained`` is None if these are all.
        """
        noise = keyed_normal(keys, mask.shape)
        coordinates, yaw = np.zeros_like(noise), None
        if retained is not None:
            coordinates[:, ~mask], yaw = retained
        draw = self.model.prior.condition(mask, temperature=self.temperature)
        latents = self.model.features.latents(draw(coordinates, codes, noise, yaw))
        near_photos = (~mask).mean() > MAX_RETAINED_SHARE
        return (self.autoencoder if near_photos else self.decoder).decode(latents)

    def retain(self, predictions: CachedPredictions, mask: NDArray[np.bool_]) -> Retained | None:
        """Read from images what enters their surrogates; None if the mask replaces everything."""
        if mask.all():
            return None
        images = predictions.pictures
        coordinates = self.model.features.residual_coordinates(
            self.autoencoder.encode(images), predictions.embeddings
        )
        return Retained(coordinates[:, ~mask], yaw_proxy(images))

    def replace(
        self,
        predictions: CachedPredictions,
        codes: NDArray[np.int64],
        mask: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """Surrogates of images, (n, height, width, 3): retain, hash, generate."""
        keys = image_keys(self.draw_key(mask), predictions.pictures)
        return self.generate(codes, self.retain(predictions, mask), keys, mask)

    def draw_key(self, mask: NDArray[np.bool_]) -> bytes:
        """Key of the draws for a mask and this distribution.

        Releases at two strengths, or by two models of one secret, must not share their draws: what
        the weaker one leaks would be linked to the stronger.
        """
        message = self._distribution_digest + np.packbits(mask).tobytes()
        return hashlib.blake2b(message, key=self.secret, digest_size=32).digest()

    @cached_property
    def _distribution_digest(self) -> bytes:
        """Keyed hash of the distribution that features are drawn from."""
        digest = hashlib.blake2b(key=self.secret, digest_size=32)
        prior, basis = self.model.prior, self.model.features.basis
        for array in (prior.mean, prior.effects, prior.yaw_effect, prior.covariance, basis.forward):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr((prior.emphasis, self.temperature)).encode())
        return digest.digest()
