"""What an audit shows: the page, its charts, what is left of pictures, folders of other tools."""

import html
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from edials.audit import audit
from edials.audit.attackers.base import PixelAttacker
from edials.audit.detection import detection_retention, face_detector
from edials.audit.inputs.folders import common_size, pictures_by_name
from edials.audit.report.charts import (
    chart_svg,
    draw_det,
    draw_learning_curve,
    draw_risk,
    draw_tradeoff,
)
from edials.audit.report.text import not_tried, verdict
from edials.audit.utility import f1_by_class, f1_by_group, group_gaps
from edials.baselines import GaussianBlur
from edials.datasets import draw_factors, load_image_folder, make_faces, render_faces
from edials.exceptions import InvalidImageError, UnreadableImageError
from edials.images import picture_size
from edials.metrics.head_pose import yaw_proxy
from edials.metrics.retention import diversity, histogram_agreement, light_proxy, picture_retention


@pytest.fixture(scope="module")
def village():
    data = make_faces(24, 9, size=32, random_state=4)
    data.labels = data.attributes[["age", "gender"]]
    return data


class Guesser(PixelAttacker):
    name = "guesser <script>&"

    def scores(self, images):
        return np.random.default_rng(0).standard_normal((len(images), 24))


def judged(village, images, **settings):
    settings = {"attackers": ["LDA on the pixels", Guesser()], "random_state": 0, **settings}
    labels = {"identity": village.identity, "attributes": village.labels, **settings}
    return audit(village.images, images, **labels)


@pytest.fixture(scope="module")
def report(village):
    return judged(village, GaussianBlur(1.5).fit_transform(village.images))


class Nesting(HTMLParser):
    """Every element is closed where it was opened, and nothing is fetched or run."""

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.seen, self.ids = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        links = [v for k, v in attrs if k in ("src", "href", "xlink:href")]
        self.faults += [link for link in links if not link.startswith(("data:", "#"))]
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


# --- the page -------------------------------------------------------------------------------------


def test_page_is_well_formed_and_needs_nothing(report, village):
    page = report.to_html(baselines={"nothing <b>done</b>": judged(village, village.images)})
    nesting = Nesting()
    nesting.feed(page)
    assert nesting.faults == []
    assert nesting.open == []
    assert "script" not in nesting.seen
    assert len(nesting.ids) == len(set(nesting.ids))
    assert page.startswith("<!doctype html>")
    assert "<script>" not in replace(report, attribute_names=["<script>"]).to_html()
    assert nesting.seen.count("svg") == 4, "risk, learning, trade-off, errors"
    assert not re.search(r"https?:|@import|url\((?!#)", page)
    assert '<th scope="row">guesser &lt;script&gt;&amp;' in page
    assert "nothing &lt;b&gt;done&lt;/b&gt;" in page
    assert "@media print" in page


def test_page_says_what_matters_and_never_too_much(report):
    page = report.to_html(note="Made <up>.")
    assert 0 < page.index(html.escape(verdict(report).headline)) < page.index("<svg")
    assert "Made &lt;up&gt;." in page
    for word in (
        "Singling out",
        "Linkability",
        "Inference",
        "What was not tried",
        "attribute floor",
    ):
        assert word in page
    assert "BROKEN: not evidence" in page
    assert f"{report.worst.risk:.1%}" in page
    assert "Head turn" in page
    for promise in ("anonymous", "GDPR", "compliant", "safe to"):
        assert promise not in page
    assert "<img" not in report.to_html(pictures=False)
    noise = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    assert len(replace(report, faces=[noise, noise[::-1]]).to_html()) < 3_000_000
    assert "confidential" in page


def test_verdict_follows_the_figures(report, village):
    headline, alarm, said = verdict(report)
    assert alarm
    assert "beyond what the attributes" in headline
    assert any("BROKEN" in sentence for sentence in said)
    assert "FAILED OPEN" in verdict(replace(report, copies=3))[0]
    broken = replace(report, outcomes=[replace(o, valid=False) for o in report.outcomes])
    assert "No evidence" in verdict(broken)[0]
    assert "No valid attacker" in broken.to_html()
    fresh = render_faces(
        draw_factors(len(village.images), random_state=3),
        village.attributes,
        village.nuisance,
        size=32,
    )
    quiet = judged(village, fresh, attributes=village.attributes[["age", "gender", "race"]])
    headline, alarm, said = verdict(replace(quiet, copies=0))  # poses are equal at 32 pixels
    assert "No attacker tried here did better" in headline
    assert any("no proof" in sentence for sentence in said)
    assert any("by themselves name people" in sentence for sentence in said)


