"""Utility: what judges who never saw these people still read off the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score


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
