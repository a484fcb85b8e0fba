"""What is read off an image, and how much is given back within a budget."""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import make_anonymizer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from edials._targets import encode_attributes
from edials._validation import encode_labels
from edials.attribute_reader import AttributeReader, records_of_people
from edials.audit import FrontierDisplay
from edials.budget import Evidence, measure, share_out, spend
from edials.exceptions import CalibrationWarning, IdentityLeakWarning


def test_records_help_to_read_the_people_of_the_fit():
    people = encode_labels(np.repeat(["ann", "bob", "cy"], 4), name="identity", n_samples=12)
    table = pd.DataFrame({"age": np.repeat(["old", "young", "old"], 4), "smile": [*"ynyn"] * 3})
    kept = encode_attributes(table, 12)
    records = records_of_people(kept, people, np.array(["bob", "cy", "zoe"]))
    # By the recogniser's order: bob is young, cy is old, zoe is not on record.
    np.testing.assert_array_equal(records[0], [[0, 1], [1, 0], [0.5, 0.5]])
    # A smile belongs to photos, so nobody's is on record.
    np.testing.assert_array_equal(records[1], np.full((3, 2), 0.5))

    unsure = SimpleNamespace(logits=lambda images: [np.array([[0.2, 0.0]] * 2), np.eye(2)])
    sees_bob_then_cy = SimpleNamespace(logits=lambda images: np.array([[9.0, 0, 0], [0, 9.0, 0]]))
    reader = AttributeReader(unsure, sees_bob_then_cy, records)
    np.testing.assert_array_equal(reader.codes(np.zeros((2, 1))), [[1, 0], [0, 1]])
    nothing = AttributeReader(None, sees_bob_then_cy, [])
    assert nothing.codes(np.zeros((2, 1))).shape == (2, 0)


def test_shares_do_not_overlap_and_need_enough_people():
    people = np.concatenate([np.repeat(np.arange(30), 8), [-1] * 5, np.repeat(30, 3)])
    complete = np.ones(len(people), dtype=bool)
    complete[:4] = False
    shares = share_out(people, complete, seed=0)
    assert not set(shares.gallery) & set(shares.judged)
    for rows in shares:
        # Person 0 has four complete photos left, person 30 three: neither is shared out.
        assert set(people[rows]) == set(range(1, 30))
    assert (np.bincount(people[shares.judged])[1:] == 2).all()
    assert not len(share_out(people[: 8 * 19], complete[: 8 * 19], seed=0).judged)


def _evidence(n_people=90, cell=6, photos=(12, 8), tells=(4.0, 1.5, 0.0, 0.0), seed=0):
    """People whose features differ by as much as is told; the last ones tell nothing."""
    generator = np.random.default_rng(seed)
    cells = np.arange(n_people) // cell
    centres = generator.standard_normal((n_people, len(tells))) * tells
    found = []
    for count in photos:
        people = np.repeat(np.arange(n_people), count)
        features = centres[people] + generator.standard_normal((len(people), len(tells)))
        found.append(Evidence(features.astype(np.float32), cells[people], people))
    return (*found, cells)


def test_what_tells_nothing_is_given_back_and_what_tells_is_not():
    frontier = measure(*_evidence(), seed=0)
    np.testing.assert_array_equal(frontier["given_back"], [0, 1, 2, 3, 4])
    assert np.abs(frontier["leakage_bits"][:3]).max() < 0.03
    assert frontier["leakage_bits"][3] > 0.15
    assert frontier["leakage_bits"][4] > 0.8
    assert frontier["in_cell_excess"][4] > 0.4
    assert frontier["album_excess"][4] > 0.6
    assert spend(frontier, 0.05, 90) == 2
    # Never all of them: that would be the plain reconstruction.
    assert spend(frontier, 99.0, 90) == 3


def test_who_is_always_misread_is_marked():
    gallery, judged, cells = _evidence(tells=(4.0, 0.0))
    read = judged.read.copy()
    read[judged.people % 6 == 0] = 99
    _, read = np.unique(read, return_inverse=True)
    marked = measure(gallery, judged._replace(read=read), cells, seed=0)
    assert marked["leakage_bits"][0] > 0.3
    with pytest.warns(IdentityLeakWarning, match="misread again and again"):
        assert spend(marked, 0.05, 90) == 0


def test_too_few_people_and_broken_attackers_give_nothing_back():
    few = measure(*_evidence(n_people=20, photos=(3, 2)), seed=0)
    with pytest.warns(CalibrationWarning, match="about [0-9]+ would be needed"):
        assert spend(few, 0.05, 20) == 0
    broken = measure(*_evidence(tells=(0.0, 0.0)), seed=0)
    with pytest.warns(CalibrationWarning, match="Calibration refused"):
        assert spend(broken, 5.0, 90) == 0


def test_strength_auto(faces, fitted):
    model = make_anonymizer(strength="auto").set_params(
        autoencoder=FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
    )
    with pytest.warns(CalibrationWarning, match="needs 20 people"):
        model.fit(faces.images, identity=faces.identity, attributes=faces.kept)
    assert model.strength_ == 1
    assert not hasattr(model, "frontier_")
    # Twice as many names: enough to measure, though half of them are the others by another name.
    names = np.where(np.arange(100) % 2, faces.identity, np.char.add(faces.identity, "-2"))
    images = np.concatenate([faces.images, faces.images[:, :, ::-1]])
    kept = pd.concat([faces.kept, faces.kept], ignore_index=True)
    model.set_params(risk_budget=1e6)
    model.fit(images, identity=np.concatenate([names, names]), attributes=kept)
    frontier = model.frontier_
    assert set(frontier) >= {"strength", "leakage_bits", "leakage_low", "ssim", "utility", "floor"}
    assert (np.diff(frontier["strength"]) < 0).all()
    assert frontier["ssim"][-1] > frontier["ssim"][0]
    assert 0 < model.strength_ <= 1
    with pytest.raises(ValueError, match="was spent in fit"):
        copy.copy(model).set_params(risk_budget=0.1).transform(images[:2])
    display = FrontierDisplay.from_estimator(model)
    assert display.ax_.get_ylabel() == "leakage beyond the attributes (bit)"
    with pytest.raises(NotFittedError, match="measured no frontier"):
        FrontierDisplay.from_estimator(fitted)
    fitted_with_a_number = copy.copy(fitted).set_params(strength="auto")
    with pytest.raises(NotFittedError, match="fit it again"):
        fitted_with_a_number.transform(images[:2])
    with pytest.raises(ValueError, match="risk_budget=0"):
        make_anonymizer(strength="auto", risk_budget=0).fit(images, identity=names)
