"""Shared fixtures: one small set of made-up faces, one fitted anonymizer."""

import matplotlib
import pytest

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
