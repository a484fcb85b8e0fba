"""The latent model of a fit: features, and the distribution that replaced ones are drawn from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._labels import AttributeTargets
from .._splits import sample_across_people
from ..latent.identity_basis import fit_identity_basis, picture_metric, raw_basis
from ..latent.identity_regression import NO_REGRESSION, fit_identity_regression
from ..latent.model import LatentFeatures, LatentModel
from ..latent.surrogates import SurrogatePrior, fit_prior
from ..metrics.head_pose import yaw_proxy
from .data import Encoding, TrainingData
from .networks import Networks

# Rows that attributions start from; every image's own cell has some of them.
_BACKGROUND_ROWS = 200


def fit_features(
    autoencoder: Any,
    encoding: Encoding,
    data: TrainingData,
    training: NDArray[np.int64],
    basis: str,
) -> LatentFeatures:
    """Fit the regression on the training rows, the basis ("identity" or "raw") on all rows."""
    if basis == "raw":
        return LatentFeatures(NO_REGRESSION, raw_basis(encoding.latents), basis)
    photos, people = encoding.take(training), data.people.codes[training]
    regression = fit_identity_regression(photos.latents, photos.embeddings, people)
    latents = regression.residualize(encoding.latents, encoding.embeddings)
    indicators = None if data.attributes is None else data.attributes.one_hot()
    metric = picture_metric(autoencoder.decode, latents)
    directions = fit_identity_basis(latents, data.people.codes, indicators, metric)
    return LatentFeatures(regression, directions, basis)


def fit_latent_model(
    networks: Networks,
    features: LatentFeatures,
    encoding: Encoding,
    data: TrainingData,
    seed: int,
) -> LatentModel:
    """Fit the distribution of the features, and draw the background of explanations from it."""
    coordinates = features.coordinates(encoding.latents)
    codes = data.attribute_codes
    sizes = [] if data.attributes is None else data.attributes.sizes
    yaw = yaw_proxy(data.images)
    prior = fit_prior(coordinates, codes, sizes, data.people.codes, yaw)
    if data.attributes is not None:
        prior = _emphasize(prior, networks, features, encoding, data, seed)
    generator = np.random.default_rng(seed)
    complete = np.flatnonzero(np.all(codes >= 0, axis=1))
    background_codes = codes[generator.choice(complete, _BACKGROUND_ROWS)]
    noise = generator.standard_normal((_BACKGROUND_ROWS, coordinates.shape[1]))
    return LatentModel(
        features=features,
        prior=prior,
        mean=coordinates.mean(axis=0),
        std=coordinates.std(axis=0),
        background=_draw_all(prior, background_codes, noise),
        background_codes=background_codes,
    )


def _draw_all(
    prior: SurrogatePrior, codes: NDArray[np.int64], noise: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Draw all features for attribute codes, shape (n, n_features)."""
    everything = np.ones(noise.shape[1], dtype=bool)
    return prior.condition(everything)(np.zeros_like(noise), codes, noise)


def _emphasize(
    prior: SurrogatePrior,
    networks: Networks,
    features: LatentFeatures,
    encoding: Encoding,
    data: TrainingData,
    seed: int,
) -> SurrogatePrior:
    """The least emphasis at which draws show attributes as well as reconstructions do, or 2."""
    assert data.attributes is not None
    classifier, autoencoder = networks.attribute_classifier, networks.autoencoder
    complete = np.all(data.attribute_codes >= 0, axis=1)
    rows = sample_across_people(np.where(complete, data.people.codes, -1), seed, 256)
    rows = rows if len(rows) else np.flatnonzero(complete)[:256]
    codes, labels = data.attribute_codes[rows], attribute_labels(data.attributes.take(rows))
    target = classifier.score(autoencoder.decode(encoding.latents[rows]), labels)
    noise = np.random.default_rng(seed).standard_normal((len(rows), encoding.latents.shape[1]))
    for emphasis in (1.0, 1.25, 1.5, 1.75, 2.0):
        prior = replace(prior, emphasis=emphasis)
        pictures = autoencoder.decode(features.latents(_draw_all(prior, codes, noise)))
        if classifier.score(pictures, labels) >= target:
            break
    return prior


def attribute_labels(attributes: AttributeTargets) -> Any:
    """Labels as a classifier takes them: one column, if it was fitted on one."""
    table = attributes.table()
    return table if table.shape[1] > 1 else table.iloc[:, 0]
