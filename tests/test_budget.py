"""Predicted attributes, and how many features are retained within a budget."""

import copy
from types import SimpleNamespace
from unittest.mock import Mock, patch

import numpy as np
import pandas as pd
import pytest
from conftest import make_anonymizer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from edials import load, save
from edials._labels import encode_attributes, encode_labels
from edials.audit import FrontierDisplay
from edials.exceptions import CalibrationWarning, IdentityLeakWarning
from edials.fitting.data import TrainingData
from edials.release.attribute_reader import AttributeReader, attribute_records
from edials.strength.capacity import RetainedFeatures, capacity_of
from edials.strength.leakage import measure
from edials.strength.selection import select_n_retained
from edials.strength.splits import random_half_splits, split_photos

# Half of the people here are the others by another name, so nobody is recognised well.
FEW = pytest.mark.filterwarnings("ignore::edials.exceptions.IdentityLeakWarning")


def test_records_correct_the_classifier_for_people_of_the_fit():
    people = encode_labels(np.repeat(["ann", "bob", "cy"], 4), name="identity", n_samples=12)
    table = pd.DataFrame({"age": np.repeat(["old", "young", "old"], 4), "smile": [*"ynyn"] * 3})
    attributes = encode_attributes(table, 12)
    records = attribute_records(attributes, people, np.array(["bob", "cy", "zoe"]))
    # By the recogniser's order: bob is young, cy is old, zoe is not on record.
    np.testing.assert_array_equal(records[0], [[0, 1], [1, 0], [0.5, 0.5]])
    # A smile belongs to photos, so nobody's is on record.
    np.testing.assert_array_equal(records[1], np.full((3, 2), 0.5))

    unsure = SimpleNamespace(logits=lambda images: [np.array([[0.2, 0.0]] * 2), np.eye(2)])
    sees_bob_then_cy = SimpleNamespace(logits=lambda images: np.array([[9.0, 0, 0], [0, 9.0, 0]]))
    reader = AttributeReader(unsure, sees_bob_then_cy, records)
    np.testing.assert_array_equal(reader.codes(np.zeros((2, 1))), [[1, 0], [0, 1]])
    silent = SimpleNamespace(logits=lambda images: np.array([[np.nan, 1.0, 2.0]] * 2))
    # Nothing is heard of the recogniser, so what is seen decides.
    np.testing.assert_array_equal(
        AttributeReader(unsure, silent, records).codes([0, 0]), [[0, 0], [0, 1]]
    )
    nothing = AttributeReader(None, sees_bob_then_cy, [])
    assert nothing.codes(np.zeros((2, 1))).shape == (2, 0)


def test_rare_classes_are_not_on_record():
    people = encode_labels(np.repeat(np.arange(50), 10), name="identity", n_samples=500)
    glasses = np.where(np.random.default_rng(0).random(500) < 0.04, "yes", "no")
    attributes = encode_attributes(pd.DataFrame({"glasses": glasses}), 500)
    np.testing.assert_array_equal(attribute_records(attributes, people, np.arange(50))[0], 0.5)


def _data(people: np.ndarray, attributes: pd.DataFrame | None = None) -> TrainingData:
    """Labels without pictures; -1 is nobody."""
    n = len(people)
    targets = None if attributes is None else encode_attributes(attributes, n)
    labels = encode_labels(people, name="identity", n_samples=n)
    return TrainingData(np.zeros((n, 1, 1, 3), np.uint8), labels, targets)


def test_nobody_is_in_the_gallery_alone():
    """The last photos of a class stay with the networks; a person without a probe is left out."""
    people = np.repeat(np.arange(30), 8)
    hat = np.full(240, "none", dtype=object)
    first = split_photos(_data(people, pd.DataFrame({"hat": hat, "y": ["a", "b"] * 120})), 0)
    own = first.probe[people[first.probe] == 3]
    hat[own] = "red"
    split = split_photos(_data(people, pd.DataFrame({"hat": hat})), 0)
    assert not set(own) & set(split.probe)
    assert set(people[split.gallery]) == set(people[split.probe]) == {*range(30)} - {3}


