"""From an attacker's scores to what they are worth once the kept attributes are known, too.

``log q(p | x) = (s_p(x) - lambda c_p) / T``, normalised over the people of the true cell,

with a temperature ``T`` of either sign, so that an attacker who is wrong more often than chance
counts as well, and a centre ``c_p`` for every person, taken off or not (``lambda`` is 1 or 0): a
discriminant has a bias of its own that must not be lost, other scores have none. All come from
validation images; probe images are then judged as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import t as student

# A temperature is believed if its gain on validation is this many standard errors over people:
# in a likelihood with one parameter, chi-squared above 6, once in seventy by chance.
_BELIEVED = 1.25
_DOUBT = 0.01
# Below this many people resampling has too few values to draw from.
_FEWEST_RESAMPLED = 10


@dataclass(frozen=True)
class Calibration:
    """What turns scores into log-probabilities inside a cell.

    Attributes
    ----------
    centre : ndarray of shape (n_people,)
        Mean score of every person on validation images of others, or zeros.
    inverse_temperature : float
        0 where the scores were of no use on validation.
    spread : float
        Standard deviation of the centred scores on validation.
    """

    centre: NDArray[np.float64]
    inverse_temperature: float
    spread: float = 1.0

    @property
    def believed(self) -> bool:
        """Whether validation gave reason to use the scores as probabilities."""
        return self.inverse_temperature != 0

    def ordered(self, scores: NDArray) -> NDArray[np.float64]:
        """What comparisons are made by: calibrated scores, or the raw order if not believed."""
        return self(scores) if self.believed else (scores - self.centre) / self.spread

    def __call__(self, scores: NDArray) -> NDArray[np.float64]:
        """Calibrated scores of shape (n_samples, n_people), before the cell is known."""
        return (scores - self.centre) * self.inverse_temperature


def calibrate(
    scores: NDArray,
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    *,
    doubt: float | None = _BELIEVED,
) -> Calibration:
    """Fit temperature and centre on validation images, by the likelihood inside the true cell.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_people)
    people : ndarray of shape (n_samples,)
        True person of each image, as a column of ``scores``.
    cells : ndarray of shape (n_people,)
        Cell of every person.
    doubt : float or None, default=1.25
        Standard errors over people by which a temperature has to gain on validation to be believed;
        None believes any.

    Returns
    -------
    Calibration
    """
    scores = np.asarray(scores, dtype=np.float64)
    others = people[:, None] != np.arange(scores.shape[1])
    centre = (scores * others).sum(axis=0) / np.maximum(others.sum(axis=0), 1)
    centres = (centre, np.zeros_like(centre))
    found = [_fit_temperature(scores, c, people, cells, doubt) for c in centres]
    return max(found, key=lambda pair: pair[0])[1]


def _fit_temperature(
    scores: NDArray,
    centre: NDArray,
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    doubt: float | None,
) -> tuple[float, Calibration]:
    """Bits gained on validation with the best temperature, and that calibration."""
    spread = (scores - centre).std()
    if not spread > 0:
        return 0.0, Calibration(centre, 0.0)
    scaled = (scores - centre) / spread

    def gains(inverse: float) -> NDArray[np.float64]:
        gained = in_cell_bits(
            in_cell_log_probabilities(inverse * scaled, people, cells), people, cells
        )
        return mean_by_person(gained, people)

    best = float(minimize_scalar(lambda b: -gains(b).mean(), bounds=(-30, 30), method="bounded").x)
    gained = gains(best)
    error = gained.std(ddof=1) / np.sqrt(len(gained)) if len(gained) > 1 else np.inf
    believed = doubt is None or gained.mean() > doubt * error
    return float(gained.mean()), Calibration(
        centre, best / spread if believed else 0.0, float(spread)
    )


def in_cell_log_probabilities(
    calibrated: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-probability of every person for an attacker who knows the true cell; -inf outside it.

    Parameters
    ----------
    calibrated : ndarray of shape (n_samples, n_people)
    people : ndarray of shape (n_samples,)
    cells : ndarray of shape (n_people,)
    """
    inside = cells[people][:, None] == cells
    return log_softmax(np.where(inside, calibrated, -np.inf), axis=1)


