"""Images of any number: memory maps, files, iterators, shards."""

import copy
import pickle
import weakref
from functools import cached_property

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config

from edials import AnonymizationResult
from edials._validation import check_images, to_tensor
from edials.exceptions import InvalidImageError, UnreadableImageError
from edials.images import write_image
from edials.metrics.ssim import structural_similarity
from edials.release import certification, streaming
from edials.release.result import Outcome


@pytest.fixture(scope="module")
def released(faces, fitted):
    return fitted.transform(faces.images)


@pytest.fixture
def small(fitted):
    """Batches so small that fifty images are several shards."""
    return copy.copy(fitted).set_params(batch_size=4)


@pytest.fixture
def one_thread():
    """As in joblib's processes: evasion follows gradients, whose last bits depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("perturbation", ["surrogate", "evade"])
@pytest.mark.filterwarnings("ignore:perturbation='evade' fools")
def test_shards_give_the_bytes_of_the_serial_run(faces, small, perturbation, request):
    if perturbation == "evade":
        request.getfixturevalue("one_thread")
    model = small.set_params(perturbation=perturbation)
    images = faces.images[:70]
    assert len(images) > 2 * model._engine_rows()
    alone = model.transform(images)
    with parallel_config("threading", n_jobs=3):
        threads = model.transform(images)
    processes = copy.copy(model).set_params(n_jobs=2).transform(images)
    np.testing.assert_array_equal(threads, alone)
    np.testing.assert_array_equal(processes, alone)


def test_a_stream_frees_what_it_has_yielded():
    images, image_format = check_images(np.zeros((2, 16, 16, 3), dtype=np.uint8))
    handed = []

    def outcomes():
        for _ in range(2):
            assert all(result() is None for result in handed)
            steps, scores = np.zeros(2, dtype=np.int64), np.zeros(2)
            verdicts = np.array([certification.CERTIFIED] * 2)
            yield Outcome(images.copy(), steps, scores, verdicts), image_format

    stream = streaming.iterate_results(outcomes())
    handed.append(weakref.ref(next(stream)))
    assert next(stream).kept_indices.tolist() == [2, 3]


def test_dask_gives_the_bytes_of_the_serial_run(faces, small):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        parallel_config("dask"),
    ):
        shared = small.transform(faces.images)
    np.testing.assert_array_equal(shared, small.transform(faces.images))


def test_a_memory_map_is_read_chunk_by_chunk(faces, fitted, released, tmp_path):
    np.save(tmp_path / "faces.npy", faces.images)
    mapped = np.load(tmp_path / "faces.npy", mmap_mode="r")
    np.testing.assert_array_equal(fitted.transform(mapped), released)
    results = list(fitted.anonymize_stream(mapped, chunk_size=40))
    assert [len(result.verdicts) for result in results] == [40, 40, 20]
    assert all(isinstance(result, AnonymizationResult) for result in results)
    kept = np.concatenate([result.kept_indices for result in results])
    np.testing.assert_array_equal(kept, np.arange(100))
    images = np.concatenate([result.images for result in results])
    np.testing.assert_array_equal(images, released)


def test_files_and_iterators(faces, fitted, released, tmp_path):
    paths = [write_image(picture, tmp_path) for picture in faces.images[:10]]
    np.testing.assert_array_equal(fitted.transform(paths), released[:10])
    np.testing.assert_array_equal(fitted.transform(map(str, paths)), released[:10])
    np.testing.assert_array_equal(fitted.transform(iter(faces.images[:10])), released[:10])
    parts = (faces.images[:10][start : start + 4] for start in range(0, 10, 4))
    results = list(fitted.anonymize_stream(parts, chunk_size=8))
    assert [len(result.verdicts) for result in results] == [8, 2]
    np.testing.assert_array_equal(np.concatenate([r.images for r in results]), released[:10])


def test_floats_come_back_as_they_came(faces, fitted, released):
    rows = faces.images[:6].reshape(6, -1) / 255.0
    given = np.array_split(rows, 2)
    np.testing.assert_allclose(fitted.transform(iter(given)), released[:6].reshape(6, -1) / 255.0)


def test_a_stream_says_what_is_wrong_and_keeps_what_is_done(faces, fitted, tmp_path):
    stream = fitted.anonymize_stream(iter([faces.images[:4], faces.images[:2, :16]]), chunk_size=4)
    assert len(next(stream).images) == 4
    with pytest.raises(InvalidImageError, match="expected \\(32, 32, 3\\)"):
        next(stream)
    with pytest.raises(InvalidImageError, match="0 sample"):
        fitted.transform(iter([]))
    with pytest.raises(UnreadableImageError, match="1 of 1 pictures could not be read"):
        fitted.transform([tmp_path / "nothing.png"])
    with pytest.raises(ValueError, match="chunk_size=0"):
        fitted.anonymize_stream(faces.images, chunk_size=0)


def test_an_engine_is_packed_once_and_unpacked_once_per_worker(fitted, tmp_path):
    packed_engine = streaming.PackedEngine(fitted._engine(), tmp_path)
    assert packed_engine.packed is packed_engine.packed
    received = pickle.loads(pickle.dumps(packed_engine))
    assert pickle.loads(pickle.dumps(packed_engine)) is received
    assert received.packed.tobytes() == packed_engine.packed.tobytes()
    assert pickle.loads(pickle.dumps(received)) is received  # as dask moves it on
    another = streaming.PackedEngine(fitted._engine(), tmp_path)
    assert pickle.loads(pickle.dumps(another)) is not received


def test_a_copy_is_found_in_whatever_channel_it_differs(faces):
    original = faces.images[:1]
    copies = np.repeat(original, 4, axis=0)
    copies[1, ..., 1] ^= 1
    copies[2, ..., 0] = 255 - copies[2, ..., 0]
    copies[3] = faces.images[50]
    found = certification.is_original(np.repeat(original, 4, axis=0), copies)
    np.testing.assert_array_equal(found, [True, True, False, False])


@pytest.mark.parametrize("blend", [0.0, 0.02, 0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("zoom", [1, 8])
def test_the_partial_check_for_copies_agrees_with_the_whole_one(faces, blend, zoom):
    originals, others = (
        faces.images[rows].repeat(zoom, axis=1).repeat(zoom, axis=2)
        for rows in (slice(20), slice(20, 40))
    )
    mixed = (1 - blend) * originals + blend * others
    pictures = np.rint(mixed).astype(np.uint8)
    pictures[10:, ..., 0] = 255 - pictures[10:, ..., 0]
    first, second = to_tensor(originals), to_tensor(pictures)
    difference = np.abs(originals.astype(float) - pictures).mean(axis=(1, 2, 3))
    whole = (structural_similarity(first, second).numpy() > 0.985) | (difference < 2)
    np.testing.assert_array_equal(certification.is_original(originals, pictures), whole)


def test_workers_get_the_model_once_for_all_chunks(faces, small, monkeypatch):
    packed = []
    pack = streaming.PackedEngine.packed.func
    counted = cached_property(lambda packed_engine: packed.append(1) or pack(packed_engine))
    counted.__set_name__(streaming.PackedEngine, "packed")
    monkeypatch.setattr(streaming.PackedEngine, "packed", counted)
    images = faces.images
    parts = iter([images[:50], images[50:]])
    monkeypatch.setattr(streaming, "_CHUNK_ROWS", 40)
    shared = copy.copy(small).set_params(n_jobs=2).transform(parts)
    assert len(packed) == 1
    np.testing.assert_array_equal(shared, small.transform(images))


def test_tables_of_pixels_are_no_paths(faces, fitted):
    rows = faces.images[:4].reshape(4, -1) / 255
    table = pd.DataFrame(rows, columns=[f"pixel{i}" for i in range(rows.shape[1])])
    flat = copy.copy(fitted).set_params(image_shape=(32, 32, 3))
    np.testing.assert_array_equal(flat.transform(table), flat.transform(rows))
    with pytest.raises(InvalidImageError):
        fitted.transform({"first.png": rows})
