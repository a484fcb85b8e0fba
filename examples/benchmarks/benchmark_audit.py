"""One ruler for everybody: classical methods and edials' own modes under the same attackers.

    python examples/benchmarks/benchmark_audit.py --data DATA --cache DIR --json OUT --picture
    OUT.svg

LFW-89 by its fixed split. The networks are those that ``benchmark_faces.py`` left in the cache; the
table says what each method leaves to an attacker who was chosen on validation images, the picture
sets it against what is left to see.

By default the attackers are the linear ones and, since they are trained already, the recognisers of
the cache: used as they are, and one of them retrained on the release.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmark_data import ATTRIBUTES, Cache, Judge, load_benchmark, together
from benchmark_faces import configured, fit_anonymizer, missing, recognisers, release
from matplotlib.figure import Figure

from edials.audit import AuditReport, audit
from edials.audit.attackers.registry import make_attackers
from edials.audit.report.charts import draw_tradeoff
from edials.baselines import (
    BoxBlur,
    DoNothing,
    DPBlur,
    DPPixelate,
    GaussianBlur,
    GaussianNoise,
    KSameEigen,
    KSamePixel,
    KSameSelect,
    MaskEyes,
    MaskMouth,
    Pixelate,
)

BASELINES: dict[str, Any] = {
    "do nothing": DoNothing(),
    "Gaussian blur, sigma 2": GaussianBlur(2.0),
    "Gaussian blur, sigma 5": GaussianBlur(5.0),
    "box blur, radius 5": BoxBlur(5),
    "pixelate, block 8": Pixelate(8),
    "noise, sd 0.2": GaussianNoise(0.2, random_state=0),
    "mask eyes": MaskEyes(),
    "mask mouth": MaskMouth(),
    "DP pixelate": DPPixelate(random_state=0),
    "DP blur": DPBlur(random_state=0),
    "k-same pixel, k 10": KSamePixel(10),
    "k-same eigen, k 10": KSameEigen(10),
    "k-same select, k 10": KSameSelect(10),
}
MODES = ("reconstruction", "evade", "calibrated", "full")


def row(name: str, report: AuditReport, seconds: float) -> dict[str, Any]:
    """What the table says of one method."""
    worst = report.worst
    figures = (
        {}
        if worst is None
        else {
            "attacker": worst.name,
            "risk": worst.risk,
            "ci": [worst.ci_low, worst.ci_high],
            "excess": worst.in_cell_excess,
            "leakage_bits": worst.leakage_bits,
            "leakage_ci": [worst.leakage_low, worst.leakage_high],
            "in_cell_auc": worst.in_cell_auc,
            "p_value_any": report.p_value_any,
            "album_risk": worst.album_risk,
            "album_null": worst.album_null,
        }
    )
    sound = [o for o in report.outcomes if o.valid]
    naive = {o.name: o.risk_without_attributes for o in sound if o.kind in ("naive", "unseen")}
    parrot = {o.name: o.risk_without_attributes for o in sound if o.kind == "parrot"}
    released = {} if report.utility.empty else report.utility["released"].to_dict()
    return {
        "method": name,
        "floor": report.floor,
        "naive": max(naive.values(), default=None),
        "best_parrot": max(parrot.values(), default=None),
        **figures,
        "attackers": json.loads(report.to_json())["attackers"],
        "linked": report.linkage["linked"],
        "ssim": report.retention["ssim"],
        "macro_f1": released,
        "withheld": 1 - report.coverage,
        "copies": report.copies,
        "audit_seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--picture", type=Path, help="file for the trade-off, SVG")
    parser.add_argument(
        "--attackers",
        default="recognisers",
        choices=("recognisers", "quick", "standard", "thorough"),
    )
    parser.add_argument("--cnn-epochs", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=[*BASELINES, *MODES])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data = load_benchmark("lfw", options.data, size=64, quick=False)
    cache = Cache(options.cache)
    model = fit_anonymizer(data, cache, options.seed)
    judge = Judge(cache.get("judge", missing), cache.get("age_cuts", missing))
    # People outside the gallery teach attackers how a method changes photos.
    parts = {
        "enrol": data.enrol,
        "validation": data.validation,
        "probe": data.probe,
        "none": data.unseen,
    }
    faces = together(*parts.values())
    split = np.repeat(list(parts), [len(part) for part in parts.values()])
    people, kept = faces.identity.astype(str), faces.attributes[list(ATTRIBUTES)]

    attackers: Any = options.attackers
    if attackers == "recognisers":
        linear = make_attackers("quick", model, options.seed)
        attackers = [*linear, *recognisers(cache, options.cnn_epochs, options.seed)]

    # What a first run has measured already is not measured again.
    rows = json.loads(options.json.read_text())["rows"] if options.json.exists() else []
    done = {row["method"] for row in rows}
    for method in (name for name in options.methods if name not in done):
        # Attackers may anonymize for themselves with what made the release, and only with that.
        maker = None
        if method in BASELINES:
            # k-same select needs ten people of every kind, which only gender has here.
            baseline = BASELINES[method].fit(
                faces.images, identity=people, attributes=kept[["gender"]]
            )
            images = baseline.transform(faces.images)
        else:
            images, maker = release(model, method, faces.images), configured(model, method)
        start = time.perf_counter()
        report = audit(
            faces.images,
            images,
            identity=people,
            attributes=kept,
            split=split,
            attackers=attackers,
            anonymizer=maker,
            attribute_classifier=judge,
            random_state=options.seed,
        )
        rows.append(row(method, report, time.perf_counter() - start))
        print(f"--- {method}\n{report.summary()}\n", flush=True)
        options.json.write_text(json.dumps({"rows": rows}, indent=1))
    if options.picture is not None:
        points = {
            row["method"]: [row["ssim"], row["leakage_bits"], *row["leakage_ci"]]
            for row in rows
            if "leakage_bits" in row
        }
        columns = ["ssim", "leakage_bits", "leakage_low", "leakage_high"]
        table = pd.DataFrame.from_dict(points, orient="index", columns=columns)
        figure = Figure(figsize=(8, 4), layout="constrained")
        draw_tradeoff(figure.subplots(), table)
        figure.savefig(options.picture)
    hidden = ["ci", "leakage_ci", "attackers"]
    table = pd.json_normalize(rows).drop(columns=hidden, errors="ignore")
    print(table.to_string(float_format=lambda value: f"{value:.3f}"))


if __name__ == "__main__":
    main()
