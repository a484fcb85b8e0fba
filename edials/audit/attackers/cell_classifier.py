"""Predict attribute cells from released images: the attacker who does not know the attributes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from .base import PixelAttacker


class CellClassifier:
    """Linear discriminant analysis on pixel components that predicts the cell.

    ``log P(cell | x) = s_cell(x) / T + log(people in the cell)``, normalised over the cells. It
    learns released images of the gallery; the temperature ``T`` is fitted on validation images.
    """

    def fit(
        self, images: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
    ) -> CellClassifier:
        """Learn the cells of the people, shape (n_people,), from released gallery images."""
        self.cells_ = cells
        self.log_prior_ = np.log(np.bincount(cells) / len(cells))
        self.inverse_temperature_ = 1.0
        if len(self.log_prior_) > 1:
            self.model_ = PixelAttacker().fit(images, cells[people])
        return self

    def calibrate(self, images: NDArray, people: NDArray[np.int64]) -> CellClassifier:
        """Fit the temperature on validation images, by the likelihood of their cells."""
        if len(self.log_prior_) > 1:
            scores = self.model_.scores(images)
            spread = float(scores.std()) or 1.0
            true = self.cells_[people][:, None]

            def loss(inverse: float) -> float:
                log_cells = log_softmax(inverse / spread * scores + self.log_prior_, axis=1)
                return -float(np.take_along_axis(log_cells, true, axis=1).mean())

            best = minimize_scalar(loss, bounds=(0, 30), method="bounded").x
            self.inverse_temperature_ = float(best) / spread
        return self

    def predict_log_proba(self, images: NDArray) -> NDArray[np.float64]:
        """Log-probability of every cell, shape (n_samples, n_cells)."""
        if len(self.log_prior_) == 1:
            return np.zeros((len(images), 1))
        scores = self.inverse_temperature_ * np.asarray(self.model_.scores(images), np.float64)
        return log_softmax(scores + self.log_prior_, axis=1)
