"""Utility: what judges who never saw these people still read off the images."""

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
_GROUPS = 12  # values of an attribute that still make groups


def macro_f1(
    judge: Any, images: NDArray, attributes: pd.DataFrame, withheld: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Macro-F1 of every attribute, in [0, 1]; a withheld image counts as wrong.

    Parameters
    ----------
    judge : AttributeClassifier, or anything with ``predict_table``
        Trained on other people's clear images.
    images : ndarray of shape (n_samples, height, width, 3)
    attributes : DataFrame of shape (n_samples, n_attributes)
        True labels; rows where one is missing do not count for it.
    withheld : ndarray of bool, shape (n_samples,), optional
    """
    table = judge.predict_table(images)
    scores = {}
    for name in attributes.columns:
        known = attributes[name].notna().to_numpy()
        true = attributes[name].to_numpy()[known].astype(str)
        guess = table[name].to_numpy()[known].astype(str)
        if withheld is not None:
            guess = np.where(withheld[known], "withheld", guess)
        scores[str(name)] = float(
            f1_score(true, guess, labels=np.unique(true), average="macro", zero_division=0)
        )
    return scores


class LinearJudge(BaseEstimator):
    """One linear discriminant analysis on pixel components per attribute: quick, and no network.

    Parameters
    ----------
    n_components : int, default=100
    """

    def __init__(self, n_components: int = 100):
        self.n_components = n_components

    def fit(self, images: NDArray, attributes: pd.DataFrame) -> LinearJudge:
        """Learn every attribute from the images that have its label."""
        rows = to_rows(check_images(images)[0])
        self.models_ = {}
        for name in attributes.columns:
            known = attributes[name].notna().to_numpy()
            count = max(1, min(self.n_components, int(known.sum()) // 3))
            labels = attributes[name][known].astype(str)
            if labels.nunique() < 2:  # nothing to tell apart, or nothing known
                model: Any = DummyClassifier(strategy="most_frequent")
                self.models_[name] = model.fit([[0]], labels.unique()[:1] if len(labels) else [""])
                continue
            model = make_pipeline(
                PCA(count, svd_solver="randomized", whiten=True, random_state=0),
                LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
            )
            with warnings.catch_warnings():
                # A class of one image adds a mean and no covariance, which is right here.
                warnings.filterwarnings("ignore", "Only one sample available")
                self.models_[name] = model.fit(rows[known], labels)
        return self

    def predict_table(self, images: NDArray) -> pd.DataFrame:
        """Labels as a DataFrame of shape (n_samples, n_attributes)."""
        rows = to_rows(check_images(images)[0])
        return pd.DataFrame({name: model.predict(rows) for name, model in self.models_.items()})


def person_disjoint_utility(
    kinds: dict[str, NDArray], attributes: pd.DataFrame, people: NDArray[np.int64], judge: Any
) -> pd.DataFrame:
    """Macro-F1 of every attribute, judged by models that never saw the person.

    Parameters
    ----------
    kinds : dict of str to ndarray of shape (n_samples, height, width, 3)
        "clear", "released", and others to judge alike; the same rows in each.
    attributes : DataFrame of shape (n_samples, n_attributes)
    people : ndarray of shape (n_samples,)
    judge : fitted AttributeClassifier, LinearJudge, or anything like it
        With ``fit`` and not fitted: trained on clear images of two thirds of the people and asked
        about the others. Fitted: asked as it is; it must not know these people.

    Returns
    -------
    DataFrame of shape (n_attributes, n_kinds + 2)
        Columns "majority" (always the most frequent class), the kinds, and "trained on released",
        the same judge trained on released and asked about clear images (NaN for a fitted judge).
    """
    return f1_by_attribute(predict_all(kinds, attributes, people, judge), attributes)


def predict_all(
    kinds: dict[str, NDArray],
    attributes: pd.DataFrame,
    people: NDArray[np.int64],
    judge: Any,
    withheld: NDArray[np.bool_] | None = None,
) -> dict[str, pd.DataFrame]:
    """Predicted labels behind :func:`person_disjoint_utility`, whose parameters the first four are.

    Parameters
    ----------
    kinds, attributes, people, judge
    withheld : ndarray of bool, shape (n_samples,), optional
        Where nothing was released: what a judge says there is "withheld", and no judge is trained
        on it.

    Returns
    -------
    dict of str to DataFrame of shape (n_samples, n_attributes)
        For "majority", every kind, and (unless the judge is fitted) "trained on released".
    """
    majority = attributes.apply(lambda column: column.mode().iloc[0]).to_dict()
    constant = pd.DataFrame({name: [value] * len(attributes) for name, value in majority.items()})
    tables = {"majority": constant}
    if hasattr(judge, "module_") or not hasattr(judge, "fit"):
        tables |= {kind: judge.predict_table(images) for kind, images in kinds.items()}
    else:
        tables |= _cross_judged(kinds, attributes, people, judge, withheld)
    if withheld is not None:
        tables["released"].loc[withheld] = "withheld"
    return tables


def f1_by_attribute(said: dict[str, pd.DataFrame], attributes: pd.DataFrame) -> pd.DataFrame:
    """Macro-F1 of every attribute (rows) for every kind of images (columns), in [0, 1].

    Parameters
    ----------
    said : dict of str to DataFrame
        See :func:`predict_all`.
    attributes : DataFrame of shape (n_samples, n_attributes)
        True labels.
    """
    scores = {
        kind: macro_f1(StoredPredictions(table), np.empty(0), attributes)
        for kind, table in said.items()
    }
    others = [kind for kind in said if kind not in ("majority", "trained on released")]
    return pd.DataFrame(scores).reindex(columns=["majority", *others, "trained on released"])


def f1_by_class(
    said: dict[str, pd.DataFrame], attributes: pd.DataFrame, people: NDArray[np.int64]
) -> pd.DataFrame:
    """F1 of every class of every attribute, in [0, 1].

    Parameters
    ----------
    said, attributes
        As for :func:`f1_by_attribute`.
    people : ndarray of shape (n_samples,)

    Returns
    -------
    DataFrame
        Columns "attribute", "class", "n_people" who have it, and the kinds.
    """
    rows = []
    for name in attributes.columns:
        known = attributes[name].notna().to_numpy()
        true = attributes[name].to_numpy()[known].astype(str)
        classes = np.unique(true)
        scores = {
            kind: f1_score(
                true,
                table[name].to_numpy()[known].astype(str),
                labels=classes,
                average=None,
                zero_division=0,
            )
            for kind, table in said.items()
        }
        for place, value in enumerate(classes):
            row: dict[str, Any] = {"attribute": str(name), "class": value}
            row["n_people"] = len(np.unique(people[known][true == value]))
            rows.append(row | {kind: float(found[place]) for kind, found in scores.items()})
    return pd.DataFrame(rows)


def f1_by_group(
    said: dict[str, pd.DataFrame], attributes: pd.DataFrame, people: NDArray[np.int64]
) -> pd.DataFrame:
    """Macro-F1 of every attribute among those who share a value of another one, in [0, 1].

    Parameters
    ----------
    said, attributes, people
        As for :func:`f1_by_class`.

    Returns
    -------
    DataFrame
        Columns "attribute", "by" (the other one), "group" (its value), "n_people", and the kinds.
        Empty if there is one attribute only.
    """
    rows = []
    for by, name in itertools.permutations(attributes.columns, 2):
        if attributes[by].nunique() > _GROUPS:
            continue
        for group, members in attributes.groupby(by).indices.items():
            if attributes[name].iloc[members].notna().sum() == 0:
                continue
            own = attributes[[name]].iloc[members].reset_index(drop=True)
            row: dict[str, Any] = {"attribute": str(name), "by": str(by), "group": str(group)}
            row["n_people"] = len(np.unique(people[members]))
            for kind, table in said.items():
                told = StoredPredictions(table.iloc[members].reset_index(drop=True))
                row[kind] = macro_f1(told, np.empty(0), own)[str(name)]
            rows.append(row)
    return pd.DataFrame(rows)


def group_gaps(groups: pd.DataFrame, *, smallest: int = SMALL_GROUP) -> pd.DataFrame:
    """Largest less smallest macro-F1 between the groups of :func:`f1_by_group`.

    Parameters
    ----------
    groups : DataFrame
    smallest : int, default=10
        Groups of fewer people are left out: they are too small to speak of.

    Returns
    -------
    DataFrame
        Columns "attribute", "by", "n_groups", and the kinds.
    """
    if groups.empty:
        return groups
    large = groups[groups["n_people"] >= smallest]
    kinds = [c for c in groups.columns if c not in ("attribute", "by", "group", "n_people")]
    found = large.groupby(["attribute", "by"], sort=False)
    gaps = (found[kinds].max() - found[kinds].min()).assign(n_groups=found.size())
    gaps = gaps[gaps["n_groups"] > 1].reset_index()
    return gaps[["attribute", "by", "n_groups", *kinds]]


def _cross_judged(
    kinds: dict[str, NDArray],
    attributes: pd.DataFrame,
    people: NDArray[np.int64],
    judge: Any,
    withheld: NDArray[np.bool_] | None,
) -> dict[str, pd.DataFrame]:
    empty = pd.DataFrame(index=attributes.index, columns=attributes.columns, dtype=object)
    tables = {kind: empty.copy() for kind in (*kinds, "trained on released")}
    clear = kinds["clear"]
    folds = min(_FOLDS, len(np.unique(people)))
    for learned, asked in GroupKFold(folds).split(clear, groups=people):
        labels = attributes.iloc[learned].reset_index(drop=True)
        ours = clone(judge).fit(clear[learned], labels)
        for kind, images in kinds.items():
            tables[kind].iloc[asked] = ours.predict_table(images[asked]).to_numpy(dtype=object)
        there = learned if withheld is None else learned[~withheld[learned]]
        labels = attributes.iloc[there].reset_index(drop=True)
        theirs = clone(judge).fit(kinds["released"][there], labels)
        told = theirs.predict_table(clear[asked]).to_numpy(dtype=object)
        tables["trained on released"].iloc[asked] = told
    return tables


class StoredPredictions:
    """Predictions made before, in the form of a judge."""

    def __init__(self, table: pd.DataFrame):
        self.table = table

    def predict_table(self, images: NDArray) -> pd.DataFrame:
        return self.table
