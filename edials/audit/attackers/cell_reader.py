"""The attacker who does not know the true kept attributes and reads them off the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ..figures import People
from .base import PixelAttacker


class CellReader:
    """Linear discriminant analysis on pixel components that names the cell, with a temperature.

    ``log P(cell | x) = t_cell(x) / T + log(people in the cell)``, normalised over the cells: it
    learns from released images of the gallery and is calibrated on validation images.
    """

    def fit(
        self, images: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
    ) -> CellReader:
        """Learn the cells.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, 3)
            Released ones of the gallery.
        people : ndarray of shape (n_samples,)
        cells : ndarray of shape (n_people,)
        """
        self.cells_ = cells
        self.prior_ = np.log(np.bincount(cells) / len(cells))
        self.inverse_temperature_ = 1.0
        if len(self.prior_) > 1:
            self.model_ = PixelAttacker().fit(images, cells[people])
        return self

    def calibrate(self, images: NDArray, people: NDArray[np.int64]) -> CellReader:
        """Fit the temperature on validation images, by the likelihood of their cells."""
        if len(self.prior_) > 1:
            scores = self.model_.scores(images)
            spread = float(scores.std()) or 1.0
            own = self.cells_[people][:, None]

            def loss(inverse: float) -> float:
                log_cells = log_softmax(inverse / spread * scores + self.prior_, axis=1)
                return -float(np.take_along_axis(log_cells, own, axis=1).mean())

            best = minimize_scalar(loss, bounds=(0, 30), method="bounded").x
            self.inverse_temperature_ = float(best) / spread
        return self

    def log_probabilities(self, images: NDArray) -> NDArray[np.float64]:
        """Log-probability of every cell, shape (n_samples, n_cells)."""
        if len(self.prior_) == 1:
            return np.zeros((len(images), 1))
        scores = self.inverse_temperature_ * np.asarray(self.model_.scores(images), np.float64)
        return log_softmax(scores + self.prior_, axis=1)


def read_cells(released: dict[str, NDArray], people: dict[str, People]) -> NDArray[np.float64]:
    """Log-probability of every cell on probe images, for who does not know the attributes.

    Parameters
    ----------
    released : dict of str to ndarray of shape (n_samples, height, width, 3)
        "enrol", "validation" and "probe".
    people : dict of str to People
    """
    enrol, validation = people["enrol"], people["validation"]
    reader = CellReader().fit(released["enrol"], enrol.codes, enrol.cells)
    reader.calibrate(released["validation"], validation.codes)
    return reader.log_probabilities(released["probe"])
