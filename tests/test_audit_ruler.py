"""The ruler where it could say too little: few people, weak panels, small files, odd labels."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from edials.audit import audit, excess_risk
from edials.audit.attackers.base import PixelAttacker
from edials.audit.inputs.folders import common_size
from edials.audit.report.text import verdict
from edials.baselines import GaussianBlur, GaussianNoise
from edials.datasets import make_faces
from edials.exceptions import InvalidLabelsError
from edials.metrics.leakage import calibrate, confidence_interval, in_cell_log_probabilities
from edials.metrics.permutation import smallest_p_value


@pytest.fixture(scope="module")
def village():
    return make_faces(12, 10, size=32, random_state=3)


def judged(village, images, rows=slice(None), **settings):
    settings = {"attackers": ["LDA on the pixels"], "random_state": 0, **settings}
    return audit(village.images[rows], images[rows], identity=village.identity[rows], **settings)


def test_a_discriminants_bias_is_not_lost():
    """With one cell the risk is what the attacker reaches alone, whatever bias its scores have."""
    generator = np.random.default_rng(0)
    means = generator.standard_normal((20, 5)) * generator.uniform(0.5, 3, size=(20, 1))
    codes = np.repeat(np.arange(20), 12)
    cells = np.zeros(20, int)

    def scores():
        rows = means[codes] + generator.standard_normal((len(codes), 5))
        return rows @ means.T - 0.5 * (means**2).sum(axis=1)

    validation, probe = scores(), scores()
    calibrated = calibrate(validation, codes, cells)(probe)
    known = in_cell_log_probabilities(calibrated, codes, cells).argmax(axis=1) == codes
    assert known.mean() == pytest.approx((probe.argmax(axis=1) == codes).mean(), abs=1e-9)


def test_an_interval_of_one_hit_stays_where_a_mean_can_be():
    for n in (5, 40, 89):
        low, high = confidence_interval(np.eye(1, n).ravel(), bounds=(0, 1))
        assert 0 <= low <= 1 / n <= high < 0.8
    assert confidence_interval(np.full(12, 0.2)) == (pytest.approx(0.2), pytest.approx(0.2))


@pytest.mark.parametrize("cells", [[0, 1, 2, 3], [0, 0, 1, 2]])
def test_too_few_people_to_test_is_an_alarm(village, cells):
    assert smallest_p_value(np.array(cells)) >= 0.05
    rows = np.flatnonzero(np.arange(120) < 40)
    kept = pd.DataFrame({"cell": [f"c{cells[row // 10]}" for row in rows]})
    report = judged(village, GaussianBlur(6.0).fit_transform(village.images), rows, attributes=kept)
    assert not report.testable
    assert report.leak_found or "TOO FEW" in report.summary()
    assert verdict(report)[1]


def test_a_panel_that_works_on_nothing_is_no_evidence(village):
    class Guesser(PixelAttacker):
        name = "guesser"

        def scores(self, images):
            return np.random.default_rng(0).standard_normal((len(images), 12))

    report = judged(village, village.images, attackers=[Guesser()])
    assert report.worst is None
    assert "this audit is no evidence" in report.summary()
    with pytest.raises(ValueError, match=r"attackers=\[\]"):
        judged(village, village.images, attackers=[])


def test_numbers_that_are_none_are_refused_by_name(village):
    class Broken(PixelAttacker):
        name = "divides by zero"

        def scores(self, images):
            return super().scores(images) * np.nan

    with pytest.raises(ValueError, match=r"'divides by zero' .* not finite"):
        judged(village, village.images, attackers=[Broken()])


def test_excess_is_that_of_who_knows_the_attributes(village):
    """A leak that is hidden by attributes the attacker would have to guess is found inside them."""

    class KnowsTheTurn(PixelAttacker):
        """Sees who of a cell it is, and nothing of the cell."""

        def fit(self, images, people):
            self.people_ = int(people.max()) + 1
            return self

        def scores(self, images):
            turn = images[:, 0, 0, 0].astype(int)[:, None]
            noise = np.random.default_rng(0).standard_normal((len(images), self.people_))
            return 10.0 * (np.arange(self.people_) % 3 == turn) + noise

    people = np.repeat(np.arange(12), 10)
    images = np.random.default_rng(1).integers(0, 256, (120, 16, 16, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = people % 3
    cells = pd.DataFrame({"cell": [f"c{person // 3}" for person in people]})
    assert excess_risk(images, people, cells, attacker=KnowsTheTurn()) == pytest.approx(2 / 3)
    images[::2] = 128  # withheld: nobody is on these
    assert excess_risk(images, people, cells, attacker=KnowsTheTurn()) == pytest.approx(2 / 3)


def test_one_small_file_does_not_blind_the_audit(tmp_path):
    paths = []
    for row, size in enumerate([64, 64, 64, 16]):
        paths.append(tmp_path / f"{row}.png")
        Image.new("RGB", (size, size)).save(paths[-1])
    assert common_size(paths, paths) == 64


def test_attributes_that_cannot_be_judged_do_not_end_an_audit(village):
    lone = np.where(village.identity == village.identity[0], "one", "others")
    kept = {"constant": ["same"] * 120, "lone": lone}
    report = judged(village, village.images, attributes=kept)
    assert report.utility.loc["constant", "released"] == 1
    with pytest.raises(InvalidLabelsError, match="one table"):
        judged(village, village.images, attributes={"a": [1, 2], "b": [1]})
    with pytest.raises(ValueError, match="attribute_classifier=3; expected a fitted"):
        judged(village, village.images, attribute_classifier=3)
    with pytest.raises(InvalidLabelsError, match="split has 3 entries"):
        judged(village, village.images, split=["enrol"] * 3)


def test_withholding_what_is_hard_does_not_raise_utility(village):
    kept = village.attributes[["gender"]]
    whole = judged(village, village.images, attributes=kept).utility.loc["gender"]
    held = village.images.copy()
    held[::5] = 128
    some = judged(village, held, attributes=kept).utility.loc["gender"]
    assert some["released"] < whole["released"]
    assert some["clear"] == whole["clear"]


def test_blanks_of_many_colours_are_not_withheld(village):
    painted = np.full_like(village.images, 128)
    painted[:] = (np.repeat(np.arange(12), 10) * 20)[:, None, None, None].astype(np.uint8)
    report = judged(village, painted)
    assert report.n_withheld == 0
    assert report.worst.risk > 0.9
    assert "not the same" in report.findings[0]


def test_randomised_baselines_are_attacked_with_fresh_releases(village):
    noise = GaussianNoise(0.1, random_state=0).fit(village.images)
    report = judged(village, noise.transform(village.images), anonymizer=noise)
    assert report.n_fresh == 3


def test_a_poisoned_gallery_is_never_the_worst(village):
    report = judged(village, village.images, attackers="quick")
    assert "reverse: LDA on the pixels" in report.attackers.index
    assert report.worst.probe_kind == "released"
    assert report.linkage["linked"] == report.linkage["linked_clear"]


def test_missing_labels_and_people_outside_the_gallery(village):
    kept = village.attributes[["age", "gender"]].astype(object)
    kept.iloc[:15] = None
    split = np.tile(["enrol"] * 6 + ["validation"] * 2 + ["probe"] * 2, 12)
    split[:10] = "none"
    report = judged(village, village.images, attributes=kept, split=split)
    assert report.n_people == 11
    assert report.worst.leakage_low > 0
