"""
In a Pipeline and in cross-validation
=====================================

Train a classifier on anonymized photos, and test it on anonymized photos of other people.
"""

from sklearn import set_config
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline

from edials import (
    AdversarialAutoencoder,
    AttributeClassifier,
    EDIALSAnonymizer,
    IdentityClassifier,
    SurrogateDecoder,
)
from edials.datasets import make_faces

# %%
# With metadata routing, ``identity`` reaches the anonymizer under its own name. Without
# ``attributes``, the only attribute is ``y``.
set_config(enable_metadata_routing=True)

faces = make_faces(36, 4, size=32, random_state=0)
quick = {"size": "tiny", "max_epochs": 5, "random_state": 0}
classifier = AttributeClassifier("tiny", max_epochs=40, learning_rate=0.003, random_state=0)
anonymizer = EDIALSAnonymizer(
    AdversarialAutoencoder(**quick),
    identity_classifier=IdentityClassifier(**quick),
    attribute_classifier=classifier,
    surrogate_decoder=SurrogateDecoder(**quick),
    strength=1.0,
    random_state=0,
)
pipeline = Pipeline([("anonymize", anonymizer), ("classify", classifier)])

# %%
# Folds by person: everybody in a test fold is new to the anonymizer and to the classifier.
groups, folds = {"groups": faces.identity}, GroupKFold(2)
X, y = faces.images, faces.attributes["race"]
clear = cross_val_score(classifier, X, y, cv=folds, params=groups)
anonymized = cross_val_score(
    pipeline, X, y, cv=folds, params={**groups, "identity": faces.identity}
)
print(f"balanced accuracy on clear photos {clear.mean():.2f}, anonymized {anonymized.mean():.2f}")
print(f"by chance {1 / y.nunique():.2f}")