def test_page_without_attributes_and_of_two_rulers(report, village):
    bare = judged(village, village.images, attributes=None, attackers=["LDA on the pixels"])
    page = bare.to_html()
    assert "structural similarity" in page
    assert "By class" not in page
    with pytest.raises(ValueError, match="other attributes"):
        report.to_html(baselines={"bare": bare})


def test_what_was_not_tried_is_said(report):
    missing = not_tried(report)
    assert any("undo the anonymization" in said for said in missing)
    assert any("hair, clothes" in said for said in missing)
    assert not any("learn from released images" in said for said in missing)
    assert any("networks retrained" in said for said in missing), "the parrots here are linear"

    def with_one(**facts):
        other = replace(report.outcomes[0], name="somebody", **facts)
        return not_tried(replace(report, outcomes=[*report.outcomes, other]))

    assert not any("hair, clothes" in said for said in with_one(kind="context"))
    assert any("hair, clothes" in said for said in with_one(kind="naive"))
    assert "what hair, clothes and background give away: tried, but BROKEN" in with_one(
        kind="context", valid=False
    )
    assert not any("networks retrained" in said for said in with_one(network=True))
    assert not any("own encoder" in said for said in with_one(uses_encoder=True))
    assert any("own encoder" in said for said in with_one(uses_encoder=True, probe_kind="clear"))
    facts = {"n_fresh": 2, "withheld_p_value": 0.5, "measures": {"x": {"share at FMR 0.01": 0.1}}}
    told = not_tried(replace(report, **facts))
    for words in ("by themselves", "changed or withheld", "another enrolled"):
        assert any(words in said for said in missing)
        assert not any(words in said for said in told)


def test_json_keeps_its_schema(report):
    content = json.loads(report.to_json())
    assert content["schema_version"] == 3
    assert content["gallery"].keys() == {"enrol", "validation", "probe"}
    assert {"in_cell_excess", "leakage_bits", "valid"} <= content["attackers"][0].keys()
    assert {"kind", "pairs_of", "network"} <= content["attackers"][0].keys()
    assert {"diversity", "yaw_correlation"} <= content["retention"].keys()
    assert {"attribute", "class", "clear", "released"} <= content["utility_by_class"][0].keys()
    assert {"by", "group", "n_people"} <= content["utility_by_group"][0].keys()
    assert "person_0" not in report.to_json(), "nobody is named"


# --- charts ---------------------------------------------------------------------------------------


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_risk_chart_shows_every_attacker(ax, report):
    draw_risk(ax, report)
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == [outcome.risk for outcome in report.outcomes]
    places = {outcome.name: place for place, outcome in enumerate(report.outcomes)}
    broken, worst = places[Guesser.name], places[report.worst.name]
    assert ax.patches[broken].get_hatch()
    assert ax.patches[worst].get_facecolor() != ax.patches[broken].get_facecolor()
    assert {Guesser.name, "BROKEN: not evidence", "learns from released images"} <= set(texts(ax))
    interval = f"[{report.worst.ci_low:.1%}, {report.worst.ci_high:.1%}]"
    assert any(interval in text for text in texts(ax))
    floor, clear = ax.lines[:2]
    assert floor.get_xdata() == [report.floor, report.floor]
    assert clear.get_xdata().tolist() == [outcome.clear_accuracy for outcome in report.outcomes]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[0] == f"attribute floor {report.floor:.1%}"


def test_risk_without_an_interval_is_drawn(ax, report):
    one = replace(report.worst, ci_low=np.nan, ci_high=np.nan)
    draw_risk(ax, replace(report, outcomes=[one]))
    assert f"{one.risk:.1%}" in texts(ax)


