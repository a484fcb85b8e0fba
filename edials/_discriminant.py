"""Linear discriminant analysis as the weights and bias of a linear layer."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

#: Logits per unit of cosine, in training and where no covariance can be estimated.
COSINE_SCALE = 24.0
_NO_SPREAD = 1e-6  # within classes, as a share of the variance of all


def discriminant(
    embeddings: NDArray[np.float32],
    codes: NDArray[np.int64],
    shrinkage: float,
    directions: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear discriminant analysis with even priors, as weights and bias of a linear layer.

    If no class has two samples, its covariance cannot be estimated: then ``directions`` (n_classes,
    embedding_dim) are the weights, or class means.
    """
    n_classes = int(codes.max()) + 1
    if len(codes) <= n_classes:
        if directions is None:
            directions = np.stack([embeddings[codes == k].mean(0) for k in range(n_classes)])
        return np.float32(COSINE_SCALE) * directions, np.zeros(n_classes, np.float32)
    rows = embeddings.astype(np.float64)
    counts = np.bincount(codes, minlength=n_classes)
    means = np.stack([np.bincount(codes, column) / counts for column in rows.T], axis=1)
    total = rows.var(axis=0).sum()
    if ((rows - means[codes]) ** 2).sum() <= _NO_SPREAD * len(rows) * total:
        # Classes without any spread (one picture for all photos of a person) have no covariance
        # to divide by: the nearest mean names them.
        scale = COSINE_SCALE / max(total, 1e-12)
        weights, bias = scale * means, -0.5 * scale * (means**2).sum(axis=1)
        return weights.astype(np.float32), bias.astype(np.float32)
    analysis = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=shrinkage, priors=np.full(n_classes, 1 / n_classes)
    )
    with warnings.catch_warnings():
        # A person with one photo adds a mean and no covariance, which is right here.
        warnings.filterwarnings("ignore", "Only one sample available")
        analysis.fit(rows, codes)
    weights, bias = analysis.coef_, analysis.intercept_
    if n_classes == 2:  # scikit-learn gives one row for two classes: the difference of logits
        weights, bias = np.stack([-weights[0], weights[0]]) / 2, np.array([-bias[0], bias[0]]) / 2
    return weights.astype(np.float32), bias.astype(np.float32)
