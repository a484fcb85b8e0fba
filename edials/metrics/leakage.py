"""From an attacker's scores to leakage: bits about the person beyond the attributes.

``log q(p | x) = (s_p(x) - lambda c_p) / T``, normalised over the people of the true cell.

The temperature ``T`` may have either sign, so an attacker who is wrong more often than chance
counts as well. ``c_p`` is a centre for every person; ``lambda`` is 1 or 0, because a discriminant
has a bias that must not be lost and other scores have none. All are fitted on validation images;
probe images are then evaluated with them unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import sem
from scipy.stats import t as student

# Share of a guess inside the cell in every posterior, or one image would decide the mean.
_GUESS_SHARE = 0.01
# Below this many people a bootstrap has too few values to draw from.
_MIN_BOOTSTRAP_PEOPLE = 10
_N_RESAMPLES = 2000


@dataclass(frozen=True)
class Calibration:
    """Turns scores into log-probabilities inside a cell.

    ``centre`` (n_people,) is everybody's mean score on validation images of others, or zeros;
    ``spread`` is the standard deviation of the centred scores there. ``inverse_temperature`` is 0
    where the scores were of no use.
    """

    centre: NDArray[np.float64]
    inverse_temperature: float
    spread: float = 1.0

    @property
    def is_informative(self) -> bool:
        """Whether validation gave reason to use the scores as probabilities."""
        return self.inverse_temperature != 0

    def ranking_scores(self, scores: NDArray) -> NDArray[np.float64]:
        """Scores to rank people by: calibrated, or standardized where not informative."""
        return self(scores) if self.is_informative else (scores - self.centre) / self.spread

    def __call__(self, scores: NDArray) -> NDArray[np.float64]:
        """Calibrated scores of shape (n_samples, n_people), not yet normalised over a cell."""
        return (scores - self.centre) * self.inverse_temperature


def calibrate(
    scores: NDArray,
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    *,
    min_z: float | None = 1.25,
) -> Calibration:
    """Fit temperature and centre on validation images, by the likelihood inside the true cell.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_people)
    people : ndarray of shape (n_samples,)
        True person of each image, as a column of ``scores``.
    cells : ndarray of shape (n_people,)
        Cell of every person.
    min_z : float or None, default=1.25
        Standard errors over people by which a temperature has to gain bits on validation; below,
        the scores count as uninformative. The default is reached once in seventy by chance. None
        accepts any temperature.

    Returns
    -------
    Calibration
    """
    scores = np.asarray(scores, dtype=np.float64)
    others = people[:, None] != np.arange(scores.shape[1])
    centre = (scores * others).sum(axis=0) / np.maximum(others.sum(axis=0), 1)
    candidates = [
        _fit_temperature(scores, c, people, cells, min_z) for c in (centre, np.zeros_like(centre))
    ]
    return max(candidates, key=lambda candidate: candidate[0])[1]


def _fit_temperature(
    scores: NDArray,
    centre: NDArray,
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    min_z: float | None,
) -> tuple[float, Calibration]:
    """Bits gained on validation with the best temperature, and that calibration."""
    spread = (scores - centre).std()
    if not spread > 0:
        return 0.0, Calibration(centre, 0.0)
    standardized = (scores - centre) / spread

    def bits(inverse: float) -> NDArray[np.float64]:
        log_q = in_cell_log_probabilities(inverse * standardized, people, cells)
        return mean_by_person(in_cell_bits(log_q, people, cells), people)

    best = float(minimize_scalar(lambda b: -bits(b).mean(), bounds=(-30, 30), method="bounded").x)
    gain = bits(best)
    error = sem(gain) if len(gain) > 1 else np.inf
    informative = min_z is None or gain.mean() > min_z * error
    calibration = Calibration(centre, best / spread if informative else 0.0, float(spread))
    return float(gain.mean()), calibration


def in_cell_log_probabilities(
    calibrated: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-probability of every person for an attacker who knows the true cell; -inf outside it."""
    inside = cells[people][:, None] == cells
    return log_softmax(np.where(inside, calibrated, -np.inf), axis=1)


