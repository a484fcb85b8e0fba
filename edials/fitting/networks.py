"""The networks of an anonymizer: cloned or made, then fitted, side by side if jobs allow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from .._validation import resolve_device
from ..models.attribute_classifier import AttributeClassifier
from ..models.autoencoder import AdversarialAutoencoder
from ..models.identity_classifier import IdentityClassifier
from ..models.surrogate_decoder import SurrogateDecoder
from ..release.certification import RecogniserAdapter, as_input
from .data import Encoding, TrainingData


class Networks(NamedTuple):
    """Estimators; ``attribute_classifier`` is None if there are no attributes."""

    attribute_classifier: Any
    autoencoder: Any
    identity_classifier: Any
    surrogate_decoder: Any


def clone_networks(templates: Networks, shared: dict[str, Any], seeds: dict[str, int]) -> Networks:
    """Unfitted clones of templates, or defaults where these are None; frozen ones stay."""
    _check_interfaces(templates)
    classifier, autoencoder, recogniser, decoder = templates
    autoencoder = clone_or_default(
        autoencoder, AdversarialAutoencoder, shared, seeds["autoencoder"]
    )
    inner = autoencoder.estimator if isinstance(autoencoder, FrozenEstimator) else autoencoder
    size = getattr(inner, "size", None)
    decoder_params = shared if size is None else shared | {"size": size}
    return Networks(
        clone_or_default(classifier, AttributeClassifier, shared, seeds["attributes"]),
        autoencoder,
        clone_or_default(recogniser, IdentityClassifier, shared, seeds["identity"]),
        clone_or_default(decoder, SurrogateDecoder, decoder_params, seeds["decoder"]),
    )


def _check_interfaces(templates: Networks) -> None:
    """Refuse templates that lack a method which the anonymizer calls."""
    needed = {
        "attribute_classifier": ("fit", "logits", "predict_codes", "score"),
        "autoencoder": ("fit", "encode", "decode"),
        "identity_classifier": ("fit", "predict"),
        "surrogate_decoder": ("fit", "decode"),
    }
    for name, methods in needed.items():
        template = getattr(templates, name)
        missing = [method for method in methods if not hasattr(template, method)]
        if template is not None and missing:
            raise ValueError(
                f"{name}={template!r:.80} has no {', '.join(missing)}; expected an estimator with "
                f"{', '.join(methods)}, such as edials' own, or None."
            )


def clone_or_default(template: Any, default: type, shared: dict[str, Any], seed: int) -> Any:
    """The default, or the template's clone, seeded and placed on the device if it says neither."""
    if template is None:
        return default(random_state=seed, **shared)
    network = clone(template)
    if shared["device"] != "auto":
        _follow_device(network, shared["device"])
    parameters = network.get_params(deep=False)
    if "random_state" in parameters and parameters["random_state"] is None:
        network.set_params(random_state=seed)
    return network


def _follow_device(network: Any, device: str) -> None:
    """Set a template's device, or refuse one that is elsewhere."""
    frozen = isinstance(network, FrozenEstimator)
    inner = network.estimator if frozen else network
    template_device = getattr(inner, "device", None)
    if frozen:
        template_device = getattr(getattr(inner, "net_", None), "device", template_device)
    if template_device is None:
        return
    if not frozen and template_device == "auto":
        network.set_params(device=device)
    elif _index(resolve_device(template_device)) != _index(resolve_device(device)):
        raise ValueError(
            f"device={device!r}, but the {type(inner).__name__} has "
            f"device={str(template_device)!r}; expected one device. Give both the same, or load a "
            f"fitted one with edials.load(path, device=...)."
        )


def _index(device: torch.device) -> tuple[str, int]:
    """Type and index; "cpu" is "cpu:0"."""
    return device.type, device.index or 0


def fit_networks(
    networks: Networks, data: TrainingData, attribute_weight: float, n_jobs: int | None
) -> Networks:
    """Fit all networks that are not frozen, except the decoder of surrogates.

    What learns from attributes and pictures is fitted beside what learns from people: on two cores
    with one thread each that takes three quarters of the time.
    """
    if data.attributes is None:
        networks = networks._replace(attribute_classifier=None)
    trains = [not (n is None or isinstance(n, FrozenEstimator)) for n in networks[:3]]
    two_jobs = any(trains[:2]) and trains[2]
    (classifier, autoencoder), recogniser = Parallel(n_jobs=n_jobs if two_jobs else 1)(
        [
            delayed(_fit_on_pictures)(networks, data, attribute_weight),
            delayed(_fit_on_people)(networks.identity_classifier, data),
        ]
    )
    # Of a frozen network another process returns a copy; the user's own one is kept.
    fitted = Networks(classifier, autoencoder, recogniser, networks.surrogate_decoder)
    pairs = zip(networks, fitted, strict=True)
    return Networks(*(old if isinstance(old, FrozenEstimator) else new for old, new in pairs))


def _fit_on_pictures(
    networks: Networks, data: TrainingData, attribute_weight: float
) -> tuple[Any, Any]:
    """Fit the attribute classifier, then the autoencoder, which learns from its features."""
    classifier, autoencoder = networks.attribute_classifier, networks.autoencoder
    table = None if data.attributes is None else data.attributes.table()
    if classifier is not None:
        classifier.fit(data.images, table)
    parameters = autoencoder.get_params(deep=False)
    if "attribute_weight" not in parameters:  # frozen
        return classifier, autoencoder.fit(data.images, table)
    autoencoder.set_params(attribute_weight=attribute_weight * autoencoder.attribute_weight)
    guide = classifier if attribute_weight else None
    if parameters.get("feature_classifier", guide) is None and guide is not None:
        autoencoder.set_params(feature_classifier=FrozenEstimator(guide))
    autoencoder.fit(data.images, table if attribute_weight else None)
    # Not needed any more, and else saved a second time.
    autoencoder.set_params(feature_classifier=parameters.get("feature_classifier"))
    return classifier, autoencoder


def _fit_on_people(recogniser: Any, data: TrainingData) -> Any:
    people = data.people
    images = as_input(recogniser, data.images[people.known])
    return recogniser.fit(images, people.classes[people.codes[people.known]])


def encode(networks: Networks, images: NDArray[np.uint8]) -> Encoding:
    """Latents and embeddings of images."""
    recogniser = RecogniserAdapter(networks.identity_classifier)
    chunks = np.array_split(images, max(1, len(images) // 256))
    embeddings = np.concatenate([recogniser.embed(chunk) for chunk in chunks])
    return Encoding(networks.autoencoder.encode(images), embeddings)