def test_splits_do_not_overlap_and_need_enough_people():
    people = np.concatenate([np.repeat(np.arange(30), 8), [-1] * 5, np.repeat(30, 3)])
    table = pd.DataFrame({"y": np.resize(["a", "b"], len(people)).astype(object)})
    table.loc[:3, "y"] = None
    split = split_photos(_data(people, table), seed=0)
    assert not set(split.gallery) & set(split.probe)
    assert sorted([*split.training, *split.probe]) == list(range(len(people)))
    for rows in (split.gallery, split.probe):
        # Person 0 has four complete photos left, person 30 three: neither is split.
        assert set(people[rows]) == set(range(1, 30))
    assert (np.bincount(people[split.probe])[1:] == 2).all()
    few = split_photos(_data(people[: 8 * 19]), seed=0)
    assert not len(few.probe)
    assert len(few.training) == 8 * 19


def test_training_photos_are_halved_in_several_ways_for_everybody():
    generator = np.random.default_rng(0)
    people = generator.permutation(np.repeat(np.arange(30), generator.integers(4, 15, 30)))
    people[generator.random(len(people)) < 0.1] = -1
    split = split_photos(_data(people), seed=0)
    halvings = random_half_splits(people, split, seed=0)
    np.testing.assert_array_equal(halvings[0][0], split.gallery)
    probed = np.flatnonzero(np.isin(people, people[split.probe]))
    for halves in halvings:
        # Every photo of the probe's people is in the probe, or in one of the halves.
        np.testing.assert_array_equal(np.sort(np.concatenate([split.probe, *halves])), probed)
        counts = [np.bincount(people[half], minlength=30) for half in halves]
        assert np.abs(counts[0] - counts[1]).max() <= 1
    assert len({half.tobytes() for halves in halvings for half in halves}) == 2 * len(halvings)


def _town(n_people=90, cell=6, photos=(12, 8), tells=(4.0, 1.5, 0.0, 0.0), seed=0):
    """People whose features differ by this much; the last ones tell nothing."""
    generator = np.random.default_rng(seed)
    cells = np.arange(n_people) // cell
    centres = generator.standard_normal((n_people, len(tells))) * tells
    found = []
    for count in photos:
        people = np.repeat(np.arange(n_people), count)
        features = centres[people] + generator.standard_normal((len(people), len(tells)))
        found.append(RetainedFeatures(features.astype(np.float32), people))
    return (*found, cells[people], cells)


def test_features_without_identity_are_retained_and_others_are_not():
    frontier = measure(*_town(), seed=0)
    np.testing.assert_array_equal(frontier["n_retained"], [0, 1, 2, 3, 4])
    assert np.abs(frontier["leakage_bits"][:3]).max() < 0.03
    assert frontier["leakage_bits"][3] > 0.15
    assert frontier["leakage_bits"][4] > 0.8
    assert frontier["in_cell_excess"][4] > 0.4
    assert frontier["album_excess"][4] > 0.6
    assert select_n_retained(frontier, 0.05) == 2
    # Never all of them: that would be the plain reconstruction.
    assert select_n_retained(frontier, 99.0) == 3


def test_consistent_misclassification_identifies():
    gallery, probe, predicted, cells = _town(tells=(4.0, 0.0))
    predicted[probe.people % 6 == 0] = cells.max() + 1
    marked = measure(gallery, probe, predicted, cells, seed=0)
    assert marked["leakage_bits"][0] > 0.3
    with pytest.warns(IdentityLeakWarning, match="misclassified consistently"):
        assert select_n_retained(marked, 0.05) == 0


def test_random_misclassification_hides_no_leak():
    gallery, probe, predicted, cells = _town(tells=(4.0, 1.5))
    correctly = measure(gallery, probe, predicted, cells, seed=0)["leakage_bits"]
    generator = np.random.default_rng(0)
    wrong = generator.random(len(predicted)) < 0.3
    predicted[wrong] = generator.integers(cells.max() + 1, size=wrong.sum())
    misclassified = measure(gallery, probe, predicted, cells, seed=0)["leakage_bits"]
    np.testing.assert_allclose(misclassified, correctly, atol=0.1)


def test_capacity_allows_for_attackers_with_more_photos():
    """Two photos to learn from show little of what eight small differences tell together."""
    starved = measure(*_town(n_people=300, photos=(2, 2), tells=(0.3,) * 8), seed=0)
    rich = measure(*_town(n_people=300, photos=(40, 8), tells=(0.3,) * 8), seed=0)
    assert rich["leakage_bits"][-1] > 0.2 > 0.1 > starved["leakage_bits"][-1]
    assert starved["capacity_bits"][-1] > rich["leakage_bits"][-1]


