"""How fast, against what: the limit, the published procedure, a blur, and shap's explainers.

    python examples/benchmarks/benchmark_speed.py [--only NAME] [--json OUT]

Faces are made up and networks hardly trained, which changes no time. Every ratio is of medians over
runs made in turn, A B A B, in one process; peak memory is that of a fresh process that loads the
model, maps the images from disk and streams them through it once, so without the released pictures,
which ``transform`` holds. "bare passes" are the passes of networks that the row's images need, as
the model runs them, and nothing else.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import inspect
import json
import mmap
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import shap
import torch
from published_procedure import anonymize_one
from scipy.stats import spearmanr

from edials import AdversarialAutoencoder, AttributeClassifier, EDIALSAnonymizer, IdentityClassifier
from edials.baselines import GaussianBlur
from edials.datasets import make_faces
from edials.models.surrogate_decoder import SurrogateDecoder
from edials.networks.inference import inference_batch_size, map_in_batches

KEPT = ["age", "gender"]
SHAP_SAMPLES = (16, 32, 50, 100, 200, 400)
_OFTEN = 64**2 * 20_000  # pixels


@cache
def fitted(size: int) -> EDIALSAnonymizer:
    """The default networks, trained for one epoch, at strength 1."""
    faces = make_faces(40, 10, size=size, random_state=0)
    once: dict[str, Any] = {"max_epochs": 1, "random_state": 0}
    model = EDIALSAnonymizer(
        AdversarialAutoencoder(**once),
        identity_classifier=IdentityClassifier(**once),
        attribute_classifier=AttributeClassifier(**once),
        surrogate_decoder=SurrogateDecoder(**once),
        strength=1.0,
        random_state=0,
    )
    return model.fit(faces.images, identity=faces.identity, attributes=faces.attributes[KEPT])


@cache
def convnext() -> EDIALSAnonymizer:
    """ConvNeXt-Base-size recogniser and autoencoder at 256 px."""
    from convnext import ConvNextAutoencoder, ConvNextRecogniser

    faces = make_faces(2, 2, size=256, random_state=0)
    once: dict[str, Any] = {"max_epochs": 1, "batch_size": 4, "random_state": 0}
    once["validation_fraction"] = 0.0
    model = EDIALSAnonymizer(
        AdversarialAutoencoder(module=ConvNextAutoencoder, **once),
        identity_classifier=IdentityClassifier(module=ConvNextRecogniser, **once),
        surrogate_decoder=SurrogateDecoder(max_epochs=1, batch_size=4),
        basis="raw",
        strength=1.0,
        random_state=0,
        batch_size=4,
    )
    return model.fit(faces.images, identity=faces.identity)


@cache
def faces_of(size: int, count: int) -> np.ndarray:
    """So many images, no two alike: a few made-up faces with other noise on each."""
    some = make_faces(50, 10, size=size, random_state=1).images[:count]
    generator = np.random.default_rng(0)
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    for start in range(0, count, len(some)):
        part = images[start : start + len(some)]
        noise = generator.integers(0, 4, part.shape, dtype=np.uint8)
        part[:] = np.clip(some[: len(part)], 0, 252) + noise
    return images


def with_settings(model: EDIALSAnonymizer, **settings: Any) -> EDIALSAnonymizer:
    return copy.copy(model).set_params(**settings)


def few_retained(model: EDIALSAnonymizer) -> EDIALSAnonymizer:
    """Three retained features: what ``strength="auto"`` typically finds."""
    return with_settings(model, strength=1 - 3 / len(model.order_))


def in_turn(
    runs: dict[str, Callable[[], Any]], repeats: int, warm_up: bool = True
) -> dict[str, float]:
    """Median seconds of each, run A B A B ... after one round that does not count, unless alone."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    warm_up = warm_up and repeats > 1
    for turn in range(repeats + warm_up):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn or not warm_up:
                taken[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in taken.items()}


# --- the limit -----------------------------------------------------------------------------------


