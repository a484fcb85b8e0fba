"""The command: never an original out, never a half-written release, errors in one line."""

import csv
import stat

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import edials.demo
from edials import save
from edials.cli import main


@pytest.fixture
def folder(faces, tmp_path):
    for row, (image, person) in enumerate(zip(faces.images, faces.identity, strict=True)):
        place = tmp_path / "faces" / person
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{row:03}.png")
    return tmp_path


def test_fit_then_anonymize(faces, folder, capsys):
    labels = faces.attributes.assign(identity=faces.identity).drop_duplicates("identity")
    labels.to_csv(folder / "labels.csv", index=False)
    model, out = folder / "model.edials", folder / "released"
    fit = ["fit", str(folder / "faces"), "--labels", str(folder / "labels.csv"), "--size", "32"]
    fit += ["--networks", "tiny", "--epochs", "2", "--keep", "age", "gender", "--out", str(model)]
    assert main(fit) == 0
    assert (
        "100 pictures of 10 people, 0 of nobody named; kept: age, gender" in capsys.readouterr().out
    )

    (folder / "faces" / "person_0000" / "broken.png").write_bytes(b"no picture")
    assert main(["anonymize", str(folder / "faces"), str(out), "--model", str(model)]) == 0
    manifest = folder / "released-manifest.csv"
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600
    with manifest.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 101
    assert [row["verdict"] for row in rows].count("unreadable") == 1
    released = {row["released_as"] for row in rows} - {""}
    assert released == {path.name for path in out.iterdir()}
    for path in out.iterdir():
        assert path.suffix == ".png"
        with Image.open(path) as picture:
            assert not picture.info
            difference = np.abs(np.asarray(picture, dtype=int) - faces.images)
            assert difference.mean(axis=(1, 2, 3)).min() > 4
        assert not any(person in path.name for person in faces.identity)


@pytest.mark.parametrize(
    ("out", "extra", "message"),
    [
        ("faces/inside", [], "lie inside one another"),
        ("full", [], "is not empty"),
        ("new", ["--manifest", "new/m.csv"], "inside the release"),
        ("new", ["--manifest", "full/old.csv"], "move it away"),
        ("nowhere/new", [], "make it first"),
    ],
)
def test_places_that_would_mix(folder, fitted, monkeypatch, capsys, out, extra, message):
    save(fitted, folder / "model.edials")
    (folder / "full").mkdir()
    (folder / "full" / "old.csv").write_text("")
    monkeypatch.chdir(folder)
    assert main(["anonymize", "faces", out, "--model", "model.edials", *extra]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "new").exists()


def test_errors_are_one_line(folder, fitted, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    save(fitted.autoencoder_, "part.edials")
    assert main(["anonymize", "faces", "new", "--model", "part.edials"]) == 2
    assert "holds a AdversarialAutoencoder, not an anonymizer" in capsys.readouterr().err
    people = sorted(path.name for path in (folder / "faces").iterdir())
    pd.DataFrame({"identity": people, "age": "young"}).to_csv("l.csv", index=False)
    fit = ["fit", "faces", "--labels", "l.csv", "--out", "m.edials", "--keep", "colour"]
    assert main(fit) == 2
    error = capsys.readouterr().err
    assert "colour" in error
    assert "Traceback" not in error


def test_demo(tmp_path, monkeypatch, capsys):
    for name, value in {
        "PEOPLE": 12,
        "PHOTOS": 8,
        "HELD_OUT": 2,
        "CROWD": 30,
        "JUDGED": 60,
    }.items():
        monkeypatch.setattr(edials.demo, f"_{name}", value)
    monkeypatch.setattr(edials.demo, "_SIZE", 32)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    table = pd.read_csv(tmp_path / "demo" / "report.csv", index_col=0)
    assert list(table.index) == ["clear", "reconstruction", "anonymized"]
    assert table["risk: LDA on the latents"].between(0, 100).all()
    assert "attribute floor" in capsys.readouterr().out
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "data:image/png;base64" in page
    with Image.open(tmp_path / "demo" / "pictures.png") as sheet:
        assert sheet.width > 300
