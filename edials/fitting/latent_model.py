"""What the anonymizer's fit is made of: its surrogates, and which photos it looks at.

Functions of images and codes; :class:`~edials.anonymizer.EDIALSAnonymizer` puts them together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator

from .._labels import AttributeTargets
from .._splits import sample_whole_people, sample_across_people
from .._validation import to_uint8
from ..explain.attribution import mean_absolute
from ..latent.identity_basis import IdentityBasis, fit_identity_basis, picture_metric, raw_basis
from ..latent.surrogates import SurrogatePrior, fit_prior
from ..metrics.head_pose import yaw_proxy
from ..models.surrogate_decoder import SurrogateDecoder
from ..release.certification import DOOR_FMR, RecogniserAdapter
from ..release.engine import Engine
from .networks import Networks, own, shared_params

_BACKGROUND_ROWS = 200


_READ_ROWS, _EMPHASES = 256, (1.0, 1.25, 1.5, 1.75, 2.0)


_EXPLAINED_ROWS, _MATCHED_ROWS = 128, 500


#: Gradients per image: on LFW their ranking of the features agrees with that of 2,000 by a rank
#: correlation of 0.88.
EXPLAINED_SAMPLES = 16


class Surrogates(NamedTuple):
    """The basis, the distribution of the draws, and what explanations and evasion start from.

    Attributes
    ----------
    basis : IdentityBasis
    prior : SurrogatePrior
    centre, spread : ndarray of shape (n_features,)
    background : ndarray of shape (n_background, n_features)
        Synthetic draws: a model holds no coordinates of a real photo.
    background_codes : ndarray of shape (n_background, n_attributes)
    """

    basis: IdentityBasis
    prior: SurrogatePrior
    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    background: NDArray[np.float32]
    background_codes: NDArray[np.int64]


def fit_surrogates(
    parts: Networks,
    latents: NDArray[np.float32],
    without_person: NDArray[np.float32],
    people: NDArray[np.int64],
    kept: AttributeTargets | None,
    turns: NDArray[np.float64],
    basis: str,
    seed: int,
) -> Surrogates:
    """Turn the latents so that what is given back first comes last, and learn to draw the others.

    Parameters
    ----------
    parts : Networks
    latents : ndarray of shape (n_samples, n_features)
    without_person : ndarray of shape (n_samples, n_features)
        Latents as they are given back.
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown.
    kept : AttributeTargets or None
    turns : ndarray of shape (n_samples,)
        Which way heads are turned.
    basis : {"identity", "raw"}
    seed : int
        Of the background's draws, and of those that the attributes are looked for in.
    """
    rotation = fit_basis(parts.autoencoder, without_person, people, kept, basis)
    coordinates = rotation.rotate(torch.from_numpy(latents)).numpy()
    codes = np.empty((len(latents), 0), np.int64) if kept is None else kept.codes
    prior = fit_prior(coordinates, codes, [] if kept is None else kept.sizes, people, turns)
    generator = np.random.default_rng(seed)
    complete = np.flatnonzero(np.all(codes >= 0, axis=1))
    if kept is not None:
        known = np.where(np.all(codes >= 0, axis=1), people, -1)
        rows = sample_across_people(known, seed, _READ_ROWS)
        rows = rows if len(rows) else complete[:_READ_ROWS]
        prior = _emphasized(prior, rotation, parts, latents, kept, rows, seed)
    background_codes = codes[generator.choice(complete, _BACKGROUND_ROWS)]
    noise = generator.standard_normal((_BACKGROUND_ROWS, coordinates.shape[1]))
    everything = np.ones(coordinates.shape[1], dtype=bool)
    background = prior.given(everything)(np.zeros_like(noise), background_codes, noise)
    centre, spread = coordinates.mean(axis=0), coordinates.std(axis=0)
    return Surrogates(rotation, prior, centre, spread, background, background_codes)


def _emphasized(
    prior: SurrogatePrior,
    rotation: IdentityBasis,
    parts: Networks,
    latents: NDArray[np.float32],
    kept: AttributeTargets,
    rows: NDArray[np.int64],
    seed: int,
) -> SurrogatePrior:
    """The least emphasis at which draws show attributes as well as reconstructions do, if any."""
    classifier, autoencoder = parts.attribute_classifier, parts.autoencoder
    codes, labels = kept.codes[rows], as_labels(kept.table().iloc[rows])
    wanted = classifier.score(autoencoder.decode(latents[rows]), labels)
    noise = np.random.default_rng(seed).standard_normal((len(rows), latents.shape[1]))
    everything = np.ones(latents.shape[1], dtype=bool)
    for emphasis in _EMPHASES:
        prior = replace(prior, emphasis=emphasis)
        drawn = torch.from_numpy(prior.given(everything)(np.zeros_like(noise), codes, noise))
        pictures = autoencoder.decode(rotation.unrotate(drawn).numpy())
        if classifier.score(pictures, labels) >= wanted:
            break
    return prior


def as_labels(table: pd.DataFrame) -> Any:
    """Labels as a classifier takes them: one column, if it was fitted on one."""
    return table if table.shape[1] > 1 else table.iloc[:, 0]


def fit_basis(
    autoencoder: Any,
    latents: NDArray[np.float32],
    people: NDArray[np.int64],
    kept: AttributeTargets | None,
    basis: str,
) -> IdentityBasis:
    """The features: the latents themselves, or turned into the identity basis."""
    if basis == "raw":
        return raw_basis(latents)
    indicators = None if kept is None else kept.one_hot()
    metric = picture_metric(autoencoder.decode, latents)
    return fit_identity_basis(latents, people, indicators, metric)


def fit_surrogate_decoder(
    model: Any,
    engine: Engine,
    images: NDArray,
    latents: NDArray[np.float32],
    turns: NDArray[np.float64],
    people: NDArray[np.int64],
    fitted_on: NDArray[np.int64],
    n_retained: int,
    seed: int,
) -> Any:
    """The model's decoder of surrogates, fitted; by default of the autoencoder's size.

    Parameters
    ----------
    model : EDIALSAnonymizer
        With ``order_`` and its strength, at which the decoder is to be best; its frozen
        ``surrogate_decoder`` stays as it is, another is cloned.
    engine : Engine
    images : ndarray of shape (n_samples, height, width, 3)
    latents : ndarray of shape (n_samples, n_features)
        As they are given back.
    turns : ndarray of shape (n_samples,)
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown, and these rows are left out.
    fitted_on : ndarray of int
        Rows that networks may see.
    seed : int
    """
    given, autoencoder = model.surrogate_decoder, engine.autoencoder
    if isinstance(given, FrozenEstimator):
        return given
    like = getattr(autoencoder, "estimator", autoencoder)
    common = shared_params(model)
    common |= {"size": like.size} if hasattr(like, "size") else {}
    rows = fitted_on[people[fitted_on] >= 0]
    parts = np.array_split(rows, max(1, len(rows) // 256))
    return own(given, SurrogateDecoder, common, seed).fit(
        images[rows],
        engine.basis.rotate(torch.from_numpy(latents[rows])).numpy(),
        np.concatenate([engine.reader.codes(to_uint8(images[part])) for part in parts]),
        turns[rows],
        people[rows],
        decoder=autoencoder.module_.decoder,
        basis=engine.basis,
        prior=engine.prior,
        order=model.order_,
        n_retained=n_retained,
    )


def embeddings_of(model: Any, images: NDArray) -> NDArray[np.float32]:
    """What the model's recogniser makes of images, shape (n_samples, embedding_dim); NaN without.

    For ``basis="raw"`` NaN, too: its features are the latents as they are.
    """
    recogniser = RecogniserAdapter(model.identity_classifier_, DOOR_FMR)
    if model.basis == "raw" or not recogniser.verifies:
        return np.full((len(images), 1), np.nan, dtype=np.float32)
    chunks = (to_uint8(images[start : start + 256]) for start in range(0, len(images), 256))
    return np.concatenate([recogniser.embed(chunk) for chunk in chunks])


def turns_of(images: NDArray) -> NDArray[np.float64]:
    """Which way every head is turned, shape (n_samples,)."""
    chunks = (to_uint8(images[start : start + 256]) for start in range(0, len(images), 256))
    return np.concatenate([yaw_proxy(chunk) for chunk in chunks])


# --- all of it together ---------------------------------------------------------------------------


def importance_of_features(
    engine: Engine, images: NDArray, people: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Mean |SHAP| of the identity decision, every person counting once, shape (n_features,)."""
    rows = sample_across_people(people, seed, _EXPLAINED_ROWS)
    explanation = engine.explain(
        to_uint8(images[rows]), n_samples=EXPLAINED_SAMPLES, seed=seed, targets=1
    )
    return mean_absolute(explanation.values, people[rows])


def match_rate(
    recogniser: RecogniserAdapter, images: NDArray, people: NDArray[np.int64], seed: int
) -> float:
    """How often the recogniser matches two photos of one person; NaN if it does not verify."""
    rows = sample_whole_people(people, seed, _MATCHED_ROWS)
    return recogniser.true_match_rate(to_uint8(images[rows]), people[rows])
