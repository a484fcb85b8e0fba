"""Leaks beside the pictures: enrolled people whom outputs match, and images that are withheld."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from ..metrics.permutation import exceedance_share, permute_within_cells

#: False match rates that thresholds are taken at.
FALSE_MATCH_RATES = (1e-2, 1e-3)

#: Beginning of the names of the shares in :func:`donor_matches`.
DONOR_SHARE = "share at FMR"


def donor_matches(
    embed: Callable[[NDArray], NDArray],
    gallery: tuple[NDArray, NDArray[np.int64]],
    impostors: tuple[NDArray, NDArray[np.int64]],
    released: tuple[NDArray, NDArray[np.int64]],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """How often an output matches an enrolled photo of somebody else, over the false match rate.

    An anonymizer that borrows faces exposes the donors: its outputs match enrolled people other
    than the one shown more often than two photos of different people do. A ratio well above 1 says
    so. If ``impostors`` show people whom the embedding was trained to tell apart, thresholds are
    low and even strangers may come out above 1.

    Parameters
    ----------
    embed : callable images -> ndarray of unit rows
    gallery, impostors, released : tuple (images, people)
        Clear photos of the enrolled; clear photos like the originals; released images. Pairs of one
        person are left out.
    seed : int, default=0
        Of the resamples.

    Returns
    -------
    dict
        For the rates 1e-2 and 1e-3, ``"share at FMR 0.01"``, the share of (released, enrolled)
        pairs above the threshold, and ``"ratio at FMR 0.01"``, that over the rate, with its 95 %
        interval ``"ratio at FMR 0.01, low"`` and ``"ratio at FMR 0.01, high"``. The people shown
        and the people enrolled are resampled independently, since pairs that share one are
        dependent; the thresholds are fixed. Where nothing matches, the upper end is that of
        Wilson's interval for independent pairs, which is too low.

    References
    ----------
    Owen (2007), "The pigeonhole bootstrap".
    """
    enrolled = embed(gallery[0])
    impostor_scores = (embed(impostors[0]) @ enrolled.T)[impostors[1][:, None] != gallery[1]]
    scores = embed(released[0]) @ enrolled.T
    is_pair = released[1][:, None] != gallery[1]
    figures: dict[str, float] = {}
    for rate in FALSE_MATCH_RATES:
        matches = (scores > np.quantile(impostor_scores, 1 - rate)) & is_pair
        share = float(matches.sum() / is_pair.sum())
        low, high = _share_interval(matches, is_pair, released[1], gallery[1], seed)
        ratio = f"ratio at FMR {rate:g}"
        figures |= {f"{DONOR_SHARE} {rate:g}": share, ratio: share / rate}
        figures |= {f"{ratio}, low": low / rate, f"{ratio}, high": high / rate}
    return figures


def _share_interval(
    matches: NDArray[np.bool_],
    is_pair: NDArray[np.bool_],
    probe: NDArray[np.int64],
    gallery: NDArray[np.int64],
    seed: int,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """95 % interval of the share of matches; people of the rows and of the columns resampled."""
    if not matches.any():
        wilson = binomtest(0, int(is_pair.sum())).proportion_ci(method="wilson")
        return 0.0, float(wilson.high)
    rows, columns = (pd.get_dummies(people, dtype=float).to_numpy() for people in (probe, gallery))
    counts = [rows.T @ table @ columns for table in (matches, is_pair)]
    generator = np.random.default_rng(seed)
    # How often every person is drawn, on both sides.
    first, second = (
        generator.multinomial(n, np.full(n, 1 / n), size=n_resamples) for n in counts[0].shape
    )
    hits, pairs = (np.einsum("bi,ij,bj->b", first, c, second, optimize=True) for c in counts)
    low, high = np.quantile(hits[pairs > 0] / pairs[pairs > 0], [0.025, 0.975])
    return float(low), float(high)


def withheld_p_value(
    withheld: NDArray[np.bool_],
    people: NDArray[np.int64],
    cells: NDArray[np.int64],
    *,
    seed: int = 0,
) -> float:
    """Whether withholding depends on the person beyond the cell.

    Compares the variation of the withheld share between people with that after permuting the
    images of a cell.

    Parameters
    ----------
    withheld : ndarray of bool, shape (n_samples,)
    people : ndarray of shape (n_samples,)
        Person of each image; -1 (unknown) is left out.
    cells : ndarray of shape (n_samples,)
        Cell of each image's person.
    seed : int, default=0

    Returns
    -------
    float in (0, 1], or NaN
        ``(1 + number that vary as much) / 1000`` of 999 permutations; NaN if nothing was withheld,
        or everything.
    """
    rows = people >= 0
    withheld, people, cells = withheld[rows], people[rows], cells[rows]
    if not withheld.any() or withheld.all():
        return float("nan")
    codes = np.unique(people, return_inverse=True)[1]
    counts = np.bincount(codes)

    def variation(flags: NDArray) -> float:
        # A cell's mean share does not change when its images are permuted: squares are enough.
        return float((np.bincount(codes, flags) ** 2 / counts).sum())

    permutations = permute_within_cells(cells, seed=seed)
    null = np.array([variation(withheld[permutation]) for permutation in permutations])
    return exceedance_share(variation(withheld), null)
