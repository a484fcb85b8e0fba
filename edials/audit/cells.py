"""Attribute cells predicted from released images, for attackers who do not know the attributes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from .attackers.base import PixelAttacker
from .figures import People


def predict_cells(released: dict[str, NDArray], people: dict[str, People]) -> NDArray[np.float64]:
    """Log-probability of every cell on probe images, shape (n_probe_samples, n_cells).

    ``log P(cell | x) = s_cell(x) / T + log(people in the cell)``, normalised over the cells. The
    scores are of a linear discriminant analysis on pixel components of the gallery; the temperature
    ``T`` has the highest likelihood on validation images.
    """
    enrol, validation, cells = people["enrol"], people["validation"], people["enrol"].cells
    log_prior = np.log(np.bincount(cells) / len(cells))
    if len(log_prior) == 1:
        return np.zeros((len(released["probe"]), 1))
    model = PixelAttacker().fit(released["enrol"], cells[enrol.codes])
    scores, true = model.scores(released["validation"]), cells[validation.codes][:, None]
    spread = float(scores.std()) or 1.0

    def loss(inverse: float) -> float:
        log_cells = log_softmax(inverse / spread * scores + log_prior, axis=1)
        return -float(np.take_along_axis(log_cells, true, axis=1).mean())

    inverse = float(minimize_scalar(loss, bounds=(0, 30), method="bounded").x) / spread
    probe = np.asarray(model.scores(released["probe"]), np.float64)
    return log_softmax(inverse * probe + log_prior, axis=1)
