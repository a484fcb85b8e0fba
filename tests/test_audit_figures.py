"""Figures of the audit against their null and against a known truth."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from sklearn.metrics import DetCurveDisplay

from edials.audit import audit
from edials.audit.attack_data import AttackData
from edials.audit.attackers.base import PixelAttacker
from edials.audit.figures import People, evaluate_scores
from edials.audit.groups import group_table, people_table, worst_person
from edials.audit.learning_curve import is_cheap
from edials.datasets import make_faces
from edials.metrics.album import album_figures, pool_releases
from edials.metrics.leakage import calibrate, combine, log_predicted_cell
from edials.metrics.permutation import (
    max_t_p_value,
    mean_scores_by_person,
    permutation_p_value,
    permute_within_cells,
)
from edials.metrics.verification import verification

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "benchmarks"))
from simulate_audit import judge_releases, render_again, someone_else

CELLS = np.arange(60) % 10


def scores_of(seed, signal, n=8, cells=CELLS):
    """Normal scores with a signal for the true person."""
    generator, codes = np.random.default_rng(seed), np.repeat(np.arange(len(cells)), n)
    scores = generator.standard_normal((len(codes), len(cells)))
    scores[np.arange(len(codes)), codes] += signal
    return scores, codes


def judged(seed, signal, **settings):
    (validation, own), (probe, codes) = scores_of(seed, signal), scores_of(seed + 1000, signal)
    return evaluate_scores(
        "x",
        "released",
        validation=(validation, People(own, CELLS)),
        probe=(probe, People(codes, CELLS)),
        clear_accuracy=1,
        validity_threshold=0,
        **settings,
    )


def test_exchange_stays_in_the_cell_and_is_fair():
    moved = permute_within_cells(CELLS, n_permutations=400, seed=1)
    assert (CELLS[moved] == CELLS).all()
    assert (np.sort(moved, axis=1) == np.arange(60)).all()
    assert 0.1 < (moved[:, 0] == 0).mean() < 0.24  # six in the cell


def test_p_values_are_uniform_at_the_null_and_small_for_a_signal():
    exchanged = permute_within_cells(CELLS, n_permutations=199, seed=0)
    values = []
    for seed in range(200):
        tables = [mean_scores_by_person(*scores_of(10 * seed + k, 0.0), 60) for k in range(3)]
        values.append((permutation_p_value(tables[0], exchanged), max_t_p_value(tables, exchanged)))
    for column in np.transpose(values):
        assert (column <= 0.05).mean() <= 0.1
        assert 0.4 < column.mean() < 0.6
    tables[1] = mean_scores_by_person(*scores_of(1, -0.4), 60)
    assert max_t_p_value(tables, exchanged) < 0.02, "an inverted attacker counts"
    assert max_t_p_value([np.zeros((60, 60))], exchanged) == 1
    assert np.isnan(max_t_p_value([], exchanged))


def test_weak_attackers_add_up():
    """Four that find nothing for themselves find it together."""
    exchanged, alone, together = permute_within_cells(CELLS, seed=0), [], []
    for seed in range(20):
        tables = [mean_scores_by_person(*scores_of(50 * seed + k, 0.09), 60) for k in range(4)]
        alone.append(max_t_p_value(tables[:1], exchanged))
        together.append(max_t_p_value(tables, exchanged))
    assert np.mean(np.array(together) < 0.05) > np.mean(np.array(alone) < 0.05)


def test_combination_leaves_out_who_is_not_believed():
    people = scores_of(0, 0)[1]
    strong, noise, more = (scores_of(seed, signal)[0] for seed, signal in ((1, 2), (2, 0), (3, 0)))
    ready = [calibrate(scores, people, CELLS) for scores in (strong, noise, more)]
    assert [c.is_informative for c in ready] == [True, False, False]
    np.testing.assert_array_equal(combine(ready[:2], [strong, noise]), ready[0](strong))
    both = combine(ready[1:], [noise, more])
    assert both.std() == pytest.approx(np.sqrt(2), rel=0.05)


def test_album_has_a_null_of_its_own():
    exchanged = permute_within_cells(CELLS, seed=0)
    inside, high = [], []
    for seed in range(40):
        figures = album_figures(mean_scores_by_person(*scores_of(seed, 0.0), 60), CELLS, exchanged)
        inside.append(figures["album_p_value"])
        high.append(figures["album_risk"] - figures["album_null"])
    assert abs(np.mean(high)) < 0.03
    assert np.mean(np.array(inside) < 0.05) <= 0.125
    figures = album_figures(mean_scores_by_person(*scores_of(0, 1.0), 60), CELLS, exchanged)
    assert figures["album_risk"] > figures["album_null_high"] + 0.3
    assert figures["album_p_value"] < 0.01


def test_releases_are_pooled_alike():
    scores, _ = scores_of(0, 0.5)
    pooled = pool_releases([scores, 100 * scores + 7])
    np.testing.assert_allclose(
        pooled - pooled.mean(axis=1, keepdims=True),
        (scores - scores.mean(axis=1, keepdims=True))
        / (scores - scores.mean(axis=1, keepdims=True)).std(),
    )
    with pytest.raises(ValueError, match="expected at least one, all alike"):
        pool_releases([scores, scores[:3]])
    with pytest.raises(ValueError, match="expected at least one"):
        pool_releases([])


def test_predicted_cell_limits():
    """A certain reader is the known cell; one who reads nothing names anybody."""
    scores, codes = scores_of(0, 3.0)
    certain = np.where(CELLS[codes][:, None] == np.arange(10), 0.0, -50.0)
    nothing = np.full((len(codes), 10), -np.log(10))
    known = judged(5, 1.0, log_cells=certain)
    assert known.risk_predicted_cell == pytest.approx(known.risk)
    assert judged(5, 1.0, log_cells=nothing).risk_predicted_cell < known.risk
    assert np.isnan(judged(5, 1.0).risk_predicted_cell)
    log_q = log_predicted_cell(scores, nothing, CELLS)
    np.testing.assert_allclose(np.exp(log_q).sum(axis=1), 1)


@pytest.mark.parametrize("sizes", [(6, 6, 6), (2, 5, 20, 1)])
def test_verification_is_chance_at_the_null_whatever_the_cells(sizes):
    cells = np.repeat(np.arange(len(sizes)), sizes)
    scores, codes = scores_of(0, 0.0, n=200, cells=cells)
    scores += 3 * cells + 10 * np.random.default_rng(1).standard_normal((len(scores), 1))
    figures, det = verification(scores, codes, cells)
    assert figures["eer"] == pytest.approx(0.5, abs=0.02)
    assert figures["tar_at_fmr_1e2"] == pytest.approx(0.01, abs=0.006)
    assert figures["tar_at_fmr_1e3"] == pytest.approx(0.001, abs=0.002)
    assert det.shape[1] <= 200
    np.testing.assert_allclose(det.sum(axis=0), 1, atol=0.05)


def test_verification_of_a_signal_and_of_nobody():
    figures, det = verification(*scores_of(0, 4.0), CELLS)
    assert figures["eer"] < 0.1
    assert figures["tar_at_fmr_1e2"] > 0.5
    few, _ = verification(*scores_of(0, 4.0, n=1), CELLS)
    assert np.isnan(few["tar_at_fmr_1e3"]), "300 impostors do not show one in a thousand"
    alone, det = verification(*scores_of(0, 4.0), np.arange(60))
    assert np.isnan(alone["eer"])
    assert det.shape == (2, 0)


def test_worst_person_beside_chance():
    quiet, loud = judged(0, 0.0), judged(0, 3.0)
    expected = quiet.people_above_twice_floor_null
    assert abs(quiet.people_above_twice_floor - expected) <= 3 * np.sqrt(expected + 1)
    assert loud.people_above_twice_floor > 50
    assert loud.worst_person_risk > 0.8
    everybody_alone = worst_person(np.eye(4), np.arange(4), permute_within_cells(np.arange(4)))
    assert everybody_alone["people_above_twice_floor"] == 0
    assert np.isnan(everybody_alone["worst_person_risk"])


def test_groups_too_small_say_nothing():
    cells = np.r_[np.repeat([0, 1], 15), 2, np.repeat(3, 4)]
    labels = np.array(["a", "b", "alone", "few"])[cells]
    table = people_table(
        pd.DataFrame({"kind": np.repeat(labels, 2)}), np.repeat(np.arange(35), 2), cells
    )
    assert table["kind"].tolist() == labels.tolist()
    success = np.where(cells == 1, 0.5, 1 / 15)
    success[30] = 1.0
    groups = group_table(success + 0.001 * np.arange(35), table).loc["kind"]
    assert groups.index[0] == "b"
    assert groups.loc["b", "low"] > 0.3
    assert groups.loc[["few", "alone"], "note"].tolist() == ["too small"] * 2
    assert groups.loc[["few", "alone"], "in_cell_excess"].isna().all()
    assert groups["alone"].to_dict() == {"b": 0, "a": 0, "few": 0, "alone": 1}
    assert people_table(None, np.arange(2), np.zeros(2, int)).columns.tolist() == ["cell"]


def test_a_share_of_the_gallery_has_fewer_photos_in_all_releases():
    photos = np.arange(1, 8, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    photos[:, 0, 0] = 100  # not blank
    codes = np.array([0, 0, 0, 0, 1, 2, 2])
    material = AttackData(
        images={"clear": {"enrol": photos}, "released": {"enrol": photos + 10}},
        people={"enrol": People(codes, np.zeros(3, int))},
        log_cells=np.zeros((0, 1)),
        fresh_releases=[photos + 20, photos + 30],
        pairs=(photos, photos),
        pairs_of="the gallery",
        impostors=None,
    )
    images, people = material.gallery("released", 0.5)
    assert people.tolist() == [0, 0, 1, 2] * 3
    half = np.array([1, 2, 5, 6])
    assert images[:, 1, 1, 0].tolist() == [*(half + 10), *(half + 20), *(half + 30)]
    assert material.gallery("clear")[1].tolist() == codes.tolist()
    assert is_cheap(PixelAttacker())
    assert not is_cheap(object())


# --- in the report ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def town():
    data = make_faces(36, 14, size=32, random_state=1)
    data.kept = data.attributes[["age", "gender"]]
    return data


def report_of(town, images, seed=0):
    return audit(
        town.images,
        images,
        identity=town.identity,
        attributes=town.kept,
        attackers="quick",
        random_state=seed,
    )


def test_report_tells_all_of_it(town):
    nothing = np.random.default_rng(0).integers(0, 256, town.images.shape, dtype=np.uint8)
    clear, noise = (report_of(town, images) for images in (town.images, nothing))
    assert not noise.leak_found
    assert clear.leak_found
    worst = clear.worst
    assert clear.floor_predicted_cell <= clear.floor
    assert clear.floor_predicted_cell < worst.risk_predicted_cell <= worst.risk + 0.05
    assert worst.eer < 0.35
    assert worst.album_risk > worst.album_null_high
    assert set(clear.groups.index.get_level_values(0)) == {"age", "gender"}
    assert (clear.groups["low"] > 0).all()
    assert clear.learning_curve["share"].tolist() == [0.25, 0.5, 1.0] * 2
    pixels = clear.learning_curve.query("name == 'LDA on the pixels'")
    assert pixels["still_learning"].all(), "eight photos of everybody are few"
    assert "STILL LEARNING" in clear.summary()
    assert DetCurveDisplay(**clear.det).plot().ax_ is not None
    pyplot.close("all")
    text = clear.to_json()
    content = json.loads(text)
    assert {"p_value_any", "leak_found", "groups", "learning_curve"} <= set(content)
    assert {"risk_predicted_cell", "album_p_value", "eer"} <= set(content["attackers"][0])
    assert "person_0" not in text + clear.to_html(pictures=False)
    assert not set(content["attackers"][0]) & {"per_person", "person_scores", "det"}
    difference = clear.compare(noise)
    assert difference.loc["leakage (bit)", "low"] > 0
    itself = clear.compare(clear)[["difference", "low", "high"]]
    assert (itself == 0).all(axis=None)
    with pytest.raises(ValueError, match="expected the same people"):
        clear.compare(audit(town.images, town.images, identity=town.identity, attackers="quick"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_kept_is_at_the_floor_and_a_third_of_a_face_is_not(seed):
    town = make_faces(36, 14, size=32, random_state=seed)
    town.kept = town.attributes[["age", "gender"]]
    nobody = report_of(town, render_again(town, 0.0, 100 + seed), seed)
    assert not nobody.leak_found
    assert nobody.worst.leakage_low <= 0 <= nobody.worst.leakage_high
    assert report_of(town, render_again(town, 0.3, 100 + seed), seed).leak_found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whoever_never_appears_is_the_one(seed):
    """Left out of the own draw: every image shows one of the two others of the cell."""
    town = make_faces(54, 10, size=32, random_state=seed)
    releases = [someone_else(town, 1000 * seed + turn) for turn in range(4)]
    pooled = judge_releases(town, releases)
    assert pooled.p_value < 0.05
    assert pooled.album_p_value < 0.05