def test_tradeoff_has_a_point_and_an_interval_for_every_release(ax):
    table = pd.DataFrame(
        [[0.5, 1.0, 0.8, 1.2], [0.7, 0.1, np.nan, np.nan]],
        index=["this release", "$other$"],
        columns=["ssim", "leakage_bits", "leakage_low", "leakage_high"],
    )
    draw_tradeoff(ax, table, highlight="this release")
    points = {box.get_label(): box.lines[0].get_xydata()[0].tolist() for box in ax.containers}
    assert points == {"this release": [0.5, 1.0], "$other$": [0.7, 0.1]}
    interval = ax.containers[0].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(interval, [[0.5, 0.8], [0.5, 1.2]])


def test_learning_curve_says_who_is_still_learning(ax):
    rows = [
        (name, share, share * slope, slope > 0)
        for name, slope in (("flat", 0.0), ("a & b", 1.0))
        for share in (0.25, 0.5, 1.0)
    ]
    table = pd.DataFrame(rows, columns=["name", "share", "leakage_bits", "still_learning"])
    draw_learning_curve(ax, table)
    lines = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert lines["a & b: STILL LEARNING"] == [0.25, 0.5, 1.0]
    assert lines["flat"] == [0, 0, 0]


def test_guessing_lies_on_the_dashed_line_and_a_leak_below(ax):
    rates = np.linspace(0, 1, 21)
    draw_det(ax, pd.DataFrame({"fpr": rates, "fnr": 1 - rates}))
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x + y, 0, atol=1e-6)
    draw_det(ax, pd.DataFrame({"fpr": rates, "fnr": (1 - rates) / 3}))
    x, y = ax.lines[2].get_data()
    assert (x + y)[1:-1].max() < 0


