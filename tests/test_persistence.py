"""A fitted estimator comes back with the same output, whatever carried it, and can be fitted on."""

import copy
import json
import pickle
import stat
import zipfile

import joblib
import numpy as np
import pytest
from conftest import OUTER_TORCH_STATES
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from edials import load, save
from edials.exceptions import ModelFileError


def through_joblib(model, folder):
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


CARRIERS = {
    "edials": lambda model, folder: load(save(model, folder / "model.edials")),
    "joblib": through_joblib,
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "pipeline": lambda model, folder: through_joblib(Pipeline([("a", model)]), folder)["a"],
}


def test_a_network_is_stored_once(fitted):
    part = fitted.autoencoder_
    weights = sum(value.nbytes for value in part.module_.state_dict().values())
    assert weights < len(pickle.dumps(part)) < 1.2 * weights


@pytest.mark.parametrize("carrier", CARRIERS)
def test_same_output(faces, fitted, carrier, tmp_path):
    again = CARRIERS[carrier](fitted, tmp_path)
    images = faces.images[:9]
    np.testing.assert_array_equal(again.transform(images), fitted.transform(images))
    first, second = fitted.anonymize(images), again.anonymize(images)
    np.testing.assert_allclose(first.scores, second.scores)
    np.testing.assert_array_equal(first.verdicts, second.verdicts)
    np.testing.assert_allclose(again.explain(images[:2]).values, fitted.explain(images[:2]).values)


@pytest.mark.parametrize("outer", OUTER_TORCH_STATES)
def test_torch_states_of_the_caller_have_no_effect_on_loading(faces, fitted, outer, tmp_path):
    path = save(fitted, tmp_path / "model.edials")
    with OUTER_TORCH_STATES[outer]():
        again = load(path, device="cpu")
    images = faces.images[:4]
    np.testing.assert_array_equal(again.transform(images), fitted.transform(images))
    np.testing.assert_array_equal(again.explain(images).values, fitted.explain(images).values)


def test_loaded_models_can_be_fitted_again(faces, fitted, tmp_path):
    again = load(save(fitted, tmp_path / "model.edials"))
    refitted = clone(again).fit(faces.images, identity=faces.identity, attributes=faces.labels)
    np.testing.assert_array_equal(
        refitted.transform(faces.images[:4]), fitted.transform(faces.images[:4])
    )


def test_parts_and_frozen_parts(faces, fitted, tmp_path):
    parts = (fitted.autoencoder_, fitted.identity_classifier_, fitted.attribute_classifier_)
    for part, method in zip(parts, ("encode", "embed", "predict"), strict=True):
        again = load(save(part, tmp_path / "part.edials"), device="cpu")
        expected = getattr(part, method)(faces.images[:5])
        np.testing.assert_array_equal(getattr(again, method)(faces.images[:5]), expected)
    enrolled = copy.deepcopy(parts[1]).enrol(faces.images[:30], faces.identity[:30])
    again = load(save(enrolled, tmp_path / "enrolled.edials"))
    np.testing.assert_array_equal(again.predict(faces.images), enrolled.predict(faces.images))
    frozen = copy.deepcopy(fitted).set_params(autoencoder=FrozenEstimator(parts[0]))
    assert load(save(frozen, tmp_path / "f.edials")).autoencoder.estimator.latent_dim_ == 48


def test_a_model_file_is_private_and_holds_no_training_picture(faces, fitted, tmp_path):
    path = save(fitted, tmp_path / "model.edials")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    whole = pickle.dumps(fitted)
    for image in faces.images:
        assert image[10:12].tobytes() not in whole
    with zipfile.ZipFile(path) as archive:
        assert set(json.loads(archive.read("model.json"))) == {"edials", "estimator"}
        assert all(name == "model.json" or name.endswith(".npy") for name in archive.namelist())


def test_what_cannot_be_saved_says_so(fitted, tmp_path):
    model = copy.deepcopy(fitted).set_params(identity_classifier=LinearDiscriminantAnalysis())
    with pytest.raises(ModelFileError, match=r"identity_classifier .* Use joblib\.dump"):
        save(model, tmp_path / "model.edials")
    with pytest.raises(FileNotFoundError, match="nodir does not exist; make it first"):
        save(fitted, tmp_path / "nodir" / "model.edials")
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_files(fitted, tmp_path):
    path = save(fitted, tmp_path / "model.edials")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="not a whole file"):
        load(path)
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(ModelFileError, match=r"is not a file of edials\.save\.$"):
        load(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.edials")
    anonymizer = {"kind": "estimator", "name": "EDIALSAnonymizer"}
    for content, message in (
        ({"edials": 99}, "format 99; .* Update edials"),
        ({"edials": 1, "estimator": {"kind": "estimator", "name": "os"}}, "not a whole file"),
        ({"edials": 5, "estimator": anonymizer}, "format 5; .* Fit it again"),
        ({"edials": 6, "estimator": {"kind": "frozen", "estimator": anonymizer}}, "Fit it again"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.json", json.dumps(content))
        with pytest.raises(ModelFileError, match=message):
            load(path)
    with pytest.raises(ValueError, match="device='nowhere'"):
        load(path, device="nowhere")
