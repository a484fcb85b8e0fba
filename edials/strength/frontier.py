"""How much is given back: what calibration measures, beside what is left to see.

The measuring is done in :mod:`edials.strength.leakage`; here are the photos, the trial basis and
the pictures of one fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from .._labels import AttributeTargets, Labels
from .._splits import sample_across_people
from .._validation import to_tensor, to_uint8
from ..fitting.latent_model import as_labels, fit_basis
from ..latent.identity_regression import fit_identity_regression
from ..latent.surrogates import choose
from ..metrics.risk import attribute_cells, attribute_floor
from ..metrics.ssim import structural_similarity
from ..release.engine import Engine
from .capacity import RetainedFeatures
from .leakage import measure
from .splits import CalibrationSplit, random_half_splits

_SHOWN_ROWS = 128


def fit_frontier(
    engine: Engine,
    images: NDArray,
    latents: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    turns: NDArray[np.float64],
    people: Labels,
    kept: AttributeTargets | None,
    shares: CalibrationSplit,
    order: NDArray[np.int64],
    basis: str,
    seed: int,
) -> dict[str, NDArray]:
    """What is leaked when the last 0, 1, 2, ... features are given back.

    Parameters
    ----------
    engine : Engine
        Of the final fit, for what is read off the judged photos.
    images : ndarray of shape (n_samples, height, width, 3)
    latents : ndarray of shape (n_samples, n_features)
    embeddings : ndarray of shape (n_samples, embedding_dim)
        What the recogniser makes of the images.
    turns : ndarray of shape (n_samples,)
        Which way heads are turned, given back with any feature.
    people : Labels
    kept : AttributeTargets or None
    shares : CalibrationSplit
    order : ndarray of shape (n_features,)
        The first to be replaced first.
    basis : {"identity", "raw"}
    seed : int

    Returns
    -------
    dict of str to ndarray of shape (n_steps,)
        As :func:`edials.strength.leakage.measure`, and ``strength``, ``leakage_low`` and
        ``leakage_high`` (95 %, the latter also for attackers with any number of photos), and
        ``floor``.
    """
    names, codes = np.unique(people.codes[shares.judged], return_inverse=True)

    def evidence(
        first: NDArray[np.int64], second: NDArray[np.int64]
    ) -> tuple[RetainedFeatures, RetainedFeatures]:
        """What is given back of two sets of photos, by a trial fit on all others."""
        fitted_on = np.setdiff1d(np.arange(len(images)), np.concatenate([first, second]))
        part = fit_identity_regression(
            latents[fitted_on], embeddings[fitted_on], people.codes[fitted_on]
        )
        given = part.residualize(latents, embeddings)
        trial = fit_basis(
            engine.autoencoder,
            given[fitted_on],
            people.codes[fitted_on],
            None if kept is None else kept.take(fitted_on),
            basis,
        )
        always = (turns[:, None] / (turns.std() or 1.0)).astype(np.float32)

        def of(rows: NDArray[np.int64]) -> RetainedFeatures:
            own = np.searchsorted(names, people.codes[rows])
            features = trial.rotate(torch.from_numpy(given[rows])).numpy()[:, order]
            return RetainedFeatures(features, own, always[rows])

        return of(first), of(second)

    codes_read = engine.reader.codes(to_uint8(images[shares.judged]))
    read = np.unique(codes_read, axis=0, return_inverse=True)[1].ravel()
    table = None if kept is None else kept.table().iloc[shares.judged]
    first = np.unique(codes, return_index=True)[1]
    cells = np.unique(attribute_cells(codes, table)[first], return_inverse=True)[1]

    halvings = random_half_splits(people.codes, shares, seed)
    # The very first half is the gallery.
    asked, *more = [evidence(half, shares.judged) for halving in halvings for half in halving]
    found = measure(
        *asked,
        read,
        cells,
        seed,
        pairs=more,
        of_seen=[evidence(*halving) for halving in halvings],
    )
    reach = norm.ppf(0.975) * found["leakage_error"]
    found["strength"] = 1 - found["n_retained"] / len(order)
    found["leakage_low"] = found["leakage_bits"] - reach
    limit = found["capacity_bits"] + norm.ppf(0.975) * found["capacity_error"]
    found["leakage_high"] = np.maximum(found["leakage_bits"] + reach, limit)
    found["floor"] = np.full(len(reach), attribute_floor(np.arange(len(cells)), cells))
    return found


def evaluate_visual_utility(
    engine: Engine,
    images: NDArray,
    people: NDArray[np.int64],
    kept: AttributeTargets | None,
    order: NDArray[np.int64],
    strengths: NDArray[np.float64],
    seed: int,
) -> dict[str, NDArray]:
    """What is left to see of photos at some strengths.

    Parameters
    ----------
    engine : Engine
    images : ndarray of shape (n_samples, height, width, 3)
        Photos that no network was fitted on; of many, some of everybody are looked at.
    people : ndarray of shape (n_samples,)
    kept : AttributeTargets or None
    order : ndarray of shape (n_features,)
    strengths : ndarray of shape (n_steps,)
    seed : int

    Returns
    -------
    dict of str to ndarray of shape (n_steps,)
        ``ssim`` with the originals, and ``utility`` (balanced accuracy of the kept attributes in
        the attribute classifier's eyes; NaN without).
    """
    shown = sample_across_people(people, seed, _SHOWN_ROWS)
    originals = to_uint8(images[shown])
    table = None if kept is None else kept.table().iloc[shown]
    left = [_seen(engine, originals, table, order, strength) for strength in strengths]
    ssim, utility = (np.array(column) for column in zip(*left, strict=True))
    return {"ssim": ssim, "utility": utility}


def _seen(
    engine: Engine, originals: NDArray, table: Any, order: NDArray[np.int64], strength: float
) -> tuple[float, float]:
    """Similarity with the originals, and utility."""
    draw = engine.prior.given(choose(order, strength), temperature=engine.temperature)
    pictures = engine.replace(originals, engine.reader.codes(originals), draw)
    similar = structural_similarity(to_tensor(originals), to_tensor(pictures)).mean()
    if table is None:
        return float(similar), float("nan")
    return float(similar), float(engine.reader.classifier.score(pictures, as_labels(table)))