def bare_passes(model: EDIALSAnonymizer, images: np.ndarray) -> Callable[[], None]:
    """Only the passes of networks that transform needs for these images."""
    encoder, recogniser = model.autoencoder_, model.identity_classifier_
    reader, decoder = model.attribute_classifier_, model.surrogate_decoder_

    def encode(pictures: torch.Tensor) -> torch.Tensor:
        return encoder.net_.inference_copy(encoder.precision).encoder(pictures)

    parts = [(recogniser.embed_tensor, recogniser)]
    if reader is not None:
        parts.append((reader.logits_tensor, reader))
    if model.strength != 1.0:  # the features given back, and the look at the door
        parts += [(encode, encoder), (recogniser.embed_tensor, recogniser)]
    chunk = model._rows()
    starts = range(0, len(images), chunk)
    strengthened = model.anonymize(images).verdicts == "strengthened"
    made_again = [int(strengthened[start : start + chunk].sum()) for start in starts]
    latents = np.random.default_rng(0).standard_normal((chunk, encoder.latent_dim_), np.float32)

    def decode(rows: torch.Tensor) -> torch.Tensor:
        return decoder.net_.inference_copy(decoder.precision)(rows)

    def rows_as_tensor(rows: np.ndarray, device: torch.device) -> torch.Tensor:
        return torch.from_numpy(rows).to(device)

    def in_batches(network: Any, of: Any, rows: np.ndarray, **settings: Any) -> None:
        size = inference_batch_size(of.batch_size, images.shape[1:])
        settings |= {"device": torch.device("cpu"), "precision": of.precision}
        map_in_batches(network, rows, batch_size=size, **settings)

    def run() -> None:
        for start, again in zip(starts, made_again, strict=True):
            for network, of in parts:
                in_batches(network, of, images[start : start + chunk])
            for count in (len(images) - start, again):
                if count:
                    in_batches(decode, decoder, latents[:count], as_tensor=rows_as_tensor)

    return run


# --- rows ----------------------------------------------------------------------------------------


def transform_row(
    name: str, model: EDIALSAnonymizer, size: int, count: int, repeats: int, peak: bool = True
) -> dict[str, Any]:
    """One whole transform, beside its bare passes and a Gaussian blur of the same images."""
    images = faces_of(size, count)
    blur = GaussianBlur(5.0)
    blur.fit(images[:2])
    runs = {
        "transform": lambda: model.transform(images),
        "bare": bare_passes(model, images),
        "blur": lambda: blur.transform(images),
    }
    seconds = in_turn(runs, repeats)
    return {
        "name": name,
        "size": size,
        "images": count,
        "images_per_second": count / seconds["transform"],
        "ratio_to_bare_passes": seconds["transform"] / seconds["bare"],
        "share_in_networks": min(1.0, seconds["bare"] / seconds["transform"]),
        "ratio_to_blur": seconds["blur"] / seconds["transform"],
        "peak_mib": peak_of(model, size, count) if peak else None,
    }


def evade_row(size: int, count: int, repeats: int) -> dict[str, Any]:
    """Per-image SHAP and a search along the path of evasion."""
    model, images = with_settings(fitted(size), perturbation="evade"), faces_of(size, count)
    seconds = in_turn({"evade": lambda: model.transform(images)}, repeats)["evade"]
    rate = count / seconds
    return {"name": "transform, evade", "size": size, "images": count, "images_per_second": rate}


def explain_row(size: int, count: int, repeats: int) -> dict[str, Any]:
    """Strength 1 with an explanation of every image, and how well its features are ranked."""
    model, images = fitted(size), faces_of(size, count)
    seconds = in_turn({"a": lambda: (model.transform(images), model.explain(images))}, repeats)
    few = images[:16]
    predictions = model._reader().recogniser.predictions(few)
    reference = model._explainer()(predictions, n_samples=2000, n_targets=1, seed=1)
    agreement = rank_agreement(model.explain(few).values, reference.values)
    return {
        "name": "transform and explain",
        "size": size,
        "images": count,
        "images_per_second": count / seconds["a"],
        "rank_agreement": agreement,
    }


def rank_agreement(values: np.ndarray, reference: np.ndarray) -> float:
    """Mean over images of Spearman's correlation of the features' absolute values."""
    pairs = zip(np.abs(values), np.abs(reference), strict=True)
    return float(np.mean([spearmanr(one, other).statistic for one, other in pairs]))


def gradient_explainer(model: EDIALSAnonymizer, own: np.ndarray, samples: int) -> Any:
    """The model explained by shap's explainer, wrapped to one output: ``own`` is its background."""

    def built(module: torch.nn.Module, background: torch.Tensor) -> Any:
        explainer = shap.GradientExplainer(module, background[own])
        return SimpleNamespace(shap_values=lambda row: explainer.shap_values(row, nsamples=samples))

    return with_settings(model, explainer=built)


