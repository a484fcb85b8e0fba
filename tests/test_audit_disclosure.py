"""Leaks beside the faces: copies, donors, withholding, choices, linkage, and the files."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import noise_like, run_audit
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from edials.audit import audit
from edials.audit.copies import find_blanks, find_copies
from edials.audit.disclosure import _share_interval, donor_matches, withheld_p_value
from edials.audit.figures import People
from edials.audit.inputs.files import file_findings
from edials.audit.linkage import nearest_neighbour_linkage
from edials.baselines import GaussianBlur
from edials.exceptions import InvalidLabelsError
from edials.release.certification import is_original

PIXELS = {"attackers": ["LDA on the pixels"]}


@pytest.fixture(scope="module")
def people(town):
    return np.unique(town.identity, return_inverse=True)[1]


# --- copies of originals, and blanks ----------------------------------------------------------


def save_as_jpeg(images, quality):
    pictures = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="JPEG", quality=quality)
        pictures.append(np.asarray(Image.open(file)))
    return np.stack(pictures)


COPIES = {
    "mirrored": lambda images: images[:, :, ::-1],
    "brighter": lambda images: np.clip(images.astype(int) + 25, 0, 255).astype(np.uint8),
    "less contrast": lambda images: (images * 0.6 + 50).astype(np.uint8),
    "turned": lambda images: np.rot90(images, axes=(1, 2)),
    "inverted": lambda images: 255 - images,
    "noisy": lambda images: np.clip(
        images + np.random.default_rng(0).normal(0, 5, images.shape), 0, 255
    ).astype(np.uint8),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_that_certification_misses_are_found(town, change):
    copies = change(town.images)
    assert is_original(town.images, copies).mean() < 0.05
    assert find_copies(town.images, copies).mean() > 0.95


def test_saved_again_is_a_copy_and_another_photo_is_not(town, people):
    assert find_copies(town.images, town.images).all()
    assert find_copies(town.images, save_as_jpeg(town.images, 95)).mean() > 0.95
    for shift in range(1, 14):
        other = np.roll(np.arange(len(people)).reshape(-1, 14), shift, axis=1).ravel()
        assert (people[other] == people).all()
        assert not find_copies(town.images, town.images[other]).any(), "photos of one person"
    assert not find_copies(town.images, GaussianBlur(2.0).fit_transform(town.images)).any()
    assert not find_copies(town.images, noise_like(town.images)).any()
    assert not find_copies(town.images[:2], np.full_like(town.images[:2], 128)).any()


def test_blanks_are_of_one_colour_and_hide_no_photo(town):
    assert find_blanks(np.full((2, 16, 16, 3), [[[[10, 200, 90]]]], np.uint8)).all()
    assert not find_blanks(town.images // 8).any()
    assert find_blanks(town.images[:0]).shape == (0,)
    # Photos in three or five levels are no blanks: they are attacked.
    for levels in (1, 2):
        hidden = (128 + np.rint((town.images / 127.5 - 1) * levels)).astype(np.uint8)
        assert not find_blanks(hidden).any()


# --- donors, withholding, choices, linkage ----------------------------------------------------


def test_borrowed_faces_are_found():
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((60, 16))

    def photos(people):
        rows = directions[people] + 0.3 * generator.standard_normal((len(people), 16))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True), people

    everybody = np.repeat(np.arange(60), 8)
    gallery, impostors = photos(everybody), photos(everybody)
    borrowed = photos((everybody + 7) % 60)[0], everybody
    donors = donor_matches(lambda rows: rows, gallery, impostors, borrowed)
    assert donors["ratio at FMR 0.001"] > 5
    assert donors["share at FMR 0.001"] == pytest.approx(donors["ratio at FMR 0.001"] / 1000)
    fresh = generator.standard_normal((480, 16))
    fresh /= np.linalg.norm(fresh, axis=1, keepdims=True)
    strangers = donor_matches(lambda rows: rows, gallery, impostors, (fresh, everybody))
    assert strangers["ratio at FMR 0.01"] < 2
    for figures in (donors, strangers):
        low, high = (figures[f"ratio at FMR 0.01, {end}"] for end in ("low", "high"))
        assert low <= figures["ratio at FMR 0.01"] <= high
    assert donors["ratio at FMR 0.001, low"] > 1
    constant = np.tile(np.eye(16)[0], (480, 1))
    opposite = (-constant, everybody)
    none = donor_matches(lambda rows: rows, opposite, opposite, (constant, everybody))
    assert none["ratio at FMR 0.01"] == none["ratio at FMR 0.01, low"] == 0
    assert none["ratio at FMR 0.01, high"] > 0, "no match is no proof that there is none"


def test_the_interval_of_donor_matches_resamples_people():
    """Matches that depend on the people shown and enrolled: the interval covers the true share."""
    generator, inside, width = np.random.default_rng(1), 0, []
    people = np.repeat(np.arange(40), 5)
    is_pair = people[:, None] != people
    for _ in range(100):
        rows, columns = generator.gamma(2, 0.5, (2, 40))
        chance = 0.05 * rows[people][:, None] * columns[people]
        matches = (generator.random(is_pair.shape) < chance) & is_pair
        low, high = _share_interval(matches, is_pair, people, people, 0, n_resamples=400)
        inside += low <= 0.05 <= high
        width.append(high - low)
    assert inside >= 88
    independent = 2 * 1.96 * np.sqrt(0.05 * 0.95 / is_pair.sum())
    assert np.mean(width) > 3 * independent


def test_withholding_that_depends_on_people_is_found():
    people, cells = np.repeat(np.arange(40), 10), np.repeat(np.arange(40) % 4, 10)
    generator = np.random.default_rng(0)
    by_person = np.where(generator.random(40) < 0.5, 0.5, 0.1)[people]
    assert withheld_p_value(generator.random(400) < by_person, people, cells) < 0.01
    by_chance = [withheld_p_value(generator.random(400) < 0.3, people, cells) for _ in range(20)]
    assert 0.2 < np.mean(by_chance) < 0.8
    by_cell = generator.random(400) < np.where(cells == 0, 0.8, 0.1)
    assert withheld_p_value(by_cell, people, cells) > 0.01, "the attributes say as much"
    assert np.isnan(withheld_p_value(np.zeros(400, bool), people, cells))
    unknown = np.where(people < 20, -1, people)
    assert 0 < withheld_p_value(generator.random(400) < 0.3, unknown, cells) <= 1


def test_withholding_in_a_report(town, people):
    released = town.images.copy()
    released[(people % 3 == 0) & (np.arange(len(people)) % 3 == 0)] = 128
    assert run_audit(town, released, **PIXELS).withheld_p_value < 0.01


def test_choices_made_per_person_are_found(town, people):
    generator, noise = np.random.default_rng(0), noise_like(town.images)

    def audit_choices(choices):
        return run_audit(town, noise, choices=choices, **PIXELS).attackers.loc["the choices"]

    masks = generator.random((36, 30)) < 0.3
    by_person = masks[people] ^ (generator.random((len(people), 30)) < 0.1)
    figures = audit_choices(by_person)
    assert figures["valid"]
    assert figures["gallery_kind"] == figures["probe_kind"] == "choices"
    assert figures["risk"] > 0.7
    assert audit_choices(generator.random((len(people), 30)) < 0.3)["p_value"] > 0.01
    assert abs(audit_choices(np.ones(len(people)))["in_cell_excess"]) < 0.02
    for wrong in (by_person[:5], np.full(len(people), "mouth"), np.full(len(people), np.nan)):
        with pytest.raises(InvalidLabelsError, match="choices h"):
            audit_choices(wrong)


def test_linkage_of_pseudonyms(people):
    """One picture for all photos of a person links them all; noise links none."""
    one_cell = People(people, np.zeros(36, dtype=int))
    pseudonyms = np.random.default_rng(0).standard_normal((36, 8))[people]
    linkage = nearest_neighbour_linkage(pseudonyms, one_cell)
    assert linkage["linked"] == 1
    assert linkage["eer"] == 0
    noise = np.random.default_rng(1).standard_normal((len(people), 8))
    assert nearest_neighbour_linkage(noise, one_cell)["linked"] < 0.1


# --- files ------------------------------------------------------------------------------------


def write(folder, images, names, **settings):
    paths = [folder / name for name in names]
    for image, path in zip(images, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, **settings)
        os.utime(path, (0, 0))
    return paths


LABELS = np.array(["Ann Lee", "Bob", "Cleo"])


def test_files_without_a_trace(town, tmp_path):
    people = np.repeat(np.arange(3), 10)
    numbers = [f"{row:04}.png" for row in np.random.default_rng(0).permutation(30)]
    paths = write(tmp_path / "png", town.images[:30], numbers)
    assert file_findings(paths, people, LABELS) == []
    assert file_findings(paths, people, np.array([1, 2, 3])) == []
    jpegs = write(tmp_path / "jpg", town.images[:30], [f"{row}.jpg" for row in range(30)])
    assert file_findings([*jpegs[:9], None, *jpegs[10:]], people, np.array([1, 2, 3])) == []


def test_metadata_is_found(town, tmp_path):
    exif, text = Image.Exif(), PngInfo()
    exif[0x010F] = "a camera"
    text.add_text("Comment", "Ann, in the garden")
    for folder, settings, name in (
        ("a.jpg", {"exif": exif}, "EXIF"),
        ("b.png", {"pnginfo": text}, "Comment"),
        ("c.jpg", {"comment": "Ann"}, "comment"),
        ("d.png", {"icc_profile": b"a profile"}, "icc_profile"),
    ):
        names = [f"{row}{Path(folder).suffix}" for row in range(3)]
        paths = write(tmp_path / folder, town.images[:3], names, **settings)
        assert file_findings(paths, np.arange(3), LABELS) == [
            f"3 of 3 released files carry metadata: {name}"
        ]


def test_names_and_times_are_found(town, tmp_path):
    people = np.repeat(np.arange(3), 10)
    for form in ("{}_{}.png", "x-{}-{}.png"):
        names = [form.format(LABELS[p].replace(" ", "_"), row) for row, p in enumerate(people)]
        paths = write(tmp_path / form[:2], town.images[:30], names)
        (finding,) = file_findings(paths, people, LABELS, root=tmp_path)
        assert finding.startswith("30 of 30 released files have the person's label in their name")
    assert file_findings(paths, people, LABELS[[2, 0, 1]]) == []
    (finding,) = file_findings(paths, people, np.array(["u", "v", "w"]), original_files=paths)
    assert finding == "30 of 30 released files are named like their original"
    for row, path in enumerate(paths):
        os.utime(path, (row, row))
    (finding,) = file_findings(paths, people, np.array(["u", "v", "w"]))
    assert "go by people" in finding


def test_findings_are_in_the_report(village, tmp_path):
    names = [f"person {who}/{row}.png" for row, who in enumerate(village.identity)]
    for side in ("original", "released"):
        write(tmp_path / side, village.images, names)
    order = np.argsort([str(Path(name).with_suffix("")) for name in names])
    identity = [f"person {who}" for who in village.identity[order]]
    report = audit(tmp_path / "original", tmp_path / "released", identity=identity, **PIXELS)
    (finding,) = report.findings
    assert "folders are paired by name" in finding
    assert json.loads(report.to_json())["findings"] == [finding]