def test_more_trial_bases_lower_the_error_of_the_capacity():
    gallery, probe, predicted, cells = _town(photos=(4, 3), tells=(4.0, 0.0))
    swapped = _town(photos=(4, 3), tells=(4.0, 0.0), seed=1)[:2]
    once = measure(gallery, probe, predicted, cells, seed=0)
    twice = measure(gallery, probe, predicted, cells, seed=0, pairs=[swapped])
    assert twice["capacity_error"][1] < 0.85 * once["capacity_error"][1]
    np.testing.assert_array_equal(twice["leakage_bits"], once["leakage_bits"])


def _frontier(limit: float, error: float, people: int = 90) -> dict[str, np.ndarray]:
    """Attackers find nothing in one feature of two, and what there is for others is as given."""
    return {
        "n_retained": np.arange(3),
        "leakage_bits": np.array([0.0, 0.0, 1.0]),
        "leakage_error": np.array([0.001, 0.005, 0.1]),
        "capacity_bits": np.array([0.0, limit, 2.0]),
        "capacity_error": np.array([0.0, error, 0.1]),
        "attack_succeeds": np.array([False, False, True]),
        "people": np.full(3, people),
    }


def test_the_capacity_stays_within_the_budget_at_its_upper_end():
    assert select_n_retained(_frontier(0.01, 0.02), 0.05) == 1
    # As many people as make the error small enough for the room that is left.
    with pytest.warns(CalibrationWarning, match="about 244 would be needed"):
        assert select_n_retained(_frontier(0.03, 0.02), 0.05) == 0
    with pytest.warns(CalibrationWarning, match="more would be needed to tell"):
        assert select_n_retained(_frontier(0.06, 0.02), 0.05) == 0
    with pytest.warns(CalibrationWarning, match="Even the first retained feature"):
        assert select_n_retained(_frontier(0.2, 0.01), 0.05) == 0


