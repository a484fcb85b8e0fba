"""What the anonymizer's fit is made of: its networks, its surrogates, and which photos it looks at.

Functions of images and codes; :class:`~edials.anonymizer.EDIALSAnonymizer` puts them together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from ._targets import AttributeTargets
from ._validation import Labels, encode_labels
from .attributes import AttributeClassifier
from .autoencoder import AdversarialAutoencoder
from .certification import as_input
from .exceptions import InvalidLabelsError
from .identity_basis import IdentityBasis, fit_identity_basis, raw_basis
from .perturbation import SurrogatePrior, fit_prior, row_weights
from .recognizer import IdentityClassifier

_BACKGROUND_ROWS = 200


def check_people(identity: Any, n_samples: int) -> Labels:
    """Who is on each image: at least two people, of whom two have several photos."""
    people = encode_labels(identity, name="identity", n_samples=n_samples)
    if len(people.classes) < 2:
        raise InvalidLabelsError(
            f"identity holds 1 class, {people.classes[0]!r}; expected at least two people."
        )
    several = int((np.bincount(people.codes[people.known]) >= 2).sum())
    if several < 2:
        raise InvalidLabelsError(
            f"{several} people have two images or more; expected at least two, since what tells "
            f"people apart is judged against how their photos differ."
        )
    return people


# --- the networks --------------------------------------------------------------------------------


class Parts(NamedTuple):
    """The fitted networks; ``attribute_classifier`` is None if no attribute is kept."""

    attribute_classifier: Any
    autoencoder: Any
    identity_classifier: Any


def fit_parts(
    given: Parts,
    images: NDArray,
    people: Labels,
    kept: AttributeTargets | None,
    *,
    attribute_weight: float,
    seeds: dict[str, int],
    **common: Any,
) -> Parts:
    """Fit every part: the default where None is given, else a clone; a frozen one stays as it is.

    Parameters
    ----------
    given : Parts
        As the anonymizer's user gave them.
    images : ndarray of shape (n_samples, height, width, 3)
    people : Labels
    kept : AttributeTargets or None
    attribute_weight : float
    seeds : dict of str to int
        Of the stages "autoencoder", "identity" and "attributes".
    **common
        Parameters of the defaults: ``device``, ``batch_size``, ``verbose``.
    """
    table, classifier = None, None
    if kept is not None:
        table = kept.table()
        classifier = _own(
            given.attribute_classifier, AttributeClassifier, common, seeds["attributes"]
        ).fit(images, table)
    autoencoder = _fit_autoencoder(
        _own(given.autoencoder, AdversarialAutoencoder, common, seeds["autoencoder"]),
        images,
        table,
        classifier,
        attribute_weight,
    )
    recogniser = _own(given.identity_classifier, IdentityClassifier, common, seeds["identity"])
    known = people.known
    recogniser.fit(as_input(recogniser, images[known]), people.classes[people.codes[known]])
    return Parts(classifier, autoencoder, recogniser)


def _own(part: Any, default: type, common: dict[str, Any], seed: int) -> Any:
    """A part to fit: the default, or the given one's clone, seeded where it has no seed."""
    if part is None:
        return default(random_state=seed, **common)
    part = clone(part)
    parameters = part.get_params(deep=False)
    if "random_state" in parameters and parameters["random_state"] is None:
        part.set_params(random_state=seed)
    return part


def _fit_autoencoder(
    autoencoder: Any, images: NDArray, table: Any, classifier: Any, attribute_weight: float
) -> Any:
    """Fit it so that the kept attributes stay linear in the latents and visible in pictures."""
    parameters = autoencoder.get_params(deep=False)
    if "attribute_weight" not in parameters:  # frozen
        return autoencoder.fit(images, table)
    autoencoder.set_params(attribute_weight=attribute_weight * autoencoder.attribute_weight)
    guide = classifier if attribute_weight else None
    if parameters.get("feature_classifier", guide) is None and guide is not None:
        autoencoder.set_params(feature_classifier=FrozenEstimator(guide))
    autoencoder.fit(images, table if attribute_weight else None)
    # It has served; kept, the classifier would be saved a second time.
    return autoencoder.set_params(feature_classifier=parameters.get("feature_classifier"))


# --- what replaces a face ------------------------------------------------------------------------


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
    latents: NDArray[np.float32],
    people: NDArray[np.int64],
    kept: AttributeTargets | None,
    basis: str,
    seed: int,
) -> Surrogates:
    """Turn the latents so that people differ first, and learn to draw from them.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, n_features)
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown.
    kept : AttributeTargets or None
    basis : {"identity", "raw"}
    seed : int
        Of the background's draws.
    """
    if basis == "raw":
        rotation = raw_basis(latents)
    else:
        rotation = fit_identity_basis(latents, people, None if kept is None else kept.one_hot())
    coordinates = rotation.rotate(torch.from_numpy(latents)).numpy()
    codes = np.empty((len(latents), 0), np.int64) if kept is None else kept.codes
    complete = np.all(codes >= 0, axis=1)
    prior = fit_prior(
        coordinates, codes, [] if kept is None else kept.sizes, row_weights(people, complete)
    )
    generator = np.random.default_rng(seed)
    background_codes = codes[generator.choice(np.flatnonzero(complete), _BACKGROUND_ROWS)]
    noise = generator.standard_normal((_BACKGROUND_ROWS, coordinates.shape[1]), np.float32)
    background = prior.draw(background_codes, torch.from_numpy(noise)).numpy()
    centre, spread = coordinates.mean(axis=0), coordinates.std(axis=0)
    return Surrogates(rotation, prior, centre, spread, background, background_codes)


# --- which photos a fit looks at -----------------------------------------------------------------


def one_of_each_first(people: NDArray[np.int64], seed: int, count: int) -> NDArray[np.int64]:
    """Rows of known people in random order, one photo of everybody before anybody's second."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(people >= 0))
    turn = pd.Series(people[rows]).groupby(people[rows]).cumcount().to_numpy()
    return rows[np.argsort(turn, kind="stable")][:count]


def all_of_some(people: NDArray[np.int64], seed: int, count: int) -> NDArray[np.int64]:
    """Rows of known people in random order, with all photos of each: pairs are what is sought."""
    order = np.random.default_rng(seed).permutation(int(people.max()) + 1)
    rows = np.flatnonzero(people >= 0)
    return rows[np.argsort(order[people[rows]], kind="stable")][:count]
