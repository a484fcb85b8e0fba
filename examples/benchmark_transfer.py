"""Who trains on releases: attribute classifiers taught by anonymized faces, asked about clear ones.

    python examples/benchmark_transfer.py --data DATA --cache DIR --json OUT [--asked probe]

Needs the networks of ``benchmark_faces.py`` in the cache. A classifier learns gender and race from
releases of enrolled photos of two thirds of the people and reads clear photos of the others; three
folds, no person in both. Rows give macro-F1 over all photos asked about, in percent, beside that of
a classifier taught by clear photos of the same people, and by plain reconstructions. The anonymizer
was fitted on all of the people, as whoever releases their photos would fit it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_data import BenchmarkData, Cache, load_benchmark
from benchmark_faces import configured, fit_anonymizer, release
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from edials import EDIALSAnonymizer
from edials.attributes import AttributeClassifier

TOLD = ("gender", "race")
#: Releases and their temperatures; None where nothing is drawn.
RELEASES = (
    ("clear", None),
    ("reconstruction", None),
    ("full", 0.15),
    ("calibrated", 0.15),
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


def transferred(data: BenchmarkData, images: np.ndarray, asked: str, seed: int) -> dict[str, float]:
    """Macro-F1 on clear photos of people who taught nothing, by attribute."""
    enrol, clear = data.enrol, getattr(data, asked)
    labels = enrol.attributes[list(TOLD)].astype(str)
    # Folds of people with as equal shares of men and women as can be.
    folds = StratifiedGroupKFold(3, shuffle=True, random_state=seed)
    read = np.full((len(clear), len(TOLD)), "", dtype=object)
    for taught, _ in folds.split(images, labels["gender"], enrol.identity.astype(str)):
        known = np.isin(clear.identity, enrol.identity[taught])
        model = AttributeClassifier(random_state=seed)
        model.fit(images[taught], labels.iloc[taught].reset_index(drop=True))
        read[~known] = model.predict_table(clear.images[~known])[list(TOLD)].to_numpy()
    return {
        name: 100 * f1_score(clear.attributes[name].astype(str), read[:, column], average="macro")
        for column, name in enumerate(TOLD)
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
