"""
A first release
===============

Fit on made-up faces, release them, and look at both.
"""

import matplotlib.pyplot as plt

from edials import (
    AdversarialAutoencoder,
    AttributeClassifier,
    EDIALSAnonymizer,
    IdentityClassifier,
    SurrogateDecoder,
)
from edials.audit import FaceSheetDisplay
from edials.datasets import make_faces

faces = make_faces(24, 6, size=32, random_state=0)

# %%
# Small networks and few epochs, so that this runs in seconds: its pictures are blurred.
# With ``strength=1.0`` every feature is replaced by a draw for the predicted attributes.
quick = {"size": "tiny", "max_epochs": 20, "random_state": 0}
anonymizer = EDIALSAnonymizer(
    AdversarialAutoencoder(**quick),
    identity_classifier=IdentityClassifier(**quick),
    attribute_classifier=AttributeClassifier(**quick),
    surrogate_decoder=SurrogateDecoder(**quick),
    strength=1.0,
    temperature=0.5,
    random_state=0,  # leave this out for a release
)
anonymizer.fit(
    faces.images, identity=faces.identity, attributes=faces.attributes[["gender", "race"]]
)
released = anonymizer.transform(faces.images)

# %%
# Photos of twelve people; the same photos encoded and decoded; what is released of them.
rows = slice(0, 72, 6)
reconstructed = anonymizer.autoencoder_.reconstruct(faces.images[rows])
FaceSheetDisplay.from_images(faces.images[rows], reconstructed, released[rows])
plt.show()
