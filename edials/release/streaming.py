"""Any number of images through the engine: in chunks, on workers, in constant memory."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
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
from ..images import are_paths, read_images
from .engine import Engine
from .result import AnonymizationResult, Outcome

# Images per chunk of files and iterators, by default.
_CHUNK_ROWS = 1024


def run_chunks(
    engine: Engine,
    chunks: Iterator[tuple[NDArray, ImageFormat]],
    rows: int,
    n_jobs: int | None,
    scored: bool,
) -> Iterator[tuple[Outcome, ImageFormat]]:
    """Anonymize chunk after chunk; every worker takes one shard of a chunk."""
    with TemporaryDirectory(dir=os.environ.get("JOBLIB_TEMP_FOLDER")) as folder:
        packed_engine = PackedEngine(engine, Path(folder))
        for images, image_format in chunks:
            yield _run_on_workers(n_jobs, packed_engine, images, rows, scored), image_format


def _run_on_workers(
    n_jobs: int | None, packed_engine: PackedEngine, images: NDArray, rows: int, scored: bool
) -> Outcome:
    starts = np.arange(0, max(len(images), 1), rows)
    shards = np.array_split(starts, min(effective_n_jobs(n_jobs), len(starts)))
    ends = [*(int(shard[0]) for shard in shards[1:]), len(images)]
    shares = [images[int(shard[0]) : end] for shard, end in zip(shards, ends, strict=True)]
    if len(shares) == 1:
        return _run_shard(packed_engine, images, rows, scored)
    # Not one for all chunks: joblib's temporary copies of the images go when it ends.
    workers = Parallel(n_jobs=n_jobs)
    return concatenate_outcomes(
        workers(delayed(_run_shard)(packed_engine, part, rows, scored) for part in shares)
    )


class PackedEngine:
    """An engine for workers: pickled once, unpickled once by each of them.

    Parameters
    ----------
    engine : Engine
    folder : Path, optional
        Where the pickled engine lies for processes of this machine.
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
        return _unpack, (self.number, self.packed)

    def __sizeof__(self) -> int:
        # Dask sends what is large to a worker once for a chunk, not with every task.
        return self.packed.nbytes


# The engine that a worker unpacked last.
_UNPACKED: dict[str, PackedEngine] = {}


def _unpack(number: str, packed: NDArray[np.uint8]) -> PackedEngine:
    unpacked = _UNPACKED.get(number)
    if unpacked is None:
        unpacked = PackedEngine(pickle.loads(packed.data))
        unpacked.number, unpacked.packed = number, packed  # dask may send it on
        _UNPACKED.clear()
        _UNPACKED[number] = unpacked
    return unpacked


def _run_shard(packed_engine: PackedEngine, images: NDArray, rows: int, scored: bool) -> Outcome:
    pictures = np.empty(images.shape, dtype=np.uint8)
    columns = []
    for start in range(0, max(len(images), 1), rows):
        outcome = packed_engine.engine.run(to_uint8(images[start : start + rows]), scored)
        pictures[start : start + rows] = outcome.pictures
        columns.append(outcome[1:])
    return Outcome(pictures, *(np.concatenate(column) for column in zip(*columns, strict=True)))


def iterate_results(
    outcomes: Iterator[tuple[Outcome, ImageFormat]],
) -> Iterator[AnonymizationResult]:
    """Results of every chunk; ``kept_indices`` count from the first image of all."""
    first = 0
    for outcome, image_format in outcomes:
        result = AnonymizationResult.of(outcome, image_format, first)
        first += len(outcome.verdicts)
        del outcome
        yield result
        del result  # free it before the next chunk is made


def concatenate_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Concatenate outcomes."""
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(*(np.concatenate(column) for column in zip(*outcomes, strict=True)))


def iterate_chunks(
    X: Any, image_shape: tuple[int, int, int], rows: int | None
) -> Iterator[tuple[NDArray, ImageFormat]]:
    """Check images chunk by chunk; files and iterators are read when their chunk is due."""
    if isinstance(X, Iterator) or are_paths(X):
        for chunk in _collect(iter(X), image_shape, rows or _CHUNK_ROWS):
            yield check_images(chunk, image_shape=image_shape)
        return
    if rows is None:
        yield check_images(X, image_shape=image_shape)
        return
    # Not np.asarray, which would read a memory map whole.
    array = X.to_numpy() if hasattr(X, "to_numpy") else X if hasattr(X, "shape") else np.asarray(X)
    for start in range(0, max(len(array), 1), rows):
        yield check_images(array[start : start + rows], image_shape=image_shape)


def _collect(items: Iterator[Any], image_shape: tuple[int, ...], rows: int) -> Iterator[NDArray]:
    """Chunks of at least this many images, except the last."""
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
    collected: list[NDArray] = []
    count = 0
    for item in items:
        images = np.asarray(item)
        collected.append(images[None] if images.ndim == 3 else images)
        count += len(collected[-1])
        if count >= rows:
            yield np.concatenate(collected)
            collected, count = [], 0
    if collected:
        yield np.concatenate(collected)
