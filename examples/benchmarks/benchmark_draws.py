"""Other keys and other people: the linear audit of ``benchmark_faces.py``, for several draws.

    python examples/benchmarks/benchmark_draws.py --data DATA --cache DIR --json OUT [--draws 0 1 2
    3 4]

Needs the networks of ``benchmark_faces.py`` in the cache. Every draw is a release by another key
of one fitted anonymizer. The population ``enrolled`` is that of the fit, reported on ``probe``;
``unseen`` are people who entered no fit, whose attributes are those that most of their photos are
judged to have, and whose photos are shared out in turn: 60 % enrol, 15 % validate, 25 % are probed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmark_data import ATTRIBUTES, BenchmarkData, Cache, Faces, Judge, load_benchmark, together
from benchmark_faces import configured, fit_anonymizer, missing, release

from edials import EDIALSAnonymizer
from edials.audit import audit
from edials.audit.attackers.base import NaiveAttacker
from edials.audit.attackers.registry import make_attackers
from edials.metrics.retention import picture_retention

POPULATIONS = ("enrolled", "unseen")
#: Of every twenty photos of a person.
SHARES = ["enrol"] * 12 + ["validation"] * 3 + ["probe"] * 5


def enrolled(data: BenchmarkData) -> tuple[Faces, np.ndarray]:
    """The people of the fit, and how their photos are shared out."""
    parts = {"enrol": data.enrol, "validation": data.validation, "probe": data.probe}
    split = np.repeat(list(parts), [len(part) for part in parts.values()])
    return together(*parts.values()), split


def unseen(data: BenchmarkData, judge: Judge) -> tuple[Faces, np.ndarray]:
    """People who entered no fit, with attributes as judged."""
    faces = data.unseen
    people = pd.Series(faces.identity.astype(str))
    seen = judge.predict_table(faces.images)[list(ATTRIBUTES)]
    most = seen.groupby(people.to_numpy()).agg(lambda column: column.mode().iloc[0])
    table = most.loc[people].reset_index(drop=True).astype(object)
    turn = people.groupby(people).cumcount().to_numpy()
    # Mixed, so that whoever has ten photos has some of each kind.
    order = np.random.default_rng(0).permutation(len(SHARES))
    return Faces(faces.images, faces.identity, table), np.array(SHARES)[order][turn % len(SHARES)]


def row_of(
    population: str,
    faces: Faces,
    split: np.ndarray,
    model: EDIALSAnonymizer,
    method: str,
    attackers: list[Any],
    seed: int,
) -> dict[str, Any]:
    """One release, audited by who learns from it with a linear model, and by ``attackers``."""
    images = release(model, method, faces.images)
    maker = configured(model, method)
    report = audit(
        faces.images,
        images,
        split=split,
        attackers=[*make_attackers("quick", maker, seed), *attackers],
        identity=faces.identity.astype(str),
        attributes=faces.attributes[list(ATTRIBUTES)],
        anonymizer=maker,
        random_state=seed,
    )
    worst, probe = report.worst, split == "probe"
    return {
        "population": population,
        "people": len(np.unique(faces.identity.astype(str))),
        "method": method,
        "worst_attacker": worst.name,
        "leakage_bits": worst.leakage_bits,
        "leakage_ci": [worst.leakage_low, worst.leakage_high],
        "in_cell_excess": worst.in_cell_excess,
        "in_cell_auc": worst.in_cell_auc,
        "auc_ci": [worst.auc_low, worst.auc_high],
        "highest_auc": max(outcome.in_cell_auc for outcome in report.outcomes),
        "p_value_any": report.p_value_any,
        "album_risk": worst.album_risk,
        "album_null": worst.album_null,
        "linkage_excess": report.linkage["linked"] - report.linkage["null"],
        **picture_retention(faces.images[probe], images[probe]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="keys")
    parser.add_argument("--populations", nargs="+", choices=POPULATIONS, default=POPULATIONS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data, cache = load_benchmark("lfw", options.data, size=64, quick=False), Cache(options.cache)
    anonymizer = fit_anonymizer(data, cache, options.seed)
    judge = Judge(cache.get("judge", missing), cache.get("age_cuts", missing))
    naive = [NaiveAttacker(cache.get(n, missing)) for n in ("recogniser", "second_recogniser")]
    naive[1].name, naive[1].kind = "second recogniser of clear photos", "unseen"
    # The recognisers know the enrolled alone.
    populations = {
        "enrolled": lambda: (*enrolled(data), naive),
        "unseen": lambda: (*unseen(data, judge), []),
    }
    asked = {name: populations[name]() for name in options.populations}
    rows: list[dict[str, Any]] = []
    for draw in options.draws:
        model = anonymizer.with_new_key(draw) if draw else anonymizer
        for name, (faces, split, attackers) in asked.items():
            for method in ("full", "calibrated"):
                row = row_of(name, faces, split, model, method, attackers, options.seed)
                rows.append({"draw": draw, **row})
                print(json.dumps(rows[-1]), flush=True)
                options.json.write_text(json.dumps({"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
