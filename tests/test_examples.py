"""The gallery runs, and the benchmark on a miniature of the published layout."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from edials.datasets import make_faces

EXAMPLES = Path(__file__).parents[1] / "examples"
BENCHMARKS = EXAMPLES / "benchmarks"


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("plot_*.py")), ids=lambda path: path.stem)
def test_gallery(script, tmp_path):
    """Every page of the gallery prints something or draws a figure."""
    run = "import runpy, sys; runpy.run_path(sys.argv[1]); from matplotlib import pyplot; "
    run += "print(len(pyplot.get_fignums()), 'figures')"
    command = [sys.executable, "-c", run, str(script)]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    assert result.stdout != "0 figures\n"


def test_benchmark_on_a_miniature_of_mtf(tmp_path):
    faces = make_faces(16, 10, size=32, random_state=0)
    for row, image in enumerate(faces.images):
        labels = {"identity": faces.identity[row], **faces.attributes.iloc[row]}
        for task, label in labels.items():
            place = tmp_path / "mtf" / f"{task}_recognition" / label
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{row:04}.png")
    command = [sys.executable, str(BENCHMARKS / "benchmark_faces.py"), "--dataset", "mtf"]
    command += ["--data", str(tmp_path / "mtf"), "--cache", str(tmp_path / "cache")]
    command += ["--json", str(tmp_path / "out.json"), "--quick", "--size", "32"]
    command += ["--cnn-epochs", "1", "--methods", "clear", "reconstruction", "full", "--audit"]
    subprocess.run(command, check=True)
    result = json.loads((tmp_path / "out.json").read_text())
    assert {"dataset", "people", "chance", "floor", "seed", "versions"} <= set(result["meta"])
    rows = {row["method"]: row for row in result["rows"]}
    assert list(rows) == ["clear", "reconstruction", "full"]
    for row in rows.values():
        assert all(0 <= row[f"{kind}_risk"] <= 1 for kind in ("naive", "parrot", "reverse"))
        assert set(row["macro_f1"]) == {"age", "gender", "race"}
        assert np.isfinite([row["ssim"], row["psnr"], row["images_per_second"]]).all()
    assert rows["full"]["originals_among_outputs"] == 0


def test_unseen_people_get_predicted_attributes_and_a_split(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import benchmark_draws

    faces = make_faces(5, 20, size=32, random_state=0)
    # One photo in four is predicted otherwise than the others of its person.
    predicted = pd.DataFrame(
        {name: np.tile(["a", "a", "b", "a"], 25) for name in ("age", "gender")}
    )
    judge = SimpleNamespace(predict_table=lambda images: predicted.assign(race="c"))
    found, split = benchmark_draws.unseen(SimpleNamespace(unseen=faces), judge)
    assert (found.attributes == ["a", "a", "c"]).all().all()
    counts = pd.crosstab(faces.identity, split)
    assert (counts[["enrol", "validation", "probe"]] == [12, 3, 5]).all().all()