def shap_rows(size: int, repeats: int) -> list[dict[str, Any]]:
    """Our attribution against shap's, which explains one image at a time.

    All images have one reading, whose draws are the background of both, and shap takes the fewest
    of some numbers of samples that rank features as well as ours, or the most. As it comes it takes
    its default, and explains every person.
    """
    model, images = fitted(size), faces_of(size, 500)
    latent_model, reader = model.latent_model_, model._reader()
    codes = reader.codes(images)
    readings, counts_of = np.unique(codes, axis=0, return_counts=True)
    common = readings[counts_of.argmax()]
    images = images[(codes == common).all(axis=1)][:16]
    own = (latent_model.background_codes == common).all(axis=1)
    few = images[:4]
    predictions = reader.recogniser.predictions(few)
    reference = model._explainer()(predictions, n_samples=2000, n_targets=1, seed=1).values
    ours = with_settings(model, explainer="gradient")
    agreement = {"ours": rank_agreement(ours.explain(few).values, reference)}
    for samples in SHAP_SAMPLES:
        gradient = gradient_explainer(model, own, samples)
        agreement["gradient"] = rank_agreement(gradient.explain(few).values, reference)
        if agreement["gradient"] >= agreement["ours"]:
            break
    deep = with_settings(model, explainer="deep")
    network, recogniser = model.autoencoder_.module_, model.identity_classifier_
    background = torch.from_numpy(latent_model.background)
    coordinates = torch.from_numpy(
        latent_model.features.coordinates(model.autoencoder_.encode(few))
    )

    class AllPeople(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return recogniser.logits_tensor(
                network.decoder(latent_model.features.basis.unrotate(rows))
            )

    def as_it_comes() -> Any:
        return shap.GradientExplainer(AllPeople().eval(), background).shap_values(coordinates[:1])

    seconds = in_turn(
        {
            "ours": lambda: ours.explain(images),
            "gradient": lambda: gradient.explain(few),
            "deep": lambda: deep.explain(few[:1]),
            "as it comes": as_it_comes,
        },
        repeats,
    )
    counts = {"ours": len(images), "gradient": len(few), "deep": 1, "as it comes": 1}
    per_image = {name: taken / counts[name] for name, taken in seconds.items()}
    labels = {
        "ours": "explain",
        "gradient": "shap.GradientExplainer, wrapped to one output",
        "as it comes": "shap.GradientExplainer, as it comes",
        "deep": "shap.DeepExplainer",
    }
    default = inspect.signature(shap.GradientExplainer.shap_values).parameters["nsamples"].default
    taken_samples = {"gradient": samples, "as it comes": default}
    return [
        {
            "name": labels[name],
            "size": size,
            "images": counts[name],
            "images_per_second": 1 / taken,
            "times_ours": taken / per_image["ours"],
            "rank_agreement": agreement.get(name),
            "samples": taken_samples.get(name),
        }
        for name, taken in per_image.items()
    ]


def published_rows(
    model: EDIALSAnonymizer, size: int, runs: dict[str, tuple[Callable[[Any], Any], int]]
) -> list[dict[str, Any]]:
    """What is made of so many images, against the published procedure on the same networks."""
    parts = model.autoencoder_, model.identity_classifier_
    images = faces_of(size, max(count for _, count in runs.values()))
    taken = {
        name: lambda run=run, count=count: run(images[:count])
        for name, (run, count) in runs.items()
    }
    taken["published"] = lambda: anonymize_one(*parts, images[0])
    # What takes minutes warms up in its first second.
    seconds = in_turn(taken, 5, warm_up=min(count for _, count in runs.values()) > 8)
    return [
        {
            "name": name,
            "size": size,
            "images": count,
            "images_per_second": count / seconds[name],
            "ratio_to_published": seconds["published"] / (seconds[name] / count),
            "published_seconds_per_image": seconds["published"],
        }
        for name, (_, count) in runs.items()
    ]


def keep_memory() -> None:
    """Have glibc keep what is freed; it fetches large blocks anew, page by page, for every layer.

    The same as ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647`` around the whole program.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-4, 0)
        mallopt(-1, 2**31 - 1)


def convnext_rows() -> list[dict[str, Any]]:
    """A surrogate and eight gradients for every image, on networks as large as the published.

    Both keep their memory.
    """
    keep_memory()
    model = convnext()

    def both(images: np.ndarray) -> None:
        model.transform(images)
        predictions = model._reader().recogniser.predictions(images)
        model._explainer()(predictions, n_samples=8, n_targets=1, values_only=True)

    return published_rows(model, 256, {"transform and explain, ConvNeXt-Base": (both, 8)})


def fit_row(people: int, photos: int) -> dict[str, Any]:
    """A fit from nothing, with as many jobs as cores; calibration aside."""
    faces = make_faces(people, photos, size=64, random_state=0)
    model = EDIALSAnonymizer(strength=1.0, random_state=0, n_jobs=os.cpu_count())
    start = time.perf_counter()
    model.fit(faces.images, identity=faces.identity, attributes=faces.attributes[KEPT])
    seconds = time.perf_counter() - start
    return {"name": "fit", "size": 64, "images": len(faces.images), "seconds": seconds}


def shards_row(size: int, count: int, repeats: int) -> dict[str, Any]:
    """Two processes of one thread each against one process of one thread."""
    model, images = fitted(size), faces_of(size, count)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    two = with_settings(model, n_jobs=2)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        runs = {"one": lambda: model.transform(images), "two": lambda: two.transform(images)}
        seconds = in_turn(runs, repeats)
        same = bool((two.transform(images) == model.transform(images)).all())
    torch.set_num_threads(threads)
    return {
        "name": "transform, two processes",
        "size": size,
        "images": count,
        "images_per_second": count / seconds["two"],
        "ratio_to_one_process": seconds["one"] / seconds["two"],
        "same_bytes": same,
    }


# --- memory --------------------------------------------------------------------------------------


def peak_of(model: EDIALSAnonymizer, size: int, count: int) -> float:
    """MiB of a fresh process that maps the images, transforms them and does no more."""
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(model, Path(folder) / "model")
        some = faces_of(size, min(count, 2000))
        shape = (count, size, size, 3)
        mapped = np.lib.format.open_memmap(Path(folder) / "x.npy", "w+", np.uint8, shape)
        for start in range(0, count, len(some)):
            mapped[start : start + len(some)] = some[: count - start]
        mapped.flush()
        del mapped
        told = subprocess.run(
            [sys.executable, __file__, "--peak", folder], capture_output=True, text=True, check=True
        )
    return float(told.stdout.split()[-1])


def run_once(folder: Path) -> None:
    """The fresh process of :func:`peak_of`: released pictures are dropped chunk by chunk."""
    model = joblib.load(folder / "model")
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    for _ in model.anonymize_stream(mapped):
        # What was read of the file is the system's to keep or drop; it is not memory in use.
        mapped._mmap.madvise(mmap.MADV_DONTNEED)
    print(highest_resident() / 1024)


def highest_resident() -> float:
    """KiB; of this program alone, where the system's own counter begins with its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(float(line.split()[1]) for line in status.open() if line.startswith("VmHWM"))


# --- all of it -----------------------------------------------------------------------------------


def rows_of(options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Every row by name; a row is measured when it is called."""
    repeats = options.repeats
    rows: dict[str, Callable[[], Any]] = {}
    for size in options.sizes:
        for count in options.images:
            # What takes an hour is run once.
            often = repeats if size**2 * count <= _OFTEN else 1
            for kind, change in (("full", lambda m: m), ("few retained", few_retained)):
                rows[f"transform, {kind}, {size} px, {count}"] = (
                    lambda kind=kind, change=change, size=size, count=count, often=often: (
                        transform_row(
                            f"transform, {kind}", change(fitted(size)), size, count, often
                        )
                    )
                )
    rows |= {
        "transform, evade": lambda: evade_row(64, 512, repeats),
        "transform and explain": lambda: explain_row(64, 128, repeats),
        "explain": lambda: shap_rows(64, repeats),
        "transform, two processes": lambda: shards_row(64, 8000, repeats),
        "transform, published, default, 256 px": lambda: published_rows(
            fitted(256), 256, {"transform, default": (fitted(256).transform, 256)}
        ),
        "transform, published, ConvNeXt, 256 px": convnext_rows,
        "fit": lambda: fit_row(200, 10),
    }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="rows whose name begins with this")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.peak is not None:
        run_once(options.peak)
        return
    meta = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "repeats": options.repeats,
    }
    found: list[dict[str, Any]] = []
    for name, measure in rows_of(options).items():
        if options.only is not None and not name.startswith(options.only):
            continue
        told = measure()
        for row in told if isinstance(told, list) else [told]:
            found.append(row)
            print(json.dumps(row), flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps({"rows": found, "meta": meta}, indent=1))


if __name__ == "__main__":
    main()
