"""The command: never an original out, never a half-written release, errors in one line."""

import csv
import json
import stat

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from sklearn.frozen import FrozenEstimator

import edials.cli.demo
from edials import EDIALSAnonymizer, save
from edials.cli.main import main


@pytest.fixture
def folder(faces, tmp_path):
    for row, (image, person) in enumerate(zip(faces.images, faces.identity, strict=True)):
        place = tmp_path / "faces" / person
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{row:03}.png")
    return tmp_path


@pytest.mark.filterwarnings("always::edials.exceptions.CalibrationWarning")
def test_fit_then_anonymize(faces, folder, capsys):
    labels = faces.attributes.assign(identity=faces.identity).drop_duplicates("identity")
    labels.to_csv(folder / "labels.csv", index=False)
    model, out = folder / "model.edials", folder / "released"
    fit = ["fit", str(folder / "faces"), "--labels", str(folder / "labels.csv"), "--size", "32"]
    fit += ["--networks", "tiny", "--epochs", "2", "--keep", "age", "gender", "--out", str(model)]
    assert main(fit) == 0
    assert (
        "100 pictures of 10 people, 0 without a name; attributes: age, gender"
        in capsys.readouterr().out
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
    for model, problem in (("none.edials", "does not exist"), ("faces", "is a folder")):
        for command in (["anonymize", "faces", "new"], ["audit", "faces", "faces"]):
            assert main([*command, "--model", model]) == 2
            message = f"--model {model} {problem}; expected what 'edials fit' wrote."
            assert message in capsys.readouterr().err
    people = sorted(path.name for path in (folder / "faces").iterdir())
    pd.DataFrame({"identity": people, "age": "young"}).to_csv("l.csv", index=False)
    fit = ["fit", "faces", "--labels", "l.csv", "--out", "m.edials", "--keep", "colour"]
    assert main(fit) == 2
    error = capsys.readouterr().err
    assert "colour" in error
    assert "Traceback" not in error


@pytest.mark.filterwarnings("always::edials.exceptions.IdentityLeakWarning")
def test_a_fit_warns_before_it_trains_and_can_be_interrupted(faces, folder, monkeypatch, capsys):
    labels = faces.attributes.assign(identity=faces.identity).drop_duplicates("identity")
    labels.to_csv(folder / "labels.csv", index=False)
    monkeypatch.chdir(folder)

    def interrupt(*_, **__):
        assert "edials: 100% of the people are alone" in capsys.readouterr().err
        raise KeyboardInterrupt

    monkeypatch.setattr(edials.AdversarialAutoencoder, "fit", interrupt)
    fit = ["fit", "faces", "--labels", "labels.csv", "--size", "32", "--out", "m.edials"]
    assert main(fit) == 130
    assert capsys.readouterr().err == "edials fit: interrupted; nothing was written\n"
    assert not (folder / "m.edials").exists()


def test_an_interrupted_release_is_called_incomplete(folder, fitted, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    save(fitted, "model.edials")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(EDIALSAnonymizer, "anonymize", interrupt)
    assert main(["anonymize", "faces", "new", "--model", "model.edials"]) == 130
    error = capsys.readouterr().err
    assert error.endswith("edials anonymize: interrupted; new is incomplete\n")


def test_demo(tmp_path, monkeypatch, capsys):
    sizes = {"PEOPLE": 12, "PHOTOS": 8, "VALIDATION": 1, "PROBE": 2, "CROWD": 30, "SIZE": 32}
    for name, value in sizes.items():
        monkeypatch.setattr(edials.cli.demo, f"_{name}", value)
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    content = json.loads((out / "report.json").read_text())
    assert content["n_people"] == 12
    assert content["gallery"] == {"enrol": 60, "validation": 12, "probe": 24}
    assert content["attribute_names"] == ["age", "gender", "race"]
    printed, page = capsys.readouterr().out, (out / "report.html").read_text()
    for text in (printed, page):
        assert "The people are made up" in text
    assert "attribute floor" in printed
    assert "data:image/png;base64" in page
    with Image.open(out / "pictures.png") as sheet:
        assert sheet.width > 300


def blurred_folder(faces, folder):
    for row, (image, person) in enumerate(zip(faces.images, faces.identity, strict=True)):
        place = folder / "blurred" / person
        place.mkdir(parents=True, exist_ok=True)
        if row % 10:  # one of everybody is held back
            Image.fromarray(image).filter(ImageFilter.GaussianBlur(2)).save(place / f"{row:03}.jpg")
    labels = faces.labels.assign(identity=faces.identity).drop_duplicates("identity")
    labels.to_csv(folder / "labels.csv", index=False)


def test_audit_of_a_folder_by_name(faces, folder, monkeypatch, capsys):
    blurred_folder(faces, folder)
    monkeypatch.chdir(folder)
    command = ["audit", "faces", "blurred", "--labels", "labels.csv", "--attackers", "quick"]
    assert main([*command, "--keep", "gender"]) == 0
    said = capsys.readouterr()
    assert "10 people, 100 images, 90.0% released" in said.out
    assert "100 pictures of 10 people, 10 withheld\n" in said.err
    out = folder / "edials-audit"
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
    content = json.loads((out / "report.json").read_text())
    assert content["attribute_names"] == ["gender"]
    assert content["coverage"] == 0.9
    assert "data:image/png" in (out / "report.html").read_text()
    assert main([*command, "--no-pictures", "--seed", "1", "--size", "16"]) == 0
    assert "data:image/png" not in (out / "report.html").read_text()


def test_fit_anonymize_audit(faces, folder, fitted, monkeypatch, capsys):
    """From the shell to the report, though the release has random names."""
    monkeypatch.chdir(folder)
    # Without attributes, so that the floor is chance.
    bare = EDIALSAnonymizer(
        FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        strength=1.0,
        random_state=0,
    ).fit(faces.images, identity=faces.identity)
    save(bare, "model.edials")
    (folder / "faces" / "person_0000" / "broken.png").write_bytes(b"no picture")
    assert main(["anonymize", "faces", "released", "--model", "model.edials"]) == 0
    manifest = folder / "released-manifest.csv"
    rows = pd.read_csv(manifest, keep_default_na=False)
    held = rows[rows["verdict"] != "unreadable"].index[:5]
    for name in rows.loc[held, "released_as"]:
        (folder / "released" / name).unlink()
    rows.loc[held, ["released_as", "verdict"]] = ["", "withheld"]
    rows.to_csv(manifest, index=False)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")  # the manifest has relative names of another place
    command = ["audit", "../faces", "../released", "--manifest", str(manifest), "--out", "report"]
    command += ["--attackers", "quick", "--model", "../model.edials"]
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr()
    assert "10 people, 100 images, 95.0% released" in said.out
    assert "5 withheld, 1 not in the manifest or unreadable" in said.err
    content = json.loads((folder / "elsewhere" / "report" / "report.json").read_text())
    assert "LDA on the latents" in [attacker["name"] for attacker in content["attackers"]]
    assert content["worst_risk"] < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["blurred", "--out", "faces/report"], "lies inside faces"),
        (["blurred", "--out", "blurred"], "lies inside blurred"),
        (["blurred", "--out", "nowhere/report"], "make it first"),
        (["blurred", "--out", "labels.csv"], "is a file"),
        (["blurred", "--labels", "labels.csv", "--keep", "colour"], "--keep names ['colour']"),
        (["blurred", "--manifest", "none.csv"], "does not exist"),
        (["blurred", "--manifest", "labels.csv"], "lacks ['file', 'released_as', 'verdict']"),
        (["blurred", "--manifest", "other.csv"], "names none of the originals"),
        (["blurred", "--manifest", "gone.csv"], "names files that do not exist"),
        (["random"], "pass its --manifest: 1 released files have no original of their name"),
        (["blurred", "--size", "20"], "multiple of 16"),
        (["blurred", "--size", "16", "--model", "model.edials"], "--size is 16"),
    ],
)
def test_audit_errors_are_one_line(faces, folder, fitted, monkeypatch, capsys, arguments, message):
    blurred_folder(faces, folder)
    monkeypatch.chdir(folder)
    save(fitted, "model.edials")
    (folder / "random").mkdir()
    Image.fromarray(faces.images[0]).save(folder / "random" / "0123.png")
    header = "file,released_as,verdict\n"
    (folder / "other.csv").write_text(f"{header}x/y.png,z.png,certified\n")
    (folder / "gone.csv").write_text(f"{header}faces/person_0000/000.png,z.png,certified\n")
    assert main(["audit", "faces", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (folder / "edials-audit").exists()
