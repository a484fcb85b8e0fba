"""Utility: attributes that classifiers predict on people they never saw."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from .._validation import check_images, to_rows
from .groups import SMALL_GROUP

_FOLDS = 3
_N_COMPONENTS = 100
_MAX_GROUPS = 12  # more values of an attribute make no groups to compare


class LinearAttributeClassifier(BaseEstimator):
    """One linear discriminant analysis on pixel components per attribute: fast, and no network."""

    def fit(self, images: NDArray, attributes: pd.DataFrame) -> LinearAttributeClassifier:
        """Learn every attribute from the images that have its label."""
        rows = to_rows(check_images(images)[0])
        self.models_ = {}
        for name in attributes.columns:
            has_label = attributes[name].notna().to_numpy()
            labels = attributes[name][has_label].astype(str)
            if labels.nunique() < 2:
                constant = labels.unique()[:1] if len(labels) else [""]
                dummy = DummyClassifier(strategy="most_frequent")
                self.models_[name] = dummy.fit([[0]], constant)
                continue
            count = max(1, min(_N_COMPONENTS, len(labels) // 3))
            model = make_pipeline(
                PCA(count, svd_solver="randomized", whiten=True, random_state=0),
                LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
            )
            with warnings.catch_warnings():
                # A class of one image adds a mean and no covariance, which is right here.
                warnings.filterwarnings("ignore", "Only one sample available")
                self.models_[name] = model.fit(rows[has_label], labels)
        return self

    def predict_table(self, images: NDArray) -> pd.DataFrame:
        """Labels as a DataFrame of shape (n_samples, n_attributes)."""
        rows = to_rows(check_images(images)[0])
        return pd.DataFrame({name: model.predict(rows) for name, model in self.models_.items()})


def predict_all(
    kinds: dict[str, NDArray],
    attributes: pd.DataFrame,
    people: NDArray[np.int64],
    classifier: Any,
    withheld: NDArray[np.bool_],
) -> dict[str, pd.DataFrame]:
    """Predict the attributes on every kind of images, by classifiers that never saw the person.

    ``kinds`` are "clear", "released", and others, with the same rows in each. A classifier with
    ``predict_table`` that is not fitted is trained on clear images of two thirds of the people, for
    the others. A fitted one is used as it is; it must not know these people. For ``withheld``
    images, "withheld" is predicted, and none of them is trained on.

    To the kinds come "majority" (always the most frequent class) and, unless the classifier is
    fitted, "trained on released": trained on released images and applied to clear ones.
    """
    n_samples = len(attributes)
    majority = {name: [column.mode().iloc[0]] * n_samples for name, column in attributes.items()}
    predicted = {"majority": pd.DataFrame(majority)}
    if hasattr(classifier, "module_") or not hasattr(classifier, "fit"):
        predicted |= {kind: classifier.predict_table(images) for kind, images in kinds.items()}
    else:
        predicted |= _cross_predict(kinds, attributes, people, classifier, withheld)
    predicted["released"].loc[withheld] = "withheld"
    return predicted


def _cross_predict(
    kinds: dict[str, NDArray],
    attributes: pd.DataFrame,
    people: NDArray[np.int64],
    classifier: Any,
    withheld: NDArray[np.bool_],
) -> dict[str, pd.DataFrame]:
    """Predictions for every third of the people by classifiers trained on the others."""
    empty = pd.DataFrame(index=attributes.index, columns=attributes.columns, dtype=object)
    predicted = {kind: empty.copy() for kind in (*kinds, "trained on released")}
    clear, released = kinds["clear"], kinds["released"]

    def fit_classifier(images: NDArray, rows: NDArray) -> Any:
        labels = attributes.iloc[rows].reset_index(drop=True)
        return clone(classifier).fit(images[rows], labels)

    folds = GroupKFold(min(_FOLDS, len(np.unique(people))))
    for training, test in folds.split(clear, groups=people):
        on_clear = fit_classifier(clear, training)
        on_released = fit_classifier(released, training[~withheld[training]])
        for kind, images in kinds.items():
            predicted[kind].iloc[test] = on_clear.predict_table(images[test]).to_numpy(object)
        table = on_released.predict_table(clear[test])
        predicted["trained on released"].iloc[test] = table.to_numpy(object)
    return predicted


def macro_f1(
    predicted: pd.DataFrame,
    attributes: pd.DataFrame,
    withheld: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """Macro-F1 of every attribute, in [0, 1].

    Rows whose true label is missing do not count; those that are withheld count as wrong.
    """
    if withheld is not None:
        predicted = predicted.astype(object)
        predicted.loc[withheld] = "withheld"
    return {
        str(name): float(np.mean(_f1_of_classes(predicted[name], attributes[name])[1]))
        for name in attributes.columns
    }


def _f1_of_classes(predicted: pd.Series, true: pd.Series) -> tuple[NDArray, NDArray[np.float64]]:
    """Classes of one attribute and the F1 of each."""
    has_label = true.notna().to_numpy()
    labels, guesses = (column.to_numpy()[has_label].astype(str) for column in (true, predicted))
    classes = np.unique(labels)
    return classes, f1_score(labels, guesses, labels=classes, average=None, zero_division=0)


def f1_by_attribute(predicted: dict[str, pd.DataFrame], attributes: pd.DataFrame) -> pd.DataFrame:
    """Macro-F1 of every attribute (rows) for every kind of images (columns), in [0, 1].

    ``predicted`` is from :func:`predict_all`, ``attributes`` are the true labels. "trained on
    released" is NaN for a fitted classifier.
    """
    scores = {kind: macro_f1(table, attributes) for kind, table in predicted.items()}
    kinds = [kind for kind in predicted if kind not in ("majority", "trained on released")]
    return pd.DataFrame(scores).reindex(columns=["majority", *kinds, "trained on released"])


def f1_by_class(
    predicted: dict[str, pd.DataFrame], attributes: pd.DataFrame, people: NDArray[np.int64]
) -> pd.DataFrame:
    """F1 in [0, 1]: columns "attribute", "class", "n_people" who have it, and the kinds."""
    rows = []
    for name, true in attributes.items():
        scores = {
            kind: dict(zip(*_f1_of_classes(table[name], true), strict=True))
            for kind, table in predicted.items()
        }
        for label in np.unique(true.dropna().astype(str)):
            n_people = len(np.unique(people[true.notna() & (true.astype(str) == label)]))
            row = {"attribute": str(name), "class": label, "n_people": n_people}
            rows.append(row | {kind: float(f1[label]) for kind, f1 in scores.items()})
    return pd.DataFrame(rows)


def f1_by_group(
    predicted: dict[str, pd.DataFrame], attributes: pd.DataFrame, people: NDArray[np.int64]
) -> pd.DataFrame:
    """Macro-F1 of every attribute among people who share a value of another one, in [0, 1].

    Columns "attribute", "by" (the other one), "group" (its value), "n_people", and the kinds. Empty
    if there is one attribute only.
    """
    rows = []
    for by, name in itertools.permutations(attributes.columns, 2):
        if attributes[by].nunique() > _MAX_GROUPS:
            continue
        for group, members in attributes.groupby(by).indices.items():
            true = attributes[[name]].iloc[members]
            if true[name].isna().all():
                continue
            n_people = len(np.unique(people[members]))
            row = {"attribute": str(name), "by": str(by), "group": str(group), "n_people": n_people}
            scores = {
                kind: macro_f1(table.iloc[members], true)[str(name)]
                for kind, table in predicted.items()
            }
            rows.append(row | scores)
    return pd.DataFrame(rows)


def group_gaps(groups: pd.DataFrame, *, smallest: int = SMALL_GROUP) -> pd.DataFrame:
    """Largest less smallest macro-F1 between the groups of :func:`f1_by_group`.

    Columns "attribute", "by", "n_groups", and the kinds. Groups of fewer than ``smallest`` people
    are left out.
    """
    if groups.empty:
        return groups
    large = groups[groups["n_people"] >= smallest].groupby(["attribute", "by"], sort=False)
    kinds = [c for c in groups.columns if c not in ("attribute", "by", "group", "n_people")]
    gaps = (large[kinds].max() - large[kinds].min()).assign(n_groups=large.size())
    gaps = gaps[gaps["n_groups"] > 1].reset_index()
    return gaps[["attribute", "by", "n_groups", *kinds]]
