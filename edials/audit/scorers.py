"""Risk and utility as metric functions, and as scorers for cross-validation and grid search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from .._labels import check_attributes, encode_labels
from .._validation import check_images, to_uint8
from ..exceptions import InvalidLabelsError
from ..metrics.risk import attribute_cells, cross_validated_excess, cross_validated_risk
from .attackers.base import PixelAttacker
from .copies import find_blanks
from .utility import LinearAttributeClassifier, f1_by_attribute, predict_all


def reidentification_risk(
    anonymized: ArrayLike, identity: ArrayLike, *, attacker: Any = None
) -> float:
    """Rank-1 risk, in [0, 1], of an attacker who learns half of the released images.

    Parameters
    ----------
    anonymized : array-like of shape (n_samples, height, width, 3)
    identity : array-like of shape (n_samples,)
    attacker : see :mod:`edials.audit.attackers.base`, optional
        None takes :class:`~edials.audit.attackers.base.PixelAttacker`.

    Raises
    ------
    InvalidLabelsError
        If nobody has two images.
    """
    images, people = _released(anonymized, identity)
    return cross_validated_risk(attacker or PixelAttacker(), images, people)


def _released(anonymized: ArrayLike, identity: ArrayLike) -> tuple[NDArray, NDArray[np.int64]]:
    """Images and the codes of the people on them; -1 where an image was withheld."""
    images = to_uint8(check_images(anonymized)[0])
    people = encode_labels(identity, name="identity", n_samples=len(images)).codes
    return images, np.where(find_blanks(images), -1, people)


def excess_risk(
    anonymized: ArrayLike, identity: ArrayLike, attributes: Any = None, *, attacker: Any = None
) -> float:
    """Rank-1 success of an attacker who knows the attributes, above what these alone give.

    Inside the true cell, less 1 / people in it, mean over people.

    Parameters
    ----------
    anonymized : array-like of shape (n_samples, height, width, 3)
    identity : array-like of shape (n_samples,)
    attributes : DataFrame or array-like, optional
        None is one cell.
    attacker : see :mod:`edials.audit.attackers.base`, optional
        None takes :class:`~edials.audit.attackers.base.PixelAttacker`.
    """
    images, people = _released(anonymized, identity)
    cells = attribute_cells(people, check_attributes(attributes, len(people)))
    return cross_validated_excess(attacker or PixelAttacker(), images, people, cells)


def utility_retention(
    original: ArrayLike, anonymized: ArrayLike, attributes: Any, identity: ArrayLike
) -> float:
    """Macro-F1 on released images over macro-F1 on clear ones, mean over attributes.

    By linear models trained on clear images of other people; 1 is nothing lost.

    Parameters
    ----------
    original, anonymized : array-like of shape (n_samples, height, width, 3)
    attributes : DataFrame or array-like
    identity : array-like of shape (n_samples,)
        Person on each image, none missing.
    """
    clear, released = (to_uint8(check_images(side)[0]) for side in (original, anonymized))
    table = check_attributes(attributes, len(clear))
    if table is None:
        raise InvalidLabelsError("utility_retention needs attributes; expected at least one.")
    people = encode_labels(identity, name="identity", n_samples=len(clear)).codes
    kinds = {"clear": clear, "released": released}
    none_withheld = np.zeros(len(clear), dtype=bool)
    predicted = predict_all(kinds, table, people, LinearAttributeClassifier(), none_withheld)
    scores = f1_by_attribute(predicted, table)
    return float((scores["released"] / scores["clear"]).mean())


class ReleaseScorer(BaseEstimator):
    """A scorer that anonymizes the test fold and requests ``identity`` and ``attributes``.

    Switch metadata routing on, then pass both in ``params``.

    Parameters
    ----------
    measure : callable (original, anonymized, identity, attributes) -> float
        Higher is better.
    """

    __metadata_request__score = {"identity": True, "attributes": True}  # noqa: RUF012

    def __init__(self, measure: Callable[..., float]):
        self.measure = measure

    def score(
        self, estimator: Any, X: ArrayLike, y: Any = None, *, identity: Any, attributes: Any = None
    ) -> float:
        """Anonymize ``X`` and measure; ``y`` are the attributes where these are None.

        Parameters
        ----------
        estimator : fitted anonymizer, or Pipeline whose first step with ``anonymize`` is one
        X : array-like of shape (n_samples, height, width, 3)
        y : array-like of shape (n_samples,), optional
        identity : array-like of shape (n_samples,)
        attributes : DataFrame or array-like, optional
        """
        steps = (step for _, step in getattr(estimator, "steps", []) if hasattr(step, "anonymize"))
        released = next(steps, estimator).transform(X)
        return self.measure(X, released, identity, y if attributes is None else attributes)

    def __call__(self, estimator: Any, X: ArrayLike, y: Any = None, **metadata: Any) -> float:
        return self.score(estimator, X, y, **metadata)


# Functions with names, so that scorers can be pickled.
def _minus_risk(original: Any, released: Any, identity: Any, attributes: Any) -> float:
    return -reidentification_risk(released, identity)


def _minus_excess(original: Any, released: Any, identity: Any, attributes: Any) -> float:
    return -excess_risk(released, identity, attributes)


def _retention(original: Any, released: Any, identity: Any, attributes: Any) -> float:
    return utility_retention(original, released, attributes, identity)


#: Scorers for ``scoring=``; risks are negated, since scikit-learn takes higher as better.
neg_reidentification_risk_scorer = ReleaseScorer(_minus_risk)
neg_excess_risk_scorer = ReleaseScorer(_minus_excess)
utility_retention_scorer = ReleaseScorer(_retention)


def utility_minus_excess(
    original: NDArray, released: NDArray, identity: ArrayLike, attributes: Any
) -> float:
    """Utility retention less excess risk, a measure for :class:`ReleaseScorer`."""
    excess = excess_risk(released, identity, attributes)
    return utility_retention(original, released, attributes, identity) - max(0.0, excess)