@pytest.mark.parametrize(("seen", "at_most"), [(1.0, 0.02), (0.5, 0.1), (0.0, 0.25)])
def test_twice_the_budget_seldom_passes(seen, at_most):
    """Also if of a person's own only a share, or nothing, is left in photos networks have seen."""
    budget, taken = 0.05, []
    share = np.sqrt(np.expm1(2 * np.log(2) * 2 * budget / 4))  # of each of four features
    generator = np.random.default_rng(0)

    def photos(own: np.ndarray, count: int) -> RetainedFeatures:
        people = np.repeat(np.arange(90), count)
        rows = own[people] + generator.standard_normal((len(people), 4))
        return RetainedFeatures(rows.astype(np.float32), people)

    for _ in range(100):
        own = share * generator.standard_normal((90, 4))
        first, second, third = (photos(seen * own, 5) for _ in range(3))
        pairs = [(first, photos(own, 3))]
        bits, error = capacity_of(pairs, np.arange(90) // 6, 4, [(second, third)])
        taken.append(bits + 1.645 * error <= budget)
    assert np.mean(taken) <= at_most


def test_capacity_is_what_both_sets_share():
    gallery, probe, _, cells = _town(n_people=900, photos=(6, 6), tells=(0.0, 0.0))
    generator = np.random.default_rng(0)
    own = generator.standard_normal((900, gallery.features.shape[1])).astype(np.float32)

    def marked(of_gallery: float, of_probe: float) -> tuple[RetainedFeatures, RetainedFeatures]:
        """The two sets, with what is each person's own in this measure in their photos."""
        first, second = (
            part._replace(features=part.features + share * own[part.people])
            for part, share in ((gallery, of_gallery), (probe, of_probe))
        )
        return first, second

    assert capacity_of([marked(1, 0)], cells, 2)[0] < 0.15
    assert capacity_of([marked(1, 1)], cells, 2)[0] > 1
    # As if a recogniser predicted all of it, but only of the photos that it has learned.
    assert capacity_of([marked(0, 1)], cells, 2)[0] > 1
    # Of photos that networks have seen, only what both sets have in common counts.
    assert capacity_of([marked(0, 0)], cells, 2, [marked(1, 1)])[0] > 0.5
    assert abs(capacity_of([marked(0, 0)], cells, 2, [marked(0, 1)])[0]) < 0.15


def test_people_alone_in_their_cell_do_not_dilute():
    gallery, probe, predicted, cells = _town(n_people=60, tells=(1.0,))
    result = measure(gallery, probe, predicted, cells, seed=0)
    # As many again, each with a cell to themselves.
    alone = [RetainedFeatures(e.features, e.people + 60) for e in (gallery, probe)]
    both = [
        RetainedFeatures(*(np.concatenate(pair) for pair in zip(one[:2], other[:2], strict=True)))
        for one, other in zip((gallery, probe), alone, strict=True)
    ]
    own = np.arange(60) + cells.max() + 1
    mixed = measure(
        *both,
        np.concatenate([predicted, own[probe.people]]),
        np.concatenate([cells, own]),
        seed=0,
    )
    assert mixed["people"][0] == 60
    np.testing.assert_allclose(mixed["leakage_bits"], result["leakage_bits"], atol=0.1)
    nobody = measure(gallery, probe, probe.people, np.arange(60), seed=0)
    with pytest.warns(CalibrationWarning, match="share their attributes"):
        assert select_n_retained(nobody, 0.05) == 0


def test_too_few_people_and_broken_attackers_retain_nothing():
    few = measure(*_town(n_people=20, photos=(3, 2), seed=2), seed=0)
    with pytest.warns(CalibrationWarning, match="20 people .* would be needed"):
        assert select_n_retained(few, 0.05) == 0
    broken = measure(*_town(tells=(0.0, 0.0)), seed=0)
    with pytest.warns(CalibrationWarning, match="Calibration refused"):
        assert select_n_retained(broken, 5.0) == 0


@FEW
def test_strength_auto(faces, fitted, tmp_path):
    model = make_anonymizer(strength="auto").set_params(
        autoencoder=FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
    )
    with pytest.warns(CalibrationWarning, match="needs 20 people"):
        model.fit(faces.images, identity=faces.identity, attributes=faces.labels)
    assert model.strength_ == 1
    assert not hasattr(model, "frontier_")
    # Twice as many names: enough to measure, though half of them are the others by another name.
    names = np.where(np.arange(100) % 2, faces.identity, np.char.add(faces.identity, "-2"))
    images = np.concatenate([faces.images, faces.images[:, :, ::-1]])
    attributes = pd.concat([faces.labels, faces.labels], ignore_index=True)
    model.set_params(risk_budget=1e6)
    asked = Mock(wraps=measure)
    with patch("edials.strength.frontier.measure", asked):
        model.fit(images, identity=np.concatenate([names, names]), attributes=attributes)
    # Networks have seen no second set of the pairs that they may not have seen: it is the probe.
    of_probe, trusted = asked.call_args.args[1], asked.call_args.kwargs["pairs"]
    for _, second in trusted:
        np.testing.assert_array_equal(second.covariates, of_probe.covariates)
    frontier = model.frontier_
    assert set(frontier) >= {"strength", "leakage_bits", "leakage_low", "ssim", "utility", "floor"}
    assert (np.diff(frontier["strength"]) < 0).all()
    assert frontier["ssim"][-1] > frontier["ssim"][0]
    assert model.strength_ == 1 - frontier["n_retained"][-2] / 48
    again = load(save(model, tmp_path / "model.edials"))
    np.testing.assert_array_equal(again.transform(images[:4]), model.transform(images[:4]))
    with pytest.raises(ValueError, match="but fit used"):
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


def test_covariates_count_with_any_retained_feature():
    gallery, probe, predicted, cells = _town(n_people=60, tells=(0.0, 1.0))
    hidden = [e.features[:, -1:] for e in (gallery, probe)]
    plain = [RetainedFeatures(e.features[:, :-1], e.people) for e in (gallery, probe)]
    beside = [RetainedFeatures(*e[:2], always) for e, always in zip(plain, hidden, strict=True)]
    without = measure(*plain, predicted, cells, seed=0)["capacity_bits"]
    found = measure(*beside, predicted, cells, seed=0)["capacity_bits"]
    assert found[0] == without[0] == 0
    assert (found[1:] > without[1:] + 0.2).all()
