"""Who trains on releases: attribute classifiers taught by anonymized faces, asked about clear ones.

    python examples/benchmarks/benchmark_transfer.py --data DATA --cache DIR --json OUT [--asked
    probe]

Needs the networks of ``benchmark_faces.py`` in the cache. A classifier learns gender and race from
releases of enrolled photos of two thirds of the people and reads clear photos of the others; three
folds, no person in both. Rows give macro-F1 over all photos asked about, in percent, beside that of
a classifier taught by clear photos of the same people, and by plain reconstructions. Two kinds of
classifiers: the network that edials has, and a logistic regression on principal components of the
pixels ("linear"), which are found on the same photos. The anonymizer was fitted on all of the
people, as whoever releases their photos would fit it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_data import BenchmarkData, Cache, load_benchmark
from benchmark_faces import configured, fit_anonymizer, release
from sklearn.base import ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from edials import EDIALSAnonymizer
from edials.models.attribute_classifier import AttributeClassifier

TOLD = ("gender", "race")
#: Releases and their temperatures; None where nothing is drawn.
RELEASES = (
    ("clear", None),
    ("reconstruction", None),
    ("full", 0.15),
    ("calibrated", 0.15),
    ("full", 0.5),
    ("calibrated", 0.5),
    ("full", 1.0),
    ("calibrated", 1.0),
)


def released(
    anonymizer: EDIALSAnonymizer, method: str, temperature: float | None, images: np.ndarray
) -> np.ndarray:
    """Images as they leave."""
    if temperature is None:
        return release(anonymizer, method, images)
    return configured(anonymizer, method).set_params(temperature=temperature).transform(images)


def linear_classifier(seed: int) -> ClassifierMixin:
    """What a recipient has at hand without a network."""
    return make_pipeline(
        FunctionTransformer(lambda images: images.reshape(len(images), -1) / np.float32(255)),
        PCA(128, svd_solver="randomized", random_state=seed),
        StandardScaler(),
        LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000),
    )


def transferred(data: BenchmarkData, images: np.ndarray, asked: str, seed: int) -> dict[str, float]:
    """Macro-F1 on clear photos of people who taught nothing: by attribute, by classifier."""
    enrol, clear = data.enrol, getattr(data, asked)
    labels = enrol.attributes[list(TOLD)].astype(str)
    # Folds of people with as equal shares of men and women as can be.
    folds = StratifiedGroupKFold(3, shuffle=True, random_state=seed)
    read = {
        column: np.full(len(clear), "", dtype=object)
        for name in TOLD
        for column in (name, f"{name}_linear")
    }
    for taught, _ in folds.split(images, labels["gender"], enrol.identity.astype(str)):
        new = ~np.isin(clear.identity, enrol.identity[taught])
        network = AttributeClassifier(random_state=seed)
        network.fit(images[taught], labels.iloc[taught].reset_index(drop=True))
        told = network.predict_table(clear.images[new])
        for name in TOLD:
            linear = linear_classifier(seed).fit(images[taught], labels[name].iloc[taught])
            read[name][new] = told[name].to_numpy()
            read[f"{name}_linear"][new] = linear.predict(clear.images[new])
    return {
        column: 100
        * f1_score(clear.attributes[column.split("_")[0]].astype(str), names, average="macro")
        for column, names in read.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--asked", choices=("validation", "probe"), default="validation")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = load_benchmark("lfw", options.data, size=64, quick=False)
    anonymizer = fit_anonymizer(data, Cache(options.cache), options.seed)
    rows: list[dict[str, Any]] = []
    for method, temperature in RELEASES:
        images = released(anonymizer, method, temperature, data.enrol.images)
        found = transferred(data, images, options.asked, options.seed)
        rows.append({"method": method, "temperature": temperature, **found})
        print(json.dumps(rows[-1]), flush=True)
        told = {"rows": rows, "meta": {"asked": options.asked, "seed": options.seed}}
        options.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