def log_predicted_cell(
    calibrated: NDArray, log_cells: NDArray, cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-probability of every person for an attacker who reads the cell off the image.

    ``log q(p | x) = log q(p | x, cell(p)) + log P(cell(p) | x)``: the temperature is fitted inside
    cells, so the scores are normalised there and say nothing about the cell.

    Parameters
    ----------
    calibrated : ndarray of shape (n_samples, n_people)
    log_cells : ndarray of shape (n_samples, n_cells)
        Log-probability of every cell.
    cells : ndarray of shape (n_people,)
    """
    together = np.empty(np.shape(calibrated))
    for cell in np.unique(cells):
        inside = cells == cell
        together[:, inside] = log_softmax(calibrated[:, inside], axis=1)
    return together + log_cells[:, cells]


def combine(calibrations: list[Calibration], scores: list[NDArray]) -> NDArray[np.float64]:
    """Sum several attackers' scores: the calibrated ones that validation believes.

    If it believes none, their standardized raw scores: no weight is learned that could follow the
    accidents of validation, and weak traces that the attackers share still add up.

    Parameters
    ----------
    calibrations : list of Calibration
    scores : list of ndarray of shape (n_samples, n_people)
    """
    trusted = [c.believed or not any(c.believed for c in calibrations) for c in calibrations]
    parts = [
        calibration.ordered(np.asarray(own, dtype=np.float64))
        for calibration, own, used in zip(calibrations, scores, trusted, strict=True)
        if used
    ]
    return np.sum(parts, axis=0)


def in_cell_bits(
    log_probabilities: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Bits about the person beyond the cell, per image: log2 q(person) + log2(people in the cell).

    ``q`` is mixed with a hundredth of a guess inside the cell. The mean over people is at most the
    information that a release has about the person given the cell, whatever ``q`` is (the
    variational bound of Barber and Agakov, 2003).
    """
    sizes = np.bincount(cells)[cells[people]]
    own = log_probabilities[np.arange(len(people)), people]
    # Nobody sane bets everything: a hundredth stays with guessing, or one image decides the mean.
    hedged = np.logaddexp(np.log1p(-_DOUBT) + own, np.log(_DOUBT / sizes))
    return (hedged + np.log(sizes)) / np.log(2)


def mean_by_person(values: NDArray, people: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means within every person that has images, in the order of their codes."""
    counts = np.bincount(people)
    return (np.bincount(people, values) / np.maximum(counts, 1))[counts > 0]


def rank_hits(
    log_probabilities: NDArray, people: NDArray[np.int64], rank: int
) -> NDArray[np.float64]:
    """Chance, per image, that the true person is among the ``rank`` most likely; ties are drawn."""
    own = log_probabilities[np.arange(len(people)), people][:, None]
    above = (log_probabilities > own + 1e-9).sum(axis=1)
    level = (np.abs(log_probabilities - own) <= 1e-9).sum(axis=1)
    return np.clip((rank - above) / level, 0, 1)


def in_cell_auc(
    calibrated: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Chance that the true person scores above another of the cell, per image; NaN if alone."""
    others = (cells[people][:, None] == cells) & (people[:, None] != np.arange(len(cells)))
    own = calibrated[np.arange(len(people)), people][:, None]
    wins = ((own > calibrated) + 0.5 * (own == calibrated)) * others
    count = others.sum(axis=1)
    return np.where(count > 0, wins.sum(axis=1) / np.maximum(count, 1), np.nan)


def interval(
    values: NDArray,
    *,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Bootstrap interval of a mean over people, studentized; Student's own below ten people.

    Parameters
    ----------
    values : ndarray of shape (n_people,)
        One mean per person: people are what is resampled.
    level : float, default=0.95
    n_resamples : int, default=2000
    seed : int, default=0
    bounds : tuple of float, default=(-inf, inf)
        What the mean can be at all; ends beyond are cut.

    References
    ----------
    Efron and Tibshirani (1993), "An introduction to the bootstrap", section 12.5.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return float("nan"), float("nan")
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(n)
    if error == 0:
        return float(mean), float(mean)
    if n < _FEWEST_RESAMPLED:
        reach = float(student.ppf((1 + level) / 2, n - 1)) * error
        ends = mean - reach, mean + reach
    else:
        rows = np.random.default_rng(seed).integers(n, size=(n_resamples, n))
        drawn = values[rows]
        # Resamples that miss the only person who differs have no spread of their own.
        errors = np.maximum(drawn.std(axis=1, ddof=1) / np.sqrt(n), 0.1 * error)
        pivots = (drawn.mean(axis=1) - mean) / errors
        low, high = np.quantile(pivots, [(1 - level) / 2, (1 + level) / 2])
        ends = mean - high * error, mean - low * error
    least, most = bounds
    return float(np.clip(ends[0], least, most)), float(np.clip(ends[1], least, most))
