"""scikit-learn's own checks, on flat rows through adapters that only tests need.

The checks bring rows of any length and any range, and no metadata; a face is a picture in [0, 1]
of somebody. So the adapters squash the rows into pictures and take the identity from ``y``.
"""

import numpy as np
import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from edials import AdversarialAutoencoder, AttributeClassifier, EDIALSAnonymizer, IdentityClassifier
from edials.models.surrogate_decoder import SurrogateDecoder

SHAPE = (16, 16, 3)


def as_pictures(rows):
    """Squash rows of any length into pictures, the same for the same row."""
    squashed = 1 / (1 + np.exp(-np.clip(rows / 10, -50, 50)))
    wanted = np.arange(np.prod(SHAPE)) % rows.shape[1]
    return squashed[:, wanted].astype(np.float32).reshape(-1, *SHAPE)


class AnonymizerOnRows(EDIALSAnonymizer):
    """Identity from ``y`` where that has classes, else everybody's turn; ``y`` is kept as well."""

    def fit(self, X, y=None):
        if y is None:
            X = validate_data(self, X, dtype="numeric", ensure_min_samples=2)
        else:
            X, y = validate_data(self, X, y, dtype="numeric", ensure_min_samples=2)
        n_features, people = self.n_features_in_, self._people(X, y)
        super().fit(as_pictures(X), people, identity=people)
        self.n_features_in_ = n_features
        return self

    @staticmethod
    def _people(X, y):
        if y is not None and type_of_target(y) in ("binary", "multiclass"):
            return np.unique(y, return_inverse=True)[1]
        return np.arange(len(X)) % 2

    def transform(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype="numeric", reset=False)
        released = super().transform(as_pictures(X))
        return released.reshape(len(X), -1).astype(X.dtype if X.dtype.kind == "f" else float)

    def score(self, X, y=None, sample_weight=None):
        X = validate_data(self, X, dtype="numeric", reset=False)
        people = self._people(X, y)
        released = as_pictures(X)
        predicted = self.attribute_classifier_.predict(released)
        return float((predicted == people).mean())

    def fit_transform(self, X, y=None):
        return self.fit(X, y).transform(X)


def tiny(kind):
    return kind("tiny", max_epochs=1, random_state=0)


def anonymizer():
    return AnonymizerOnRows(
        tiny(AdversarialAutoencoder),
        identity_classifier=tiny(IdentityClassifier),
        attribute_classifier=tiny(AttributeClassifier),
        surrogate_decoder=tiny(SurrogateDecoder),
        random_state=0,
    )


# A few checks bring rows so alike that everything decodes to one colour, which the door blanks;
# and two or three people whose label is all there is about them.
@pytest.mark.filterwarnings("ignore::edials.exceptions.IdentityLeakWarning")
@pytest.mark.filterwarnings("ignore::edials.exceptions.CalibrationWarning")
@pytest.mark.filterwarnings("ignore:The attributes .* are the same on every image")
@parametrize_with_checks([anonymizer()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "kind", [AdversarialAutoencoder, AttributeClassifier, IdentityClassifier, SurrogateDecoder]
)
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
    ],
)
def test_parameters_of_the_network_estimators(kind, check):
    check(kind.__name__, kind())
