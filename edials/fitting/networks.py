"""The networks that an anonymizer is made of, fitted: side by side where there are jobs for it."""

from __future__ import annotations

from typing import Any, NamedTuple

from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from .._labels import AttributeTargets, Labels
from ..models.attribute_classifier import AttributeClassifier
from ..models.autoencoder import AdversarialAutoencoder
from ..models.identity_classifier import IdentityClassifier
from ..release.certification import as_input

_COMMON = ("device", "batch_size", "precision", "verbose")


class Networks(NamedTuple):
    """The fitted networks; ``attribute_classifier`` is None if no attribute is kept."""

    attribute_classifier: Any
    autoencoder: Any
    identity_classifier: Any


def fit_networks(
    given: Networks,
    images: NDArray,
    people: Labels,
    kept: AttributeTargets | None,
    *,
    attribute_weight: float,
    seeds: dict[str, int],
    n_jobs: int | None,
    **common: Any,
) -> Networks:
    """Fit every part: the default where None is given, else a clone; a frozen one stays as it is.

    What sees attributes and pictures, and what sees people, are fitted side by side if ``n_jobs``
    allows: on two cores with one thread each that takes three quarters of the time.

    Parameters
    ----------
    given : Networks
        As the anonymizer's user gave them.
    images : ndarray of shape (n_samples, height, width, 3)
    people : Labels
    kept : AttributeTargets or None
    attribute_weight : float
    seeds : dict of str to int
        Of the stages "autoencoder", "identity" and "attributes".
    n_jobs : int or None
    **common
        Parameters of the defaults, see :func:`shared_params`.
    """
    classifier = None
    if kept is not None:
        classifier = own(
            given.attribute_classifier, AttributeClassifier, common, seeds["attributes"]
        )
    autoencoder = own(given.autoencoder, AdversarialAutoencoder, common, seeds["autoencoder"])
    recogniser = own(given.identity_classifier, IdentityClassifier, common, seeds["identity"])
    learns = [
        part is not None and not isinstance(part, FrozenEstimator)
        for part in (classifier, autoencoder, recogniser)
    ]
    both = any(learns[:2]) and learns[2]
    known = people.known
    seen, named = Parallel(n_jobs=n_jobs if both else 1)(
        [
            delayed(_fit_pictures)(classifier, autoencoder, images, kept, attribute_weight),
            delayed(_fit_people)(recogniser, images[known], people.classes[people.codes[known]]),
        ]
    )
    return Networks(*map(_fitted, (classifier, autoencoder, recogniser), (*seen, named)))


def _fitted(before: Any, after: Any) -> Any:
    """What a fit gave back; but a frozen part itself, of which another process sends a copy."""
    return before if isinstance(before, FrozenEstimator) else after


def _fit_pictures(
    classifier: Any,
    autoencoder: Any,
    images: NDArray,
    kept: AttributeTargets | None,
    attribute_weight: float,
) -> tuple[Any, Any]:
    table = None if kept is None else kept.table()
    if classifier is not None:
        classifier.fit(images, table)
    return classifier, _fit_autoencoder(autoencoder, images, table, classifier, attribute_weight)


def _fit_people(recogniser: Any, images: NDArray, identity: NDArray) -> Any:
    return recogniser.fit(as_input(recogniser, images), identity)


def shared_params(model: Any) -> dict[str, Any]:
    """Parameters of the anonymizer that its default parts share."""
    return {name: getattr(model, name) for name in _COMMON}


def own(part: Any, default: type, common: dict[str, Any], seed: int) -> Any:
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
