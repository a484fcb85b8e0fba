"""Fitting the decoder of surrogates to a latent model."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from ..latent.model import LatentModel
from ..metrics.head_pose import yaw_proxy
from ..release.attribute_reader import AttributeReader
from .data import Encoding, TrainingData


def fit_surrogate_decoder(
    decoder: Any,
    autoencoder: Any,
    model: LatentModel,
    data: TrainingData,
    encoding: Encoding,
    reader: AttributeReader,
    **retention: Any,
) -> Any:
    """Fit an unfitted decoder on labelled photos and their draws; a frozen one stays."""
    if isinstance(decoder, FrozenEstimator):
        return decoder
    rows = np.flatnonzero(data.people.known)
    photos, encoded = data.take(rows), encoding.take(rows)
    chunks = np.array_split(photos.images, max(1, len(rows) // 256))
    return decoder.fit(
        photos.images,
        model.features.residual_coordinates(encoded.latents, encoded.embeddings),
        np.concatenate([reader.codes(chunk) for chunk in chunks]),
        yaw_proxy(photos.images),
        photos.people.codes,
        decoder=autoencoder.module_.decoder,
        basis=model.features.basis,
        prior=model.prior,
        **retention,
    )
