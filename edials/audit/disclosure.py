"""What leaks beside the pictures: whose photos outputs match, what is withheld, what was chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from ..metrics.permutation import exceedance_share, permute_within_cells

#: False match rates that thresholds are taken at.
RATES = (1e-2, 1e-3)


#: How the figures of :func:`donor_matches` begin.
DONORS = "share at FMR"


def donor_matches(
    embed: Callable[[NDArray], NDArray],
    gallery: tuple[NDArray, NDArray[np.int64]],
    impostors: tuple[NDArray, NDArray[np.int64]],
    released: tuple[NDArray, NDArray[np.int64]],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """How often an output matches an enrolled photo of somebody else, over the false match rate.

    An anonymizer that borrows faces exposes whom it borrowed them from: its outputs match enrolled
    people other than the one shown more often than two photos of different people do. A ratio
    well above 1 says so. If ``impostors`` show people whom the embedding was trained to keep
    apart, the thresholds are low and strangers may come out above 1.

    Parameters
    ----------
    embed : callable images -> ndarray of unit rows
    gallery, impostors, released : tuple (images, people)
        Clear photos of the enrolled; clear photos like the originals; what was released. Pairs of
        one person are left out.
    seed : int, default=0
        Of the resamples.

    Returns
    -------
    dict
        For the rates 1e-2 and 1e-3, ``"share at FMR 0.01"``, the share of (released, enrolled)
        pairs above the threshold, and ``"ratio at FMR 0.01"``, that over the rate, with its 95 %
        interval ``"ratio at FMR 0.01, low"`` and ``"ratio at FMR 0.01, high"``. The people shown
        and the people enrolled are resampled, each for themselves, since pairs that share one are
        not independent; the thresholds are taken as given. Where nothing matches, the upper end is
        that of Wilson's interval for independent pairs, which is too low.

    References
    ----------
    Owen (2007), "The pigeonhole bootstrap".
    """
    enrolled = embed(gallery[0])

    clear = (embed(impostors[0]) @ enrolled.T)[impostors[1][:, None] != gallery[1]]
    found, others = embed(released[0]) @ enrolled.T, released[1][:, None] != gallery[1]
    figures: dict[str, float] = {}
    for rate in RATES:
        matches = (found > np.quantile(clear, 1 - rate)) & others
        share = float(matches.sum() / others.sum())
        low, high = _share_interval(matches, others, released[1], gallery[1], seed)
        ratio = f"ratio at FMR {rate:g}"
        figures |= {f"{DONORS} {rate:g}": share, ratio: share / rate}
        figures |= {f"{ratio}, low": low / rate, f"{ratio}, high": high / rate}
    return figures


def _share_interval(
    matches: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    shown: NDArray[np.int64],
    enrolled: NDArray[np.int64],
    seed: int,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """95 % interval of the share of matches, people of the rows and of the columns resampled."""
    if not matches.any():
        wilson = binomtest(0, int(counted.sum())).proportion_ci(method="wilson")
        return 0.0, float(wilson.high)
    rows, columns = (np.unique(codes, return_inverse=True)[1] for codes in (shown, enrolled))
    sums = [_sum_by_people(table, rows, columns) for table in (matches, counted)]
    generator = np.random.default_rng(seed)
    # How often everybody is drawn, on both sides.
    first, second = (
        generator.multinomial(n, np.full(n, 1 / n), size=n_resamples) for n in sums[0].shape
    )
    hits, pairs = (np.einsum("bi,ij,bj->b", first, table, second, optimize=True) for table in sums)
    low, high = np.quantile(hits[pairs > 0] / pairs[pairs > 0], [0.025, 0.975])
    return float(low), float(high)


def _sum_by_people(
    table: NDArray[np.bool_], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    ones = [np.eye(codes.max() + 1)[codes] for codes in (rows, columns)]
    return ones[0].T @ table @ ones[1]


def withheld_p_value(
    withheld: NDArray[np.bool_],
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    *,
    n_permutations: int = 999,
    seed: int = 0,
) -> float:
    """Whether the choice of what is withheld goes by people beyond their cell.

    Compares how the withheld share varies between people with images exchanged among the people
    of a cell.

    Parameters
    ----------
    withheld : ndarray of bool, shape (n_samples,)
    people : ndarray of shape (n_samples,)
        Person of each image; -1 (unknown) is left out.
    cells : ndarray of shape (n_samples,)
        Cell of each image's person.
    n_permutations : int, default=999
    seed : int, default=0

    Returns
    -------
    float in (0, 1], or NaN
        ``(1 + number that vary as much) / (1 + n_permutations)``; NaN if nothing was withheld, or
        everything.
    """
    known = people >= 0
    held, codes, cells = withheld[known], people[known], cells[known]
    if not held.any() or held.all():
        return float("nan")
    codes = np.unique(codes, return_inverse=True)[1]
    counts = np.bincount(codes)

    def variance(flags: NDArray) -> float:
        # Shares of a cell keep their mean when images are exchanged, so squares are enough.
        return float((np.bincount(codes, flags) ** 2 / counts).sum())

    exchanged = permute_within_cells(cells, n_permutations=n_permutations, seed=seed)
    return exceedance_share(
        variance(held), np.array([variance(held[moved]) for moved in exchanged])
    )
