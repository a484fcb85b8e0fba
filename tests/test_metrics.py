"""Metrics of scores against their null, a known truth, and other implementations."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import noise_like, normal_scores
from skimage.metrics import structural_similarity as skimage_similarity

from edials.audit import excess_risk
from edials.audit.attackers.base import PixelAttacker
from edials.metrics.album import album_figures, pool_releases
from edials.metrics.leakage import (
    calibrate,
    combine,
    confidence_interval,
    in_cell_log_probabilities,
    log_predicted_cell,
)
from edials.metrics.linear_attack import LatentAttacker
from edials.metrics.permutation import (
    max_t_p_value,
    mean_scores_by_person,
    permutation_p_value,
    permute_within_cells,
)
from edials.metrics.retention import picture_retention
from edials.metrics.risk import attribute_floor, cross_validated_risk, rank_1
from edials.metrics.ssim import structural_similarity
from edials.metrics.verification import verification

CELLS = np.arange(60) % 10


def score_table(seed, signal):
    return mean_scores_by_person(*normal_scores(seed, signal, CELLS), 60)


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 16), (32, 48), (96, 64)])
@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
def test_structural_similarity_is_that_of_scikit_image(shape, noise):
    generator = np.random.default_rng(0)
    first = generator.random((3, *shape, 3), dtype=np.float32)
    second = np.clip(first + noise * generator.standard_normal(first.shape, np.float32), 0, 1)
    expected = [
        skimage_similarity(
            *pair,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=2,
        )
        for pair in zip(first, second, strict=True)
    ]
    tensors = (torch.from_numpy(side).permute(0, 3, 1, 2) for side in (first, second))
    np.testing.assert_allclose(structural_similarity(*tensors), expected, atol=1e-4)


def test_retention_has_its_limits(faces):
    same = picture_retention(faces.images, faces.images, batch_size=7)
    assert same.pop("psnr") == pytest.approx(100)
    assert same == pytest.approx(dict.fromkeys(same, 1.0))
    assert picture_retention(faces.images, 255 - faces.images)["ssim"] < 0.1


# --- risk -------------------------------------------------------------------------------------


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
def test_linear_attackers_identify_people_and_not_noise(faces, fitted, kind):
    attacker = LatentAttacker(fitted.autoencoder_) if kind == "latent" else PixelAttacker()
    people = np.unique(faces.identity, return_inverse=True)[1]
    assert cross_validated_risk(attacker, faces.images, people) > 0.4
    assert cross_validated_risk(attacker, noise_like(faces.images), people) < 0.25
    one_unknown = np.where(people == 3, -1, people)
    assert cross_validated_risk(attacker, faces.images, one_unknown) > 0.4


def test_excess_is_found_by_an_attacker_who_knows_the_attributes():
    """A leak inside cells, hidden from an attacker who would have to guess the cell."""

    class InCellAttacker(PixelAttacker):
        """Reads the place of a person in the cell, and nothing of the cell."""

        def fit(self, images, people):
            self.n_people_ = int(people.max()) + 1
            return self

        def scores(self, images):
            place = images[:, 0, 0, 0].astype(int)[:, None]
            noise = np.random.default_rng(0).standard_normal((len(images), self.n_people_))
            return 10.0 * (np.arange(self.n_people_) % 3 == place) + noise

    people = np.repeat(np.arange(12), 10)
    images = noise_like(np.empty((120, 16, 16, 3)), seed=1)
    images[:, 0, 0, 0] = people % 3
    cells = pd.DataFrame({"cell": [f"c{person // 3}" for person in people]})
    assert excess_risk(images, people, cells, attacker=InCellAttacker()) == pytest.approx(2 / 3)
    images[::2] = 128  # withheld
    assert excess_risk(images, people, cells, attacker=InCellAttacker()) == pytest.approx(2 / 3)


# --- calibration and intervals ----------------------------------------------------------------


def test_intervals_contain_the_truth():
    generator, hits = np.random.default_rng(0), 0
    for repeat in range(200):
        chances = generator.beta(2, 8, size=60)
        low, high = confidence_interval(generator.binomial(10, chances) / 10, seed=repeat)
        hits += low <= 0.2 <= high
    assert 0.92 <= hits / 200 <= 0.98


def test_an_interval_of_one_hit_stays_within_its_bounds():
    for n in (5, 40, 89):
        low, high = confidence_interval(np.eye(1, n).ravel(), bounds=(0, 1))
        assert 0 <= low <= 1 / n <= high < 0.8
    assert confidence_interval(np.full(12, 0.2)) == (pytest.approx(0.2), pytest.approx(0.2))


def test_calibration_retains_the_bias_of_a_discriminant():
    """With one cell the risk is that of the scores alone, whatever bias they have."""
    generator = np.random.default_rng(0)
    means = generator.standard_normal((20, 5)) * generator.uniform(0.5, 3, size=(20, 1))
    codes, cells = np.repeat(np.arange(20), 12), np.zeros(20, int)

    def scores():
        rows = means[codes] + generator.standard_normal((len(codes), 5))
        return rows @ means.T - 0.5 * (means**2).sum(axis=1)

    validation, probe = scores(), scores()
    calibrated = calibrate(validation, codes, cells)(probe)
    hits = in_cell_log_probabilities(calibrated, codes, cells).argmax(axis=1) == codes
    assert hits.mean() == pytest.approx((probe.argmax(axis=1) == codes).mean(), abs=1e-9)


def test_combination_leaves_out_uninformative_scores():
    people = normal_scores(0, 0, CELLS)[1]
    strong, noise, more = (
        normal_scores(seed, signal, CELLS)[0] for seed, signal in ((1, 2), (2, 0), (3, 0))
    )
    calibrations = [calibrate(scores, people, CELLS) for scores in (strong, noise, more)]
    assert [c.is_informative for c in calibrations] == [True, False, False]
    combined = combine(calibrations[:2], [strong, noise])
    np.testing.assert_array_equal(combined, calibrations[0](strong))
    assert combine(calibrations[1:], [noise, more]).std() == pytest.approx(np.sqrt(2), rel=0.05)


def test_predicted_cells_give_probabilities():
    scores, people = normal_scores(0, 3.0, CELLS)
    uniform = np.full((len(people), 10), -np.log(10))
    log_q = log_predicted_cell(scores, uniform, CELLS)
    np.testing.assert_allclose(np.exp(log_q).sum(axis=1), 1)


# --- permutations -----------------------------------------------------------------------------


def test_permutations_stay_in_the_cell_and_are_fair():
    permutations = permute_within_cells(CELLS, n_permutations=400, seed=1)
    assert (CELLS[permutations] == CELLS).all()
    assert (np.sort(permutations, axis=1) == np.arange(60)).all()
    assert 0.1 < (permutations[:, 0] == 0).mean() < 0.24  # six in the cell


def test_p_values_are_uniform_at_the_null_and_small_for_a_signal():
    permutations = permute_within_cells(CELLS, n_permutations=199, seed=0)
    values = []
    for seed in range(200):
        tables = [score_table(10 * seed + k, 0.0) for k in range(3)]
        single = permutation_p_value(tables[0], permutations)
        values.append((single, max_t_p_value(tables, permutations)))
    for column in np.transpose(values):
        assert (column <= 0.05).mean() <= 0.1
        assert 0.4 < column.mean() < 0.6
    tables[1] = score_table(1, -0.4)
    assert max_t_p_value(tables, permutations) < 0.02, "an inverted attacker counts"
    assert max_t_p_value([np.zeros((60, 60))], permutations) == 1
    assert np.isnan(max_t_p_value([], permutations))


def test_weak_attackers_add_up():
    """Four that find nothing each find it combined."""
    permutations, single, combined = permute_within_cells(CELLS, seed=0), [], []
    for seed in range(20):
        tables = [score_table(50 * seed + k, 0.09) for k in range(4)]
        single.append(max_t_p_value(tables[:1], permutations))
        combined.append(max_t_p_value(tables, permutations))
    assert np.mean(np.array(combined) < 0.05) > np.mean(np.array(single) < 0.05)


# --- albums, several releases, verification ---------------------------------------------------


def test_albums_have_their_own_null():
    permutations = permute_within_cells(CELLS, seed=0)
    null = [album_figures(score_table(seed, 0.0), CELLS, permutations) for seed in range(40)]
    assert abs(np.mean([f["album_risk"] - f["album_null"] for f in null])) < 0.03
    assert np.mean([f["album_p_value"] < 0.05 for f in null]) <= 0.125
    leak = album_figures(score_table(0, 1.0), CELLS, permutations)
    assert leak["album_risk"] > leak["album_null_high"] + 0.3
    assert leak["album_p_value"] < 0.01


def test_pooled_releases_weigh_alike():
    scores, _ = normal_scores(0, 0.5, CELLS)
    pooled = pool_releases([scores, 100 * scores + 7])
    centred = scores - scores.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(pooled - pooled.mean(axis=1, keepdims=True), centred / centred.std())
    for releases in ([scores, scores[:3]], []):
        with pytest.raises(ValueError, match="expected at least one, all alike"):
            pool_releases(releases)


@pytest.mark.parametrize("sizes", [(6, 6, 6), (2, 5, 20, 1)])
def test_verification_is_chance_at_the_null_whatever_the_cells(sizes):
    cells = np.repeat(np.arange(len(sizes)), sizes)
    scores, people = normal_scores(0, 0.0, cells, n_images=200)
    scores += 3 * cells + 10 * np.random.default_rng(1).standard_normal((len(scores), 1))
    figures, det = verification(scores, people, cells)
    assert figures["eer"] == pytest.approx(0.5, abs=0.02)
    assert figures["tar_at_fmr_1e2"] == pytest.approx(0.01, abs=0.006)
    assert figures["tar_at_fmr_1e3"] == pytest.approx(0.001, abs=0.002)
    assert det.shape[1] <= 200
    np.testing.assert_allclose(det.sum(axis=0), 1, atol=0.05)


def test_verification_of_a_signal_and_without_impostors():
    figures, _ = verification(*normal_scores(0, 4.0, CELLS), CELLS)
    assert figures["eer"] < 0.1
    assert figures["tar_at_fmr_1e2"] > 0.5
    few, _ = verification(*normal_scores(0, 4.0, CELLS, n_images=1), CELLS)
    assert np.isnan(few["tar_at_fmr_1e3"]), "300 impostors do not show one in a thousand"
    none, det = verification(*normal_scores(0, 4.0, CELLS), np.arange(60))
    assert np.isnan(none["eer"])
    assert det.shape == (2, 0)