def log_predicted_cell(
    calibrated: NDArray, log_cells: NDArray, cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-probability of every person for an attacker who predicts the cell from the image.

    ``log q(p | x) = log q(p | x, cell(p)) + log P(cell(p) | x)``: the temperature is fitted inside
    cells, so the scores are normalised there and say nothing about the cell. ``log_cells`` has
    shape (n_samples, n_cells).
    """
    log_q = np.empty(np.shape(calibrated))
    for cell in np.unique(cells):
        inside = cells == cell
        log_q[:, inside] = log_softmax(calibrated[:, inside], axis=1)
    return log_q + log_cells[:, cells]


def combine(calibrations: list[Calibration], scores: list[NDArray]) -> NDArray[np.float64]:
    """Sum the calibrated scores of several attackers that are informative on validation.

    If none is, sum all their standardized scores: no weight is fitted to chance, and weak traces
    that the attackers share still add up.
    """
    pairs = list(zip(calibrations, scores, strict=True))
    informative = [(c, s) for c, s in pairs if c.is_informative]
    ranked = [c.ranking_scores(np.asarray(s, dtype=np.float64)) for c, s in informative or pairs]
    return np.sum(ranked, axis=0)


def in_cell_bits(
    log_probabilities: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Bits about the person beyond the cell, per image: log2 q(person) + log2(people in the cell).

    ``q`` is mixed with one per cent of a guess inside the cell. The mean over people is at most the
    information that a release has about the person given the cell, whatever ``q`` is (the
    variational bound of Barber and Agakov, 2003).
    """
    sizes = np.bincount(cells)[cells[people]]
    genuine = log_probabilities[np.arange(len(people)), people]
    mixed = np.logaddexp(np.log1p(-_GUESS_SHARE) + genuine, np.log(_GUESS_SHARE / sizes))
    return (mixed + np.log(sizes)) / np.log(2)


def mean_by_person(values: NDArray, people: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means within every person that has images, in the order of their codes."""
    counts = np.bincount(people)
    return (np.bincount(people, values) / np.maximum(counts, 1))[counts > 0]


def rank_hits(
    log_probabilities: NDArray, people: NDArray[np.int64], rank: int
) -> NDArray[np.float64]:
    """Chance, per image, that the true person is among the ``rank`` most likely; ties at random."""
    genuine = log_probabilities[np.arange(len(people)), people][:, None]
    above = (log_probabilities > genuine + 1e-9).sum(axis=1)
    tied = (np.abs(log_probabilities - genuine) <= 1e-9).sum(axis=1)
    return np.clip((rank - above) / tied, 0, 1)


def in_cell_auc(
    scores: NDArray, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Chance that the true person scores above another of the cell, per image; NaN if alone."""
    impostors = (cells[people][:, None] == cells) & (people[:, None] != np.arange(len(cells)))
    genuine = scores[np.arange(len(people)), people][:, None]
    wins = ((genuine > scores) + 0.5 * (genuine == scores)) * impostors
    count = impostors.sum(axis=1)
    return np.where(count > 0, wins.sum(axis=1) / np.maximum(count, 1), np.nan)


def confidence_interval(
    values: NDArray,
    *,
    level: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Studentized bootstrap interval of a mean over people; Student's t below ten people.

    ``values`` hold one mean per person, since people are resampled; NaN is left out. Ends outside
    ``bounds``, the range of the mean, are clipped. Below two people both ends are NaN.

    References
    ----------
    Efron and Tibshirani (1993), "An introduction to the bootstrap", section 12.5.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return float("nan"), float("nan")
    mean, error = values.mean(), sem(values)
    if error == 0:
        return float(mean), float(mean)
    if n < _MIN_BOOTSTRAP_PEOPLE:
        reach = float(student.ppf((1 + level) / 2, n - 1)) * error
        ends = mean - reach, mean + reach
    else:
        samples = values[np.random.default_rng(seed).integers(n, size=(_N_RESAMPLES, n))]
        # A resample without the only person who differs has an error of zero.
        errors = np.maximum(sem(samples, axis=1), 0.1 * error)
        pivots = (samples.mean(axis=1) - mean) / errors
        low, high = np.quantile(pivots, [(1 - level) / 2, (1 + level) / 2])
        ends = mean - high * error, mean - low * error
    return float(np.clip(ends[0], *bounds)), float(np.clip(ends[1], *bounds))
