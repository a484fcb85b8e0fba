"""Shared fixtures: one small set of made-up faces, one fitted anonymizer."""

import contextlib

import matplotlib
import pytest
import torch

from edials import AdversarialAutoencoder, AttributeClassifier, EDIALSAnonymizer, IdentityClassifier
from edials.datasets import make_faces
from edials.models.surrogate_decoder import SurrogateDecoder

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def faces():
    data = make_faces(10, 10, size=32, random_state=0)
    data.kept = data.attributes[["age", "gender"]]  # with race, everybody is alone in a cell
    data.images.setflags(write=False)  # the caller's arrays are read-only to us
    return data


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
    return make_anonymizer().fit(faces.images, identity=faces.identity, attributes=faces.kept)


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
