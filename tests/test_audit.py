"""The whole audit where the truth is known, its inputs, and risk and utility as scorers."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import noise_like, run_audit
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
from edials.audit.inputs.folders import common_size
from edials.audit.report.charts import picture_sheet
from edials.audit.report.text import verdict
from edials.audit.scorers import (
    ReleaseScorer,
    neg_reidentification_risk_scorer,
    utility_minus_excess,
    utility_retention_scorer,
)
from edials.audit.utility import macro_f1
from edials.baselines import GaussianBlur, GaussianNoise
from edials.exceptions import InvalidImageError, InvalidLabelsError
from edials.metrics.permutation import smallest_p_value

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "benchmarks"))
from simulate_audit import render_again

PIXELS = {"attackers": ["LDA on the pixels"]}


class Guesser(PixelAttacker):
    name = "guesser"

    def fit(self, images, people):
        self.n_people_ = int(people.max()) + 1
        return self

    def scores(self, images):
        return np.random.default_rng(0).standard_normal((len(images), self.n_people_))


# --- known truths -----------------------------------------------------------------------------


def test_clear_photos_are_a_leak(town):
    report = run_audit(town, town.images)
    assert report.copies == len(town.images)
    assert report.worst.risk > report.floor + 0.3
    assert report.worst.leakage_low > 0.5
    assert report.worst.p_value < 0.01
    assert "FAILED OPEN" in report.summary()
    assert report.utility.loc["age", "clear"] == report.utility.loc["age", "released"]
    assert "reverse: LDA on the pixels" in report.attackers.index
    assert report.worst.probe_kind == "released", "a reverse attack is never the worst"
    assert report.linkage["linked"] == report.linkage["linked_clear"]


def test_other_people_are_at_the_floor_and_a_share_of_them_is_not(town):
    null = run_audit(town, render_again(town, 0.0, 11)).worst
    assert null.leakage_low <= 0 <= null.leakage_high
    assert null.auc_low <= 0.5 <= null.auc_high
    assert abs(null.in_cell_excess) < 0.1
    assert null.p_value > 0.01
    assert run_audit(town, render_again(town, 0.3, 11)).worst.p_value < 0.01


def test_blur_does_not_resist_parrots(town):
    recogniser = make_pipeline(
        FunctionTransformer(lambda images: images.reshape(len(images), -1) / 255.0),
        PCA(60, random_state=0),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
    )
    naive = ClassifierAttacker(recogniser, "naive", "clear")
    blurred = GaussianBlur(3.0).fit_transform(town.images)
    report = run_audit(town, blurred, attackers=[naive, "LDA on the pixels"])
    naive, parrot = report.attackers.iloc[0], report.attackers.iloc[1]
    assert parrot["risk"] > report.floor + 0.3
    assert naive["risk_without_attributes"] < parrot["risk_without_attributes"] + 0.05


def test_the_released_faces_of_an_anonymizer(town, fitted):
    report = run_audit(town, fitted.transform(town.images), anonymizer=fitted)
    assert report.worst.risk < 0.5
    uses_encoder = report.attackers["uses_encoder"]
    assert uses_encoder["LDA on the latents"]
    assert not uses_encoder["LDA on the pixels"]
    assert report.utility.loc["age", "reconstruction"] > 0
    assert "<img" not in report._repr_html_(), "a notebook is passed on; originals are not"


def test_randomised_baselines_are_attacked_with_fresh_releases(village):
    noise = GaussianNoise(0.1, random_state=0).fit(village.images)
    report = run_audit(village, noise.transform(village.images), anonymizer=noise, **PIXELS)
    assert report.n_fresh == 3


def test_networks_attack_as_well(town):
    """The default attackers on eight people: networks train, and share processes."""
    rows = np.flatnonzero(np.arange(len(town.images)) % 14 < 9)[: 9 * 8]
    settings = {"rows": rows, "attributes": None}
    report = run_audit(town, town.images, attackers="standard", **settings)
    roles = report.attackers["gallery_kind"]
    assert roles["network of clear photos"] == "clear"
    assert roles["network, retrained"] == "released"
    assert "ratio at FMR 0.01" in report.measures["network of clear photos"]
    networks = [name for name in roles.index if name.startswith("network")]
    same = report.attackers.loc[networks, ["clear_accuracy", "risk_without_attributes"]]
    np.testing.assert_allclose(same["clear_accuracy"], same["risk_without_attributes"])
    linear = ["LDA on the pixels", "LDA on the surroundings"]
    single, shared = (
        run_audit(town, town.images, attackers=linear, n_jobs=n, **settings) for n in (1, 2)
    )
    assert single.to_json() == shared.to_json()


# --- no evidence ------------------------------------------------------------------------------


def test_an_attacker_that_fails_on_clear_photos_is_no_evidence(village):
    report = run_audit(village, village.images, attackers=[Guesser(), PixelAttacker()])
    assert report.attackers["valid"].to_dict() == {"guesser": False, "LDA on the pixels": True}
    assert report.worst.name == "LDA on the pixels"
    assert "BROKEN, not evidence: guesser" in report.summary()
    report = run_audit(village, village.images, attackers=[Guesser()])
    assert report.worst is None
    assert "this audit is no evidence" in report.summary()


@pytest.mark.parametrize("cells", [[0, 1, 2, 3], [0, 0, 1, 2]])
def test_too_few_people_to_test_is_an_alarm(village, cells):
    assert smallest_p_value(np.array(cells)) >= 0.05
    attributes = pd.DataFrame({"cell": [f"c{cells[row // 10]}" for row in range(40)]})
    blurred = GaussianBlur(6.0).fit_transform(village.images)
    report = run_audit(village, blurred, slice(40), attributes=attributes, **PIXELS)
    assert not report.testable
    assert report.leak_found or "TOO FEW" in report.summary()
    assert verdict(report)[1]


# --- inputs -----------------------------------------------------------------------------------


def test_folders_are_paired_by_name(town, tmp_path):
    def audit_folders():
        folders = tmp_path / "a", tmp_path / "b"
        return audit(*folders, identity=town.identity, attributes=town.labels, **PIXELS)

    for side, images in (("a", town.images), ("b", GaussianBlur(2.0).fit_transform(town.images))):
        (tmp_path / side).mkdir()
        for row, image in enumerate(images):
            if side == "a" or row % 14:  # everybody's first photo is withheld
                Image.fromarray(image).save(tmp_path / side / f"{row:04}.png")
    report = audit_folders()
    assert report.n_withheld == 36
    assert report.coverage == pytest.approx(13 / 14)
    (tmp_path / "b" / "stranger.png").write_bytes((tmp_path / "b" / "0001.png").read_bytes())
    with pytest.raises(InvalidImageError, match="no original of their name, such as 'stranger'"):
        audit_folders()


def test_one_small_file_does_not_blind_the_audit(tmp_path):
    paths = [tmp_path / f"{row}.png" for row in range(4)]
    for path, size in zip(paths, [64, 64, 64, 16], strict=True):
        Image.new("RGB", (size, size)).save(path)
    assert common_size(paths, paths) == 64


def test_blanks_of_many_colours_are_not_withheld(village):
    colours = (np.repeat(np.arange(12), 10) * 20).astype(np.uint8)
    painted = np.broadcast_to(colours[:, None, None, None], village.images.shape)
    report = run_audit(village, painted, **PIXELS)
    assert report.n_withheld == 0
    assert report.worst.risk > 0.9
    assert "not the same" in report.findings[0]


def test_missing_labels_and_people_outside_the_gallery(village):
    attributes = village.attributes[["age", "gender"]].astype(object)
    attributes.iloc[:15] = None
    split = np.tile(["enrol"] * 6 + ["validation"] * 2 + ["probe"] * 2, 12)
    split[:10] = "none"
    report = run_audit(village, village.images, attributes=attributes, split=split, **PIXELS)
    assert report.n_people == 11
    assert report.worst.leakage_low > 0


def test_wrong_inputs_are_refused(village, fitted):
    def refused(error, match, released=village.images, **settings):
        with pytest.raises(error, match=match):
            run_audit(village, released, **{**PIXELS, **settings})

    class Broken(PixelAttacker):
        name = "divides by zero"

        def scores(self, images):
            return super().scores(images) * np.nan

    naive = NaiveAttacker(fitted.identity_classifier_)
    refused(InvalidImageError, "expected the same: one for one", village.images[:10])
    refused(ValueError, "attackers='loud'", attackers="loud")
    refused(ValueError, r"attackers=\[\]", attackers=[])
    refused(ValueError, r"'divides by zero' .* not finite", attackers=[Broken()])
    refused(ValueError, r"gave scores of shape .* expected .* 12", attackers=[naive])
    refused(ValueError, "attribute_classifier=3; expected a fitted", attribute_classifier=3)
    refused(InvalidLabelsError, "expected one of", split=["somewhere"] * 120)
    refused(InvalidLabelsError, "split has 3 entries", split=["enrol"] * 3)
    refused(InvalidLabelsError, "one table", attributes={"a": [1, 2], "b": [1]})
    with pytest.raises(InvalidLabelsError, match="at least three images of each person"):
        run_audit(village, village.images, slice(0, None, 10))


# --- utility ----------------------------------------------------------------------------------


def test_withheld_images_count_as_wrong(village):
    table = pd.DataFrame({"age": ["a", "b"] * 4, "race": ["x", None] * 4})
    assert macro_f1(table, table) == {"age": 1, "race": 1}
    assert macro_f1(table, table, np.ones(8, bool)) == {"age": 0, "race": 0}
    released = village.images.copy()
    released[::5] = 128
    attributes = village.attributes[["gender"]]
    whole, part = (
        run_audit(village, images, attributes=attributes, **PIXELS).utility.loc["gender"]
        for images in (village.images, released)
    )
    assert part["released"] < whole["released"]
    assert part["clear"] == whole["clear"]


def test_attributes_that_cannot_be_learned_do_not_end_an_audit(village):
    single = np.where(village.identity == village.identity[0], "one", "others")
    attributes = {"constant": ["same"] * 120, "single": single}
    report = run_audit(village, village.images, attributes=attributes, **PIXELS)
    assert report.utility.loc["constant", "released"] == 1


def test_metrics_have_their_limits(town):
    noise = noise_like(town.images)
    assert reidentification_risk(town.images, town.identity) > 0.3
    assert excess_risk(town.images, town.identity, town.labels) > 0.2
    assert excess_risk(noise, town.identity, town.labels) < 0.05
    assert utility_retention(town.images, town.images, town.labels, town.identity) == 1
    assert utility_retention(town.images, noise, town.labels, town.identity) < 0.9


def test_scorers_measure_the_release_of_the_test_fold(faces, fitted):
    model = EDIALSAnonymizer(
        FrozenEstimator(fitted.autoencoder_),
        identity_classifier=FrozenEstimator(fitted.identity_classifier_),
        attribute_classifier=FrozenEstimator(fitted.attribute_classifier_),
        strength=1.0,
        random_state=0,
    )
    training, test = np.arange(0, 100, 2), np.arange(1, 100, 2)
    metadata = {"identity": faces.identity, "attributes": faces.labels}
    scoring = {
        "risk": neg_reidentification_risk_scorer,
        "utility": utility_retention_scorer,
        "both": ReleaseScorer(utility_minus_excess),
    }
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            model,
            faces.images,
            cv=[(training, test)],
            scoring=scoring,
            params=metadata,
            return_estimator=True,
            error_score="raise",
        )
        search = GridSearchCV(
            model, {"strength": [1.0]}, cv=[(training, test)], scoring=scoring["both"]
        ).fit(faces.images, **metadata)
    photos, identity, labels = faces.images[test], faces.identity[test], faces.labels.iloc[test]
    released = scores["estimator"][0].transform(photos)
    utility = utility_retention(photos, released, labels, identity)
    excess = max(0.0, excess_risk(released, identity, labels))
    assert scores["test_risk"][0] == -reidentification_risk(released, identity)
    assert scores["test_utility"][0] == utility
    assert scores["test_both"][0] == search.best_score_ == utility - excess


# --- displays ---------------------------------------------------------------------------------


def test_displays(town):
    report = run_audit(town, town.images)
    assert RiskDisplay.from_report(report).ax_.get_xlim() == (0, 1)
    axes = TradeoffDisplay.from_reports([report], names=["nothing done"]).ax_
    line = axes.containers[0].lines[0]
    point = float(line.get_xdata()[0]), float(line.get_ydata()[0])
    assert point == (report.retention["ssim"], report.worst.leakage_bits)
    assert "leakage" in axes.get_ylabel()
    assert len(FaceSheetDisplay.from_images(*report.faces).ax_.images) == 1
    sheet = picture_sheet([town.images[:3], town.images[3:6]], enlarge=2)
    assert sheet.size == (2 * (3 * 36 + 4), 2 * (2 * 36 + 4))
    pyplot.close("all")
