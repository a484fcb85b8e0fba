"""Figures of the audit against their null and against a known truth."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import noise_like, normal_scores, run_audit
from matplotlib import pyplot
from sklearn.metrics import DetCurveDisplay

from edials.audit.attack_data import AttackData
from edials.audit.attackers.base import PixelAttacker
from edials.audit.figures import People, evaluate_scores
from edials.audit.groups import group_table, people_table, worst_person
from edials.audit.learning_curve import is_cheap
from edials.datasets import make_faces
from edials.metrics.permutation import permute_within_cells

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "benchmarks"))
from simulate_audit import judge_releases, render_again, someone_else

CELLS = np.arange(60) % 10


def figures_of(seed, signal, cells=CELLS, n_images=(8, 8), **settings):
    validation, probe = (
        (scores, People(people, cells))
        for scores, people in (
            normal_scores(seed + 1000 * index, signal, cells, n) for index, n in enumerate(n_images)
        )
    )
    defaults = {"clear_accuracy": 1, "validity_threshold": 0, "seed": 0}
    return evaluate_scores(
        "x", "released", validation=validation, probe=probe, **defaults, **settings
    )


def test_noise_has_no_leakage_and_a_tenth_of_a_bit_is_found():
    cells, images = np.arange(89) % 13, (6, 10)
    null = [figures_of(seed, 0.0, cells, images) for seed in range(20)]
    assert sum(f.leakage_low <= 0 <= f.leakage_high for f in null) >= 18
    assert sum(f.auc_low <= 0.5 <= f.auc_high for f in null) >= 18
    assert all(figures_of(seed, 0.4, cells, images).leakage_low > 0 for seed in range(5))
    inverted = figures_of(0, -0.6, cells, images)
    assert inverted.leakage_low > 0, "scores lower than chance disclose as much"


def test_predicted_cell_limits():
    """A certain prediction is the true cell; a uniform one adds nothing."""
    people = normal_scores(0, 0.0, CELLS)[1]
    certain = np.where(CELLS[people][:, None] == np.arange(10), 0.0, -50.0)
    uniform = np.full((len(people), 10), -np.log(10))
    figures = figures_of(5, 1.0, log_cells=certain)
    assert figures.risk_predicted_cell == pytest.approx(figures.risk)
    assert figures_of(5, 1.0, log_cells=uniform).risk_predicted_cell < figures.risk
    assert np.isnan(figures_of(5, 1.0).risk_predicted_cell)


def test_worst_person_beside_chance():
    null, leak = figures_of(0, 0.0), figures_of(0, 3.0)
    expected = null.people_above_twice_floor_null
    assert abs(null.people_above_twice_floor - expected) <= 3 * np.sqrt(expected + 1)
    assert leak.people_above_twice_floor > 50
    assert leak.worst_person_risk > 0.8
    alone = worst_person(np.eye(4), np.arange(4), permute_within_cells(np.arange(4)))
    assert alone["people_above_twice_floor"] == 0
    assert np.isnan(alone["worst_person_risk"])


def test_small_groups_have_no_figures():
    cells = np.r_[np.repeat([0, 1], 15), 2, np.repeat(3, 4)]
    labels = np.array(["a", "b", "alone", "few"])[cells]
    attributes = pd.DataFrame({"kind": np.repeat(labels, 2)})
    table = people_table(attributes, np.repeat(np.arange(35), 2), cells)
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
    data = AttackData(
        images={"clear": {"enrol": photos}, "released": {"enrol": photos + 10}},
        people={"enrol": People(codes, np.zeros(3, int))},
        log_cells=np.zeros((0, 1)),
        fresh_releases=[photos + 20, photos + 30],
        pairs=(photos, photos),
        pairs_of="the gallery",
        impostors=None,
    )
    images, people = data.gallery("released", 0.5)
    assert people.tolist() == [0, 0, 1, 2] * 3
    half = np.array([1, 2, 5, 6])
    assert images[:, 1, 1, 0].tolist() == [*(half + 10), *(half + 20), *(half + 30)]
    assert data.gallery("clear")[1].tolist() == codes.tolist()
    assert is_cheap(PixelAttacker())
    assert not is_cheap(object())


# --- in the report ----------------------------------------------------------------------------


def test_report_of_clear_photos_and_of_noise(town):
    clear, noise = (run_audit(town, images) for images in (town.images, noise_like(town.images)))
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
    assert DetCurveDisplay(**clear.det).plot().ax_ is not None
    pyplot.close("all")
    text = clear.to_json()
    assert "person_0" not in text + clear.to_html(pictures=False)
    assert not set(json.loads(text)["attackers"][0]) & {"per_person", "person_scores", "det"}
    difference = clear.compare(noise)
    assert difference.loc["leakage (bit)", "low"] > 0
    assert (clear.compare(clear)[["difference", "low", "high"]] == 0).all(axis=None)
    with pytest.raises(ValueError, match="expected the same people"):
        clear.compare(run_audit(town, town.images, attributes=None))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_new_faces_are_at_the_floor_and_a_third_of_a_face_is_not(seed):
    town = make_faces(36, 14, size=32, random_state=seed)
    town.labels = town.attributes[["age", "gender"]]
    null = run_audit(town, render_again(town, 0.0, 100 + seed), random_state=seed)
    assert not null.leak_found
    assert null.worst.leakage_low <= 0 <= null.worst.leakage_high
    assert run_audit(town, render_again(town, 0.3, 100 + seed), random_state=seed).leak_found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_person_who_never_appears_is_identified(seed):
    """Every image shows one of the two others of the cell."""
    town = make_faces(54, 10, size=32, random_state=seed)
    releases = [someone_else(town, 1000 * seed + index) for index in range(4)]
    pooled = judge_releases(town, releases)
    assert pooled.p_value < 0.05
    assert pooled.album_p_value < 0.05
