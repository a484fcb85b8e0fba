"""What became of images: row by row inside, and without what may not leave outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import ImageFormat
from .certification import CERTIFIED, STRENGTHENED


@dataclass(frozen=True)
class AnonymizationResult:
    """What became of every image. All but ``images`` is confidential: never part of a release.

    Attributes
    ----------
    images : ndarray of shape (n_certified, ...)
        Certified images only, in the layout and dtype of the input.
    kept_indices : ndarray of shape (n_certified,)
        Which input each of them belongs to.
    steps : ndarray of shape (n_samples,)
        Steps of ``perturbation="evade"``, from 1; 0 where a surrogate was drawn instead.
    scores : ndarray of shape (n_samples,)
        Cosine of what was made with its original in the recogniser's eyes; NaN if it cannot embed.
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
        """Leave out what is not certified; ``first`` is the place of the first image."""
        kept = np.flatnonzero(np.isin(outcome.verdicts, (CERTIFIED, STRENGTHENED)))
        return cls(image_format.restore(outcome.pictures[kept]), first + kept, *outcome[1:])


class Outcome(NamedTuple):
    """What became of a batch, row by row.

    Attributes
    ----------
    pictures : ndarray of shape (n, height, width, 3), dtype uint8
    steps : ndarray of shape (n,), dtype int64
        Steps of evasion; 0 where a surrogate was drawn.
    scores : ndarray of shape (n,)
        Cosine with the original in the recogniser's eyes.
    verdicts : ndarray of shape (n,)
    """

    pictures: NDArray[np.uint8]
    steps: NDArray[np.int64]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.str_]
