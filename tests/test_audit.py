"""The ruler: an attacker that works on clear photos, fails on noise, and a floor that is right."""

import numpy as np
import pandas as pd
import pytest

from edials.audit.attackers import LatentAttacker, PixelAttacker, StaticAttacker
from edials.audit.pages import picture_sheet
from edials.audit.retention import picture_retention
from edials.audit.risk import attribute_floor, cross_validated_risk, rank_1
from edials.audit.utility import macro_f1


def test_rank_1_is_a_mean_over_people():
    scores = np.array([[2, 1, 0], [2, 1, 0], [2, 1, 0], [0, 1, 2.0]])
    assert rank_1(scores, np.array([0, 0, 0, 1])) == 0.5
    assert rank_1(scores, np.array([0, 0, 1, 1])) == 0.5


def test_attribute_floor_counts_cells():
    people = np.array([0, 0, 1, 2, 3, -1])
    assert attribute_floor(people, np.array([0, 0, 0, 1, 1, 2])) == 0.5
    assert attribute_floor(people, np.array([[0, 0], [0, 1], [0, 1], [1, 0], [1, 1], [2, 2]])) == 1
    assert attribute_floor(people, np.zeros(6, int)) == 0.25


@pytest.mark.parametrize("kind", ["latent", "pixel"])
def test_linear_attackers_see_people_and_not_noise(faces, fitted, kind):
    attacker = LatentAttacker(fitted.autoencoder_) if kind == "latent" else PixelAttacker()
    people = np.unique(faces.identity, return_inverse=True)[1]
    assert cross_validated_risk(attacker, faces.images, people) > 0.4
    noise = np.random.default_rng(0).integers(0, 256, faces.images.shape, dtype=np.uint8)
    assert cross_validated_risk(attacker, noise, people) < 0.25
    some = np.where(people == 3, -1, people)
    assert 0 <= cross_validated_risk(attacker, faces.images, some) <= 1


def test_static_attacker_asks_the_recogniser(faces, fitted):
    attacker = StaticAttacker(fitted.identity_classifier_).fit(faces.images, None)
    named = fitted.identity_classifier_.classes_[attacker.scores(faces.images).argmax(axis=1)]
    np.testing.assert_array_equal(named, fitted.identity_classifier_.predict(faces.images))


class _Perfect:
    def __init__(self, table):
        self.table = table

    def predict_table(self, images):
        return self.table


def test_withheld_images_count_as_wrong():
    table = pd.DataFrame({"age": ["a", "b"] * 4, "race": ["x", None] * 4})
    images = np.zeros((8, 16, 16, 3), np.uint8)
    assert macro_f1(_Perfect(table), images, table) == {"age": 1, "race": 1}
    assert macro_f1(_Perfect(table), images, table, np.ones(8, bool)) == {"age": 0, "race": 0}


def test_retention_limits_and_sheet(faces):
    same = picture_retention(faces.images, faces.images, batch_size=7)
    assert same == {"ssim": pytest.approx(1), "psnr": pytest.approx(100)}
    assert picture_retention(faces.images, 255 - faces.images)["ssim"] < 0.1
    sheet = picture_sheet([faces.images[:3], faces.images[3:6]], enlarge=2, gap=4)
    assert sheet.size == (2 * (3 * 36 + 4), 2 * (2 * 36 + 4))
