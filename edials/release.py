"""What leaves a fitted anonymizer: all of a release at once, or a stream of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ._validation import ImageFormat, check_batch_size
from .certification import WITHHELD
from .engine import Engine
from .exceptions import IdentityLeakWarning, WithheldImageError
from .fitting import check_parameters, engine_of
from .outcome import AnonymizationResult, Outcome
from .streaming import joined, outcomes_of, parts_of, results_of

# What is done once for all of them costs little, and evasion, which leaves few images active in its
# late steps, keeps its batches full.
_BATCHES = 8


class ReleaseMixin:
    """``transform``, ``anonymize`` and ``anonymize_stream`` of a fitted anonymizer."""

    image_shape_: tuple[int, int, int]
    true_match_rate_: float
    perturbation: str
    on_failure: str
    batch_size: int
    n_jobs: int | None

    def transform(self, X: ArrayLike) -> NDArray:
        """Anonymize images, one out for one in and in order.

        What cannot be certified is replaced by its strength-1 version, and what fails even so by
        a grey blank; never by the original.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
            Also a memory map, of which one batch is read at a time; a list of paths, read as
            :class:`~edials.images.ImageReader` does; or an iterator of images, of arrays of them,
            or of paths.

        Returns
        -------
        ndarray of the shape and dtype of ``X``

        Raises
        ------
        InvalidImageError, UnreadableImageError
            If the images are not of the size seen in fit, or cannot be read.
        WithheldImageError
            If ``on_failure="raise"`` and an image had to be withheld.
        """
        outcome, image_format = self._run(X, scored=False)
        withheld = int((outcome.verdicts == WITHHELD).sum())
        if withheld:
            message = f"{withheld} of {len(outcome.verdicts)} images could not be certified"
            if self.on_failure == "raise":
                raise WithheldImageError(f"{message}; anonymize(X) returns the others.")
            warnings.warn(f"{message} and were blanked.", IdentityLeakWarning, stacklevel=2)
        return image_format.restore(outcome.pictures)

    def anonymize(self, X: ArrayLike) -> AnonymizationResult:
        """Anonymize images and return the certified ones only, with what became of each.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        AnonymizationResult
        """
        return AnonymizationResult.of(*self._run(X, scored=True))

    def anonymize_stream(
        self, X: ArrayLike | Iterator[Any], *, chunk_size: int = 1024
    ) -> Iterator[AnonymizationResult]:
        """Anonymize any number of images, chunk by chunk, with the memory of one chunk.

        Parameters
        ----------
        X : array, memory map, list of paths, or iterator of images, of arrays of them, or of paths
            As :meth:`transform` takes it.
        chunk_size : int, default=1024
            Images in a chunk, which ``n_jobs`` workers share; at least so many of an iterator of
            arrays.

        Yields
        ------
        AnonymizationResult
            Of one chunk; ``kept_indices`` count from the first image of all.

        Raises
        ------
        InvalidImageError, UnreadableImageError
            If images cannot be used or read; the chunks before are out by then.
        """
        engine, rows = self._ready(), check_batch_size(chunk_size, "chunk_size")
        engine.warn_of_known_ways(self.true_match_rate_, stacklevel=3)
        parts = parts_of(X, self.image_shape_, rows)
        return results_of(outcomes_of(engine, parts, self._rows(), self.n_jobs, scored=True))

    def _run(self, X: Any, scored: bool) -> tuple[Outcome, ImageFormat]:
        engine = self._ready()
        engine.warn_of_known_ways(self.true_match_rate_, stacklevel=4)
        parts = parts_of(X, self.image_shape_, None)
        told = outcomes_of(engine, parts, self._rows(), self.n_jobs, scored)
        outcomes, formats = zip(*told, strict=True)
        return joined(outcomes), formats[0]

    def _rows(self) -> int:
        """How many images the engine takes at a time."""
        return self.batch_size * _BATCHES

    def _ready(self) -> Engine:
        check_is_fitted(self, ["prior_", "_secret"])
        check_parameters(self)
        return engine_of(self)
