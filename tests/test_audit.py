"""The ruler: an attacker that works on clear photos, fails on noise, and a floor that is right."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from matplotlib import pyplot
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from edials import EDIALSAnonymizer
from edials.audit import (
    FaceSheetDisplay,
    RiskDisplay,
    TradeoffDisplay,
    audit,
    excess_risk,
    reidentification_risk,
    utility_retention,
)
from edials.audit.attackers.base import ClassifierAttacker, NaiveAttacker, PixelAttacker
from edials.audit.figures import People, evaluate_scores
from edials.audit.linkage import nearest_neighbour_linkage
from edials.audit.report.charts import picture_sheet
from edials.audit.scorers import (
    ReleaseScorer,
    neg_reidentification_risk_scorer,
    utility_minus_excess,
    utility_retention_scorer,
)
from edials.audit.utility import macro_f1
from edials.baselines import GaussianBlur
from edials.datasets import make_faces
from edials.exceptions import InvalidImageError, InvalidLabelsError
from edials.metrics.leakage import confidence_interval
from edials.metrics.linear_attack import LatentAttacker
from edials.metrics.retention import picture_retention
from edials.metrics.risk import attribute_floor, cross_validated_risk, rank_1

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "benchmarks"))
from simulate_audit import render_again


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
    assert cross_validated_risk(attacker, faces.images, some) > 0.4


def test_static_attacker_asks_the_recogniser(faces, fitted):
    attacker = NaiveAttacker(fitted.identity_classifier_).fit(faces.images, None)
    named = fitted.identity_classifier_.classes_[attacker.scores(faces.images).argmax(axis=1)]
    np.testing.assert_array_equal(named, fitted.identity_classifier_.predict(faces.images))


def test_withheld_images_count_as_wrong():
    table = pd.DataFrame({"age": ["a", "b"] * 4, "race": ["x", None] * 4})
    assert macro_f1(table, table) == {"age": 1, "race": 1}
    assert macro_f1(table, table, np.ones(8, bool)) == {"age": 0, "race": 0}


def test_retention_limits_and_sheet(faces):
    same = picture_retention(faces.images, faces.images, batch_size=7)
    assert same.pop("psnr") == pytest.approx(100)
    assert same == pytest.approx(dict.fromkeys(same, 1.0))
    assert set(same) > {"ssim", "colour_histogram", "diversity", "yaw_correlation"}
    assert picture_retention(faces.images, 255 - faces.images)["ssim"] < 0.1
    sheet = picture_sheet([faces.images[:3], faces.images[3:6]], enlarge=2, gap=4)
    assert sheet.size == (2 * (3 * 36 + 4), 2 * (2 * 36 + 4))


# --- the whole audit, where the truth is known ------------------------------------------------


# A recogniser of clear photos that learns in no time.
STATIC = [
    ClassifierAttacker(
        make_pipeline(
            FunctionTransformer(lambda images: images.reshape(len(images), -1) / 255.0),
            PCA(60, random_state=0),
            LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
        ),
        "naive",
        "clear",
    )
]


@pytest.fixture(scope="module")
def town():
    data = make_faces(36, 14, size=32, random_state=1)
    data.kept = data.attributes[["age", "gender"]]
    return data


def judged(town, images, **settings):
    settings = {"attackers": "quick", "random_state": 0, **settings}
    return audit(town.images, images, identity=town.identity, attributes=town.kept, **settings)


def test_doing_nothing_is_seen(town):
    report = judged(town, town.images)
    assert report.copies == len(town.images)
    assert report.worst.risk > report.floor + 0.3
    assert report.worst.leakage_low > 0.5
    assert report.worst.p_value < 0.01
    assert "FAILED OPEN" in report.summary()
    assert report.utility.loc["age", "clear"] == report.utility.loc["age", "released"]


def test_other_people_are_at_the_floor_and_a_share_of_them_is_not(town):
    nobody = judged(town, render_again(town, 0.0, 11)).worst
    assert nobody.leakage_low <= 0 <= nobody.leakage_high
    assert nobody.auc_low <= 0.5 <= nobody.auc_high
    assert abs(nobody.in_cell_excess) < 0.1
    assert nobody.p_value > 0.01
    assert judged(town, render_again(town, 0.3, 11)).worst.p_value < 0.01


def test_blur_falls_to_attackers_who_retrain(town):
    blurred = GaussianBlur(3.0).fit_transform(town.images)
    report = judged(town, blurred, attackers=[*STATIC, "LDA on the pixels"])
    static, parrot = report.attackers.iloc[0], report.attackers.iloc[1]
    assert parrot["risk"] > report.floor + 0.3
    assert static["risk_without_attributes"] < parrot["risk_without_attributes"] + 0.05


def test_a_broken_attacker_is_no_evidence(town):
    class Guesser(PixelAttacker):
        name = "guesser"

        def scores(self, images):
            return np.random.default_rng(0).standard_normal((len(images), 36))

    report = judged(town, town.images, attackers=[Guesser(), PixelAttacker()])
    assert report.attackers["valid"].to_dict() == {"guesser": False, "LDA on the pixels": True}
    assert report.worst.name == "LDA on the pixels"
    assert "BROKEN, not evidence: guesser" in report.summary()


def test_null_and_power():
    """Noise is judged as nothing, a tenth of a bit as something."""

    def leakage(seed, signal):
        generator, cells = np.random.default_rng(seed), np.arange(89) % 13

        def part(n):
            codes = np.repeat(np.arange(89), n)
            scores = generator.standard_normal((len(codes), 89))
            scores[np.arange(len(codes)), codes] += signal
            return scores, People(codes, cells)

        return evaluate_scores(
            "x",
            "released",
            validation=part(6),
            probe=part(10),
            clear_accuracy=1,
            validity_threshold=0,
        )

    quiet = [leakage(seed, 0.0) for seed in range(20)]
    assert sum(f.leakage_low <= 0 <= f.leakage_high for f in quiet) >= 18
    assert sum(f.auc_low <= 0.5 <= f.auc_high for f in quiet) >= 18
    assert all(leakage(seed, 0.4).leakage_low > 0 for seed in range(5))  # 0.097 bit
    inverted = leakage(0, -0.6)
    assert inverted.leakage_low > 0, "scores lower than chance tell as much"


def test_intervals_contain_the_truth():
    generator, hits = np.random.default_rng(0), 0
    for repeat in range(200):
        chances = generator.beta(2, 8, size=60)
        low, high = confidence_interval(generator.binomial(10, chances) / 10, seed=repeat)
        hits += low <= 0.2 <= high
    assert 0.92 <= hits / 200 <= 0.98


def test_report_is_whole(town, fitted):
    report = audit(
        town.images,
        fitted.transform(town.images),
        identity=town.identity,
        attributes=town.kept,
        attackers="quick",
        anonymizer=fitted,
        random_state=0,
    )
    content = json.loads(report.to_json())
    for key in ("schema_version", "n_people", "n_images", "coverage", "chance", "floor"):
        assert key in content
    for key in ("worst_risk", "worst_attacker", "leakage_bits", "leakage_ci", "in_cell_auc"):
        assert key in content
    assert {"name", "risk", "ci_low", "ci_high", "clear_accuracy", "valid"} <= set(
        content["attackers"][0]
    )
    used = report.attackers["uses_encoder"]
    assert used["LDA on the latents"]
    assert not used["LDA on the pixels"]
    assert "reconstruction" in content["utility"]["age"]
    page = report.to_html()
    assert page.count("<img") == 1
    assert "this page is confidential" in page
    assert "<img" not in report._repr_html_(), "a notebook is passed on; originals are not"
    assert "http" not in page
    assert len(page) < 3_000_000
    assert len(report.summary().splitlines()) <= 12
    assert report.worst.risk < 0.5


def test_withheld_images_and_folders(town, tmp_path):
    for side, images in (("a", town.images), ("b", GaussianBlur(2.0).fit_transform(town.images))):
        (tmp_path / side).mkdir()
        for row, image in enumerate(images):
            if side == "a" or row % 14:  # the first photo of everybody is held back
                Image.fromarray(image).save(tmp_path / side / f"{row:04}.png")
    report = judged_folders(town, tmp_path)
    assert report.n_withheld == 36
    assert report.coverage == pytest.approx(13 / 14)
    (tmp_path / "b" / "stranger.png").write_bytes((tmp_path / "b" / "0001.png").read_bytes())
    with pytest.raises(InvalidImageError, match="no original of their name, such as 'stranger'"):
        judged_folders(town, tmp_path)


def judged_folders(town, folder):
    return audit(
        folder / "a",
        folder / "b",
        identity=town.identity,
        attributes=town.kept,
        attackers="quick",
        random_state=0,
    )


def test_bad_questions(town):
    with pytest.raises(InvalidImageError, match="expected the same: one for one"):
        judged(town, town.images[:10])
    with pytest.raises(ValueError, match="attackers='loud'"):
        judged(town, town.images, attackers="loud")
    with pytest.raises(InvalidLabelsError, match="at least three images of each person"):
        audit(town.images[::14], town.images[::14], identity=town.identity[::14])
    with pytest.raises(InvalidLabelsError, match="expected one of"):
        judged(town, town.images, split=["somewhere"] * len(town.images))


def test_linkage_of_pseudonyms(town):
    """One picture for all photos of a person links them all; noise links none."""
    people = np.unique(town.identity, return_inverse=True)[1]
    who = People(people, np.zeros(36, dtype=int))
    pseudonyms = np.random.default_rng(0).standard_normal((36, 8))[people]
    linked = nearest_neighbour_linkage(pseudonyms, who)
    assert linked["linked"] == 1
    assert linked["eer"] == 0
    noise = np.random.default_rng(1).standard_normal((len(people), 8))
    assert nearest_neighbour_linkage(noise, who)["linked"] < 0.1


def test_displays(town):
    report = judged(town, town.images)
    assert RiskDisplay.from_report(report).ax_.get_xlim() == (0, 1)
    tradeoff = TradeoffDisplay.from_reports([report], names=["nothing done"])
    axes, page = tradeoff.ax_, report.to_html(pictures=False)
    for label in (axes.get_xlabel(), axes.get_ylabel()):
        assert f">{label}</text>" in page, "both charts have the same axes"
    line = axes.containers[0].lines[0]
    drawn = float(line.get_xdata()[0]), float(line.get_ydata()[0])
    assert drawn == (report.retention["ssim"], report.worst.leakage_bits)
    assert "leakage" in tradeoff.ax_.get_ylabel()
    assert len(FaceSheetDisplay.from_images(*report.faces).ax_.images) == 1
    pyplot.close("all")


def test_metrics_have_their_limits(town):
    assert reidentification_risk(town.images, town.identity) > 0.3
    assert excess_risk(town.images, town.identity, town.kept) > 0.2
    noise = np.random.default_rng(0).integers(0, 256, town.images.shape, dtype=np.uint8)
    assert excess_risk(noise, town.identity, town.kept) < 0.05
    assert utility_retention(town.images, town.images, town.kept, town.identity) == 1
    assert utility_retention(town.images, noise, town.kept, town.identity) < 0.9


def test_scorers_get_their_metadata(faces, fitted):
    model = EDIALSAnonymizer(
        FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
        strength=1.0,
        random_state=0,
    )
    turns = [(np.flatnonzero(np.arange(100) % 2 == 0), np.flatnonzero(np.arange(100) % 2))]
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            model,
            faces.images,
            faces.attributes["age"],
            cv=turns,
            scoring={"risk": neg_reidentification_risk_scorer, "kept": utility_retention_scorer},
            params={"identity": faces.identity, "attributes": faces.kept},
            error_score="raise",
        )
        search = GridSearchCV(
            model, {"strength": [1.0]}, cv=turns, scoring=ReleaseScorer(utility_minus_excess)
        ).fit(faces.images, identity=faces.identity, attributes=faces.kept)
    assert -1 <= scores["test_risk"][0] <= 0
    assert scores["test_kept"][0] > 0
    assert np.isfinite(search.best_score_)


def test_networks_attack_as_well(town):
    """The default attackers on a village: networks train, play both roles, and share processes."""
    few = np.flatnonzero(np.arange(len(town.images)) % 14 < 9)[: 9 * 8]
    settings = {"identity": town.identity[few], "random_state": 0}
    clear = town.images[few]
    report = audit(clear, clear, **settings)
    roles = report.attackers["gallery_kind"]
    assert roles["network of clear photos"] == "clear"
    assert roles["network, retrained"] == "released"
    assert "ratio at FMR 0.01" in report.measures["network of clear photos"]
    networks = [name for name in roles.index if name.startswith("network")]
    same = report.attackers.loc[networks, ["clear_accuracy", "risk_without_attributes"]]
    np.testing.assert_allclose(same["clear_accuracy"], same["risk_without_attributes"])
    linear = ["LDA on the pixels", "LDA on the surroundings"]
    single, shared = (audit(clear, clear, attackers=linear, n_jobs=n, **settings) for n in (1, 2))
    assert single.to_json() == shared.to_json()


def test_an_attacker_that_scores_others_is_refused(town, fitted):
    with pytest.raises(ValueError, match=r"gave scores of shape .* expected .* 36"):
        judged(town, town.images, attackers=[NaiveAttacker(fitted.identity_classifier_)])
