"""Utility: what judges who never saw these people still read off the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from .._validation import check_images, to_rows

_FOLDS = 3


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
            model = make_pipeline(
                PCA(count, svd_solver="randomized", whiten=True, random_state=0),
                LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
            )
            self.models_[name] = model.fit(rows[known], attributes[name][known].astype(str))
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
    majority = attributes.apply(lambda column: column.mode().iloc[0]).to_dict()
    constant = pd.DataFrame({name: [value] * len(attributes) for name, value in majority.items()})
    tables = {"majority": constant}
    if hasattr(judge, "module_") or not hasattr(judge, "fit"):
        tables |= {kind: judge.predict_table(images) for kind, images in kinds.items()}
    else:
        tables |= _cross_judged(kinds, attributes, people, judge)
    return pd.DataFrame(
        {kind: _f1_of_table(table, attributes) for kind, table in tables.items()}
    ).reindex(columns=["majority", *kinds, "trained on released"])


def _cross_judged(
    kinds: dict[str, NDArray], attributes: pd.DataFrame, people: NDArray[np.int64], judge: Any
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
        theirs = clone(judge).fit(kinds["released"][learned], labels)
        told = theirs.predict_table(clear[asked]).to_numpy(dtype=object)
        tables["trained on released"].iloc[asked] = told
    return tables


def _f1_of_table(table: pd.DataFrame, attributes: pd.DataFrame) -> dict[str, float]:
    return macro_f1(_Said(table), np.empty(0), attributes)


class _Said:
    """Predictions made before, in the form of a judge."""

    def __init__(self, table: pd.DataFrame):
        self.table = table

    def predict_table(self, images: NDArray) -> pd.DataFrame:
        return self.table