def test_chart_svg_is_the_same_each_time_and_has_ids_of_its_own():
    def draw(ax):
        ax.plot([0, 1], marker="o")
        ax.set_title('$x$ < "y" 名 id="name"')

    before = dict(matplotlib.rcParams)
    first, again, other = (
        chart_svg(draw, key=key, title="a & b", height=2) for key in ("one", "one", "two")
    )
    assert first == again
    assert dict(matplotlib.rcParams) == before
    assert '$x$ &lt; "y" 名 id="name"' in first, "text stays text"
    assert 'aria-label="a &amp; b"' in first
    ids = [set(re.findall(r'\bid="([\w-]+)"(?=[^<>]*>)', svg)) for svg in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, found in zip((first, other), ids, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([\w-]+)', svg)) <= found


def test_page_draws_curves_and_donors(report):
    page = report.to_html(pictures=False)
    assert "Would more images find more?" in page
    assert f"Both errors are equal at {report.worst.eer:.1%}" in page
    assert "show somebody else" not in page
    ratio = "ratio at FMR 0.01"
    found = {"share at FMR 0.01": 0.031, ratio: 3.1, f"{ratio}, low": 2.0, f"{ratio}, high": 4.5}
    page = replace(report, measures={"a <net>": found}).to_html(pictures=False)
    assert "show somebody else" in page
    assert "3.1\n[2.0,\u00a04.5]" in page
    assert "a &lt;net&gt;" in page
    few = replace(report, learning_curve=pd.DataFrame()).to_html(pictures=False)
    assert "Would more images" not in few


# --- a detector, if there is one ------------------------------------------------------------------


class Dots:
    """A stand-in: a face is a picture that is not dark, its eyes are its two brightest pixels."""

    def __call__(self, image):
        if image.max() < 100:
            return None
        across, down = np.nonzero((image[..., 0] > 200).T)
        if len(across) != 2:
            return np.full((2, 2), np.nan)
        return np.column_stack([across, down]) / min(image.shape[:2])


def dots(*places):
    image = np.full((40, 40, 3), 120, np.uint8)
    for across, down in places:
        image[down, across] = 255
    return image


def test_detection_and_eyes_are_counted_where_they_are():
    blind, dark = dots(), np.zeros((40, 40, 3), np.uint8)
    first, second = dots((10, 15), (30, 15)), dots((12, 20), (32, 20))
    lower = dots((10, 19), (30, 19))
    before = np.stack([first, second, first, first, blind])
    after = np.stack([lower, second, dark, blind, first])
    found = detection_retention(before, after, detector=Dots())
    assert found["detection_rate"] == pytest.approx(4 / 5)
    assert found["detection_rate_clear"] == 1
    assert found["detection_images"] == 5
    assert found["landmark_images"] == 2, "eyes in both pictures"
    assert found["landmark_distance"] == pytest.approx((4 / 20 + 0) / 2)
    mixed = np.hypot(2, 5) / 20, np.hypot(2, 1) / 20
    assert found["landmark_distance_chance"] == pytest.approx(np.mean(mixed))
    nothing = detection_retention(before[:1], np.stack([dark]), detector=Dots())
    assert nothing["detection_rate"] == 0
    assert np.isnan(nothing["landmark_distance"])
    assert nothing["landmark_images"] == 0
    many = detection_retention(np.stack([first] * 900), np.stack([first] * 900), detector=Dots())
    assert many["detection_images"] == 500


def test_without_a_detector_the_report_says_so(report, village, monkeypatch):
    for module in (None, SimpleNamespace(__version__="5.0.0")):  # version 5 has no cascades
        monkeypatch.setitem(sys.modules, "cv2", module)
        assert face_detector() is None
        assert detection_retention(village.images, village.images) == {}
    proxies = {k: v for k, v in report.retention.items() if not k.startswith(("detec", "landm"))}
    without = replace(report, retention=proxies)
    advice = "detector not installed: pip install 'edials[detect]'"
    assert advice in json.loads(without.to_json())["not_measured"][0]
    assert advice in html.unescape(without.to_html())
    assert "Head turn" in without.to_html(), "the proxies stay"
    found = detection_retention(village.images[:3], village.images[:3], detector=Dots())
    measured = replace(report, retention={**proxies, **found})
    assert json.loads(measured.to_json())["not_measured"] == []
    assert "not installed" not in measured.to_html()
    assert "Eyes moved by" in measured.to_html()


def test_opencv_finds_made_up_faces():
    pytest.importorskip("cv2")
    if face_detector() is None:
        pytest.skip("OpenCV 5 has no cascades")
    data = make_faces(10, 4, size=64, random_state=1)
    others = draw_factors(len(data.images), random_state=2)
    posed = render_faces(others, data.attributes, data.nuisance, size=64)
    kept = detection_retention(data.images, posed)
    assert min(kept["detection_rate"], kept["detection_rate_clear"]) > 0.8
    assert kept["landmark_images"] >= 15
    assert kept["landmark_distance"] < 0.2 < 0.25 < kept["landmark_distance_chance"]
    same = detection_retention(data.images, data.images)
    assert same["landmark_distance"] == 0
    noise = np.random.default_rng(0).integers(0, 256, data.images.shape, dtype=np.uint8)
    lost = detection_retention(data.images, noise)
    assert lost["detection_rate"] < 0.05
    assert lost["landmark_images"] == 0


# --- retention and utility ------------------------------------------------------------------------


def test_proxies_see_what_they_are_named_for():
    data = make_faces(40, 6, size=48, random_state=11)

    def correlation(values, name):
        return np.corrcoef(values, data.nuisance[name])[0, 1]

    yaw, light = yaw_proxy(data.images), light_proxy(data.images)
    assert correlation(yaw, "yaw") > 0.4
    assert abs(correlation(yaw, "light_x")) < 0.25
    assert correlation(light[:, 0], "light_x") > 0.8
    assert correlation(light[:, 1], "light_y") > 0.35
    mirrored = data.images[:, :, ::-1]
    np.testing.assert_allclose(yaw_proxy(mirrored), -yaw, atol=1e-4)
    np.testing.assert_allclose(light_proxy(mirrored)[:, 0], -light[:, 0], atol=1e-6)


def test_retention_knows_the_same_pose_from_another(village):
    others = draw_factors(len(village.images), random_state=2)
    same_pose = render_faces(others, village.attributes, village.nuisance, size=32)
    shuffled = np.random.default_rng(0).permutation(len(village.images))
    kept, lost = (
        picture_retention(village.images, images, batch_size=50)
        for images in (same_pose, village.images[shuffled])
    )
    assert kept["light_left_right_correlation"] > 0.7 > abs(lost["light_left_right_correlation"])
    assert kept["yaw_correlation"] > lost["yaw_correlation"] + 0.2
    assert kept["colour_histogram"] > lost["colour_histogram"] + 0.3


def test_histogram_and_diversity_have_their_limits(village):
    images = village.images[:20]
    flipped = images[:, ::-1]
    np.testing.assert_allclose(histogram_agreement(images, flipped), 1)
    black, white = np.zeros_like(images), np.full_like(images, 255)
    np.testing.assert_array_equal(histogram_agreement(black, white), 0)
    one_face = np.repeat(images[:1], 20, axis=0)
    assert diversity(images, one_face) == 0
    halved = (images // 2).astype(np.uint8)
    assert diversity(images, halved) == pytest.approx(0.5, abs=0.02)
    assert np.isnan(diversity(one_face, images))
    assert np.isnan(picture_retention(images, one_face)["yaw_correlation"])


def test_utility_by_class_and_group():
    truth = pd.DataFrame({"age": ["young", "old"] * 20, "gender": ["f"] * 20 + ["m"] * 20})
    people = np.arange(40) // 2 * 2 + np.arange(40) % 2
    wrong = truth.copy()
    wrong.loc[20:, "age"] = "young"
    said = {"majority": truth, "clear": truth, "released": wrong}
    classes = f1_by_class(said, truth, people).set_index(["attribute", "class"])
    assert classes.loc[("age", "old"), "clear"] == 1
    assert classes.loc[("age", "old"), "released"] == pytest.approx(2 / 3)
    assert classes.loc[("age", "young"), "n_people"] == 20
    groups = f1_by_group(said, truth, people)
    gaps = group_gaps(groups).set_index(["attribute", "by"])
    assert gaps.loc[("age", "gender"), "clear"] == 0
    assert gaps.loc[("age", "gender"), "released"] == pytest.approx(2 / 3)
    assert group_gaps(groups, smallest=21).empty


# --- folders written by other tools ---------------------------------------------------------------


def save_folder(folder, images, identity, ending, size, **settings):
    for row, (image, person) in enumerate(zip(images, identity, strict=True)):
        (folder / person).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image).resize(size)
        picture.save(folder / person / f"{row:03}{ending}", **settings)


def test_a_folder_of_another_size_and_format(village, tmp_path):
    blurred = GaussianBlur(1.0).fit_transform(village.images)
    save_folder(tmp_path / "a", village.images, village.identity, ".png", (70, 70))
    save_folder(tmp_path / "b", blurred, village.identity, ".JPG", (40, 40), quality=95)
    people = load_image_folder(tmp_path / "a").identity
    found = audit(tmp_path / "a", tmp_path / "b", identity=people, attackers="quick")
    assert found.faces[0].shape[1:] == found.faces[1].shape[1:] == (32, 32, 3)
    assert found.worst.risk > 0.3
    assert found.retention["ssim"] > 0.7


def test_pictures_that_are_not_square(village, tmp_path):
    few = slice(0, 18)
    images, people = village.images[few], village.identity[few]
    save_folder(tmp_path / "a", images, people, ".png", (80, 96))
    save_folder(tmp_path / "alike", images, people, ".jpeg", (40, 48))
    save_folder(tmp_path / "other", images, people, ".png", (48, 40))
    same = audit(
        tmp_path / "a", tmp_path / "alike", identity=people, attackers=["LDA on the pixels"]
    )
    assert same.retention["ssim"] > 0.9  # cropped alike
    with pytest.raises(InvalidImageError, match="neither square nor of their original's"):
        audit(tmp_path / "a", tmp_path / "other", identity=people)


def test_faults_of_folders(tmp_path, village):
    Image.fromarray(village.images[0]).save(tmp_path / "x.png")
    Image.fromarray(village.images[0]).save(tmp_path / "x.jpg")
    with pytest.raises(InvalidImageError, match="differ in their endings only"):
        pictures_by_name(tmp_path)
    Image.fromarray(village.images[0][:8, :8]).save(tmp_path / "small.png")
    with pytest.raises(InvalidImageError, match="side of 8 pixels"):
        common_size([tmp_path / "x.png"], [tmp_path / "small.png"])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        picture_size(tmp_path / "bad.png")
    upright = Image.fromarray(np.zeros((16, 48, 3), np.uint8))
    tag = upright.getexif()
    tag[0x0112] = 6
    upright.save(tmp_path / "turned.jpg", exif=tag)
    assert picture_size(tmp_path / "turned.jpg") == (16, 48)
