"""Results: pictures with verdicts, row by row, and the certified ones alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import ImageFormat
from .certification import CERTIFIED, STRENGTHENED


@dataclass(frozen=True)
class AnonymizationResult:
    """Certified images and every verdict. All but ``images`` is confidential, no part of a release.

    Attributes
    ----------
    images : ndarray of shape (n_certified, ...)
        Certified images only, in the layout and dtype of the input.
    kept_indices : ndarray of shape (n_certified,)
        Input row of each of them.
    steps : ndarray of shape (n_samples,)
        Steps of ``perturbation="evade"``, from 1; 0 where a surrogate was drawn instead.
    scores : ndarray of shape (n_samples,)
        Cosine of the recogniser's embeddings of output and original; NaN without embeddings.
    verdicts : ndarray of shape (n_samples,)
        ``"certified"``, ``"strengthened"`` (replaced by its strength-1 version), ``"withheld"``
        or, at strength 0, ``"uncertified"``; the last two are not among ``images``.
    """

    images: NDArray
    kept_indices: NDArray[np.int64]
    steps: NDArray[np.int64]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.str_]

    @classmethod
    def of(cls, outcome: Outcome, image_format: ImageFormat, first: int = 0) -> AnonymizationResult:
        """Leave out what is not certified; ``first`` is the index of the first image."""
        certified = np.flatnonzero(np.isin(outcome.verdicts, (CERTIFIED, STRENGTHENED)))
        return cls(
            image_format.restore(outcome.pictures[certified]), first + certified, *outcome[1:]
        )


class Outcome(NamedTuple):
    """Pictures and verdicts of a batch, row by row.

    Attributes
    ----------
    pictures : ndarray of shape (n, height, width, 3), dtype uint8
    steps : ndarray of shape (n,), dtype int64
        Steps of evasion; 0 where a surrogate was drawn.
    scores : ndarray of shape (n,)
        Cosine of the recogniser's embeddings of output and original.
    verdicts : ndarray of shape (n,)
    """

    pictures: NDArray[np.uint8]
    steps: NDArray[np.int64]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.str_]
