"""SHAP of the identity decision over the latent features: what gives a person away.

Every explainer has shap's own interface: built on a score and a background, called on latents,
returns a ``shap.Explanation``. Scores are those of :mod:`edials.explain.identity_score`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._random import torch_defaults
from .expected_gradients import ExpectedGradients, Explainer, as_array, path_gradients, shap
from .identity_score import device_of, evaluation_mode, score_latents
from .shap_adapters import DeepExplainer, ForeignExplainer, PermutationExplainer

__all__ = [
    "DeepExplainer",
    "ExpectedGradients",
    "PermutationExplainer",
    "check_explainer",
    "completeness_error",
    "make_explainer",
    "mean_absolute",
    "path_gradients",
]

_EXPLAINERS: dict[str, type[Explainer]] = {
    "gradient": ExpectedGradients,
    "deep": DeepExplainer,
    "permutation": PermutationExplainer,
}


def check_explainer(explainer: Any) -> None:
    """Check that an explainer is a name of ours, or something that builds one.

    Raises
    ------
    ValueError
        As :func:`make_explainer`.
    """
    is_valid = explainer in _EXPLAINERS if isinstance(explainer, str) else callable(explainer)
    if not is_valid or isinstance(explainer, shap.Explainer):
        raise ValueError(
            f"explainer={explainer!r}; expected one of {sorted(_EXPLAINERS)}, or a class of shap's "
            f"such as shap.GradientExplainer, not yet built on a model."
        )


def make_explainer(
    explainer: Any, score: Any, background: ArrayLike, **settings: Any
) -> Callable[[ArrayLike], shap.Explanation]:
    """Build an explainer from its name, or from one of shap's classes.

    Parameters
    ----------
    explainer : {"gradient", "deep", "permutation"} or callable (module, background Tensor)
        A callable is called for every row with a module latents (m, d) -> (m, 1); the
        result's ``shap_values``, or else its call, must give d values.
    score : callable (latents (m, d), rows (m,)) -> Tensor (m,)
    background : array-like of shape (n_background, d)
    **settings
        Passed to our explainers.

    Raises
    ------
    ValueError
        If the name is unknown, or an explainer comes already built on another model.
    """
    check_explainer(explainer)
    kind = _EXPLAINERS[explainer] if isinstance(explainer, str) else explainer
    if isinstance(kind, type) and issubclass(kind, Explainer):
        return kind(score, background, **settings)
    return ForeignExplainer(score, background, kind=kind, **settings)


@torch_defaults()
def completeness_error(explanation: shap.Explanation, score: Any) -> NDArray[np.float64]:
    """How far each row's values are from adding up: |sum(phi) - (score(z) - base)|, shape (n,)."""
    data = as_array(explanation.data)
    with evaluation_mode(score):
        scores = score_latents(score, data, np.arange(len(data)), device_of(score))
    return np.abs(explanation.values.sum(axis=1) - (scores - explanation.base_values))


def mean_absolute(values: NDArray, people: ArrayLike) -> NDArray[np.float64]:
    """Mean |SHAP| of every feature, within each person first, then over people.

    Parameters
    ----------
    values : ndarray of shape (n, d)
    people : array-like of shape (n,)

    Returns
    -------
    ndarray of shape (d,)
    """
    codes = np.unique(np.asarray(people), return_inverse=True)[1]
    sums = np.zeros((codes.max() + 1, values.shape[1]))
    np.add.at(sums, codes, np.abs(values))
    return (sums / np.bincount(codes)[:, None]).mean(axis=0)
