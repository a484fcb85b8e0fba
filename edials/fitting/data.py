"""What a fit works on: images with their labels, and what the networks make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._labels import AttributeTargets, Labels, encode_attributes
from .._validation import check_images, to_uint8
from .attributes import check_cells, check_people, drop_constant


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Images with what is known of them.

    Attributes
    ----------
    images : ndarray of shape (n_samples, height, width, 3), dtype uint8
    people : Labels
    attributes : AttributeTargets or None
    """

    images: NDArray[np.uint8]
    people: Labels
    attributes: AttributeTargets | None

    def take(self, rows: NDArray[np.int64]) -> TrainingData:
        """Some of the images."""
        attributes = None if self.attributes is None else self.attributes.take(rows)
        return TrainingData(self.images[rows], self.people.take(rows), attributes)

    @property
    def attribute_codes(self) -> NDArray[np.int64]:
        """Attribute codes of shape (n_samples, n_attributes); -1 where missing."""
        if self.attributes is None:
            return np.empty((len(self.images), 0), dtype=np.int64)
        return self.attributes.codes


@dataclass(frozen=True, eq=False)
class Encoding:
    """Images as the networks see them.

    Attributes
    ----------
    latents : ndarray of shape (n_samples, latent_dim)
    embeddings : ndarray of shape (n_samples, embedding_dim)
        NaN if the identity classifier cannot embed.
    """

    latents: NDArray[np.float32]
    embeddings: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> Encoding:
        """Some of the rows."""
        return Encoding(self.latents[rows], self.embeddings[rows])


def check_training_data(X: Any, identity: Any, attributes: Any, image_shape: Any) -> TrainingData:
    """Check images and labels together, and warn of attributes that identify people."""
    images, _ = check_images(X, image_shape=image_shape, min_samples=2)
    people = check_people(identity, len(images))
    targets = drop_constant(encode_attributes(attributes, len(images)))
    check_cells(people, targets)
    return TrainingData(to_uint8(images), people, targets)
