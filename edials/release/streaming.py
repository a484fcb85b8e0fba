"""Images of any number through the engine: in parts, shared among workers, in constant memory."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs, wrap_non_picklable_objects
from numpy.typing import NDArray

from .._validation import ImageFormat, check_images, to_uint8
from ..images import read_images
from .engine import Engine
from .result import AnonymizationResult, Outcome

# Files and iterators are taken so many images at a time where nobody says.
_PART_ROWS = 1024


def outcomes_of(
    engine: Engine,
    parts: Iterator[tuple[NDArray, ImageFormat]],
    rows: int,
    n_jobs: int | None,
    scored: bool,
) -> Iterator[tuple[Outcome, ImageFormat]]:
    """Anonymize part after part, so many rows at a time; every worker takes one shard of a part.

    Parameters
    ----------
    engine : Engine
        Every worker unpacks it once.
    parts : iterator of (images, image_format)
        Images are checked, of shape (n_part, height, width, 3). Workers get a memory map as such,
        and only what they read of it.
    rows : int
        Shards are whole multiples of it, so the bytes do not depend on the number of workers.
    n_jobs : int or None
        As joblib takes it: None follows ``joblib.parallel_config``, and is one worker without it.
    scored : bool
        As :meth:`Engine.run` takes it.

    Yields
    ------
    outcome : Outcome
    image_format : ImageFormat
    """
    with TemporaryDirectory(dir=os.environ.get("JOBLIB_TEMP_FOLDER")) as folder:
        shipment = Shipment(engine, Path(folder))
        for images, image_format in parts:
            yield _shared(n_jobs, shipment, images, rows, scored), image_format


def _shared(
    n_jobs: int | None, shipment: Shipment, images: NDArray, rows: int, scored: bool
) -> Outcome:
    starts = np.arange(0, max(len(images), 1), rows)
    shards = np.array_split(starts, min(effective_n_jobs(n_jobs), len(starts)))
    ends = [*(int(shard[0]) for shard in shards[1:]), len(images)]
    parts = [images[int(shard[0]) : end] for shard, end in zip(shards, ends, strict=True)]
    if len(parts) == 1:
        return _run_shard(shipment, images, rows, scored)
    # Not one for all parts: joblib's temporary copies of the images go when it ends.
    workers = Parallel(n_jobs=n_jobs)
    return joined(workers(delayed(_run_shard)(shipment, part, rows, scored) for part in parts))


class Shipment:
    """An engine on its way to workers: packed once, and unpacked once by each of them.

    Parameters
    ----------
    engine : Engine
    folder : Path, optional
        Where the packed engine lies for processes of this machine to read.
    """

    def __init__(self, engine: Engine, folder: Path | None = None):
        self.engine, self.folder, self.number = engine, folder, uuid4().hex

    @cached_property
    def packed(self) -> NDArray[np.uint8]:
        """The engine's bytes, as an array mapped from a file, which joblib sends by its name."""
        assert self.folder is not None
        # Wrapped, because a user's own recogniser may be defined where workers cannot import it.
        wrapped = wrap_non_picklable_objects(self.engine, keep_wrapper=False)
        file = self.folder / self.number
        file.write_bytes(pickle.dumps(wrapped, protocol=5))
        return np.memmap(file, dtype=np.uint8, mode="r")

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.number, self.packed)

    def __sizeof__(self) -> int:
        # Dask sends what is large to a worker once for a part, not with every task.
        return self.packed.nbytes


# What a worker has received last.
_HELD: dict[str, Shipment] = {}


def _received(number: str, packed: NDArray[np.uint8]) -> Shipment:
    held = _HELD.get(number)
    if held is None:
        held = Shipment(pickle.loads(packed.data))
        held.number, held.packed = number, packed  # dask may send it on
        _HELD.clear()
        _HELD[number] = held
    return held


def _run_shard(shipment: Shipment, images: NDArray, rows: int, scored: bool) -> Outcome:
    pictures = np.empty(images.shape, dtype=np.uint8)
    told = []
    for start in range(0, max(len(images), 1), rows):
        outcome = shipment.engine.run(to_uint8(images[start : start + rows]), scored)
        pictures[start : start + rows] = outcome.pictures
        told.append(outcome[1:])
    return Outcome(pictures, *(np.concatenate(column) for column in zip(*told, strict=True)))


def results_of(
    outcomes: Iterator[tuple[Outcome, ImageFormat]],
) -> Iterator[AnonymizationResult]:
    """What became of every part, counted from the first image of all."""
    first = 0
    for outcome, image_format in outcomes:
        result = AnonymizationResult.of(outcome, image_format, first)
        first += len(outcome.verdicts)
        del outcome
        yield result
        del result  # what was handed over is not held while the next part is made


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Outcomes one below the other."""
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(*(np.concatenate(column) for column in zip(*outcomes, strict=True)))


def parts_of(
    X: Any, image_shape: tuple[int, int, int], rows: int | None
) -> Iterator[tuple[NDArray, ImageFormat]]:
    """Checked images, part by part; what is not in memory yet is read when its part is due.

    Parameters
    ----------
    X : array-like of images or of paths, or iterator of images, of arrays of images, or of paths
        Files are cropped to a centred square and resized; where images are not square they must
        have the right size.
    image_shape : tuple (height, width, 3)
    rows : int or None
        Images in a part; None takes arrays as one part.

    Yields
    ------
    images : ndarray of shape (n_part, height, width, 3)
    image_format : ImageFormat

    Raises
    ------
    InvalidImageError, UnreadableImageError
        If the images cannot be used, or read.
    """
    if isinstance(X, Iterator) or are_paths(X):
        for part in _gathered(iter(X), image_shape, rows or _PART_ROWS):
            yield check_images(part, image_shape=image_shape)
        return
    if rows is None:
        yield check_images(X, image_shape=image_shape)
        return
    # Not np.asarray: a part of a memory map is checked when it is due.
    array = X.to_numpy() if hasattr(X, "to_numpy") else X if hasattr(X, "shape") else np.asarray(X)
    for start in range(0, max(len(array), 1), rows):
        yield check_images(array[start : start + rows], image_shape=image_shape)


def are_paths(X: Any) -> bool:
    """Whether these are paths of files: the first one decides."""
    if isinstance(X, (str, bytes, Mapping)) or not isinstance(X, Iterable):
        return False
    if getattr(X, "ndim", 1) != 1:  # what a table iterates over are its columns' names
        return False
    return isinstance(next(iter(X), None), (str, os.PathLike))


def _gathered(items: Iterator[Any], image_shape: tuple[int, ...], rows: int) -> Iterator[NDArray]:
    """Parts of at least so many images, but for the last one."""
    height, width, _ = image_shape
    first = next(items, None)
    if first is None:
        yield np.empty((0, *image_shape), dtype=np.uint8)
        return
    items = chain([first], items)
    if isinstance(first, (str, os.PathLike)):
        while paths := list(islice(items, rows)):
            yield read_images(paths, height if height == width else None)
        return
    held: list[NDArray] = []
    count = 0
    for item in items:
        images = np.asarray(item)
        held.append(images[None] if images.ndim == 3 else images)
        count += len(held[-1])
        if count >= rows:
            yield np.concatenate(held)
            held, count = [], 0
    if held:
        yield np.concatenate(held)
