"""Shared fixtures: small sets of made-up faces, one fitted anonymizer."""

import contextlib

import matplotlib
import numpy as np
import pytest
import torch

from edials import AdversarialAutoencoder, AttributeClassifier, EDIALSAnonymizer, IdentityClassifier
from edials.audit import audit
from edials.datasets import make_faces
from edials.models.surrogate_decoder import SurrogateDecoder

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def faces():
    data = make_faces(10, 10, size=32, random_state=0)
    data.labels = data.attributes[["age", "gender"]]  # with race, everybody is alone in a cell
    data.images.setflags(write=False)  # the caller's arrays are read-only to us
    return data


@pytest.fixture(scope="session")
def town():
    """Enough people and photos for an audit."""
    data = make_faces(36, 14, size=32, random_state=1)
    data.labels = data.attributes[["age", "gender"]]
    data.images.setflags(write=False)
    return data


@pytest.fixture(scope="session")
def village():
    """A smaller town, without attributes."""
    return make_faces(12, 10, size=32, random_state=3)


def run_audit(data, released, rows=slice(None), **settings):
    """A quick audit of some rows of made-up faces."""
    defaults = {"attributes": data.get("labels"), "attackers": "quick", "random_state": 0}
    arguments = {"identity": data.identity[rows], **defaults, **settings}
    return audit(data.images[rows], released[rows], **arguments)


def normal_scores(seed, signal, cells, n_images=8):
    """Normal scores of everybody's images with a signal for the true person, and the people."""
    generator, people = np.random.default_rng(seed), np.repeat(np.arange(len(cells)), n_images)
    scores = generator.standard_normal((len(people), len(cells)))
    scores[np.arange(len(people)), people] += signal
    return scores, people


def noise_like(images, seed=0):
    """Pictures of uniform noise: a release that retains nothing."""
    return np.random.default_rng(seed).integers(0, 256, images.shape, dtype=np.uint8)


def make_anonymizer(**settings):
    """An anonymizer of the smallest networks, which learn fast since they do not learn long."""
    fast = {"max_epochs": 3, "learning_rate": 1e-3, "random_state": 0}
    return EDIALSAnonymizer(
        AdversarialAutoencoder("tiny", **fast),
        identity_classifier=IdentityClassifier("tiny", max_epochs=40, random_state=0),
        **{
            "attribute_classifier": AttributeClassifier("tiny", max_epochs=4, random_state=0),
            "surrogate_decoder": SurrogateDecoder("tiny", **fast),
            "strength": 1.0,
            "random_state": 0,
            **settings,
        },
    )


@pytest.fixture(scope="session")
def fitted(faces):
    return make_anonymizer().fit(faces.images, identity=faces.identity, attributes=faces.labels)


@contextlib.contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


#: What a caller may have set in torch; no result may depend on it.
OUTER_TORCH_STATES = {
    "float64": default_dtype,
    "device": default_device,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}
