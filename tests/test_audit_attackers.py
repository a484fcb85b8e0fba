"""Attackers that adapt, undo, or look beside the pictures, each where the truth is known."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from edials.audit import audit
from edials.audit.attack_data import make_fresh_releases, select_pairs
from edials.audit.attackers.base import (
    KINDS,
    ChoiceAttacker,
    PixelAttacker,
    ReverseAttacker,
    kind_of,
)
from edials.audit.attackers.inversion import InversionAttacker
from edials.audit.attackers.pairs import PairAttacker
from edials.audit.attackers.registry import make_attackers
from edials.audit.disclosure import _share_interval, donor_matches, withheld_p_value
from edials.audit.inputs.files import file_findings
from edials.audit.report.text import role
from edials.datasets import draw_factors, make_faces, render_faces
from edials.exceptions import InvalidLabelsError

PEOPLE, PHOTOS = 24, 12


@pytest.fixture(scope="module")
def town():
    data = make_faces(PEOPLE, PHOTOS, size=32, random_state=3)
    data.kept = data.attributes[["gender"]]
    data.split = np.resize(["enrol"] * 7 + ["validation"] * 2 + ["probe"] * 3, PEOPLE * PHOTOS)
    return data


def judged(town, images, *attackers, **settings):
    return audit(
        town.images,
        images,
        identity=town.identity,
        attributes=settings.pop("attributes", town.kept),
        split=town.split,
        attackers=list(attackers),
        random_state=0,
        **settings,
    )


def blocks_moved(images, size=4):
    """A reversible "anonymizer": blocks of pixels change places, the same for every image."""
    n, height, width, _ = images.shape
    rows, columns = height // size, width // size
    blocks = images.reshape(n, rows, size, columns, size, 3).swapaxes(2, 3)
    blocks = blocks.reshape(n, rows * columns, size, size, 3)
    moved = blocks[:, np.random.default_rng(0).permutation(rows * columns)]
    return moved.reshape(n, rows, columns, size, size, 3).swapaxes(2, 3).reshape(images.shape)


def test_pictures_that_differ_in_little_are_told_apart_by_their_pixels():
    people = np.repeat(np.arange(10), 12)
    light = np.random.default_rng(0).integers(100, size=120).astype(np.uint8)
    images = np.full((120, 16, 16, 3), 128, np.uint8)
    images[..., 0] += light[:, None, None]
    images[np.arange(120), people, people] += 1  # one level of one pixel is everybody's own
    attacker = PixelAttacker(n_components=40).fit(images[::2], people[::2])
    assert (attacker.scores(images[1::2]).argmax(axis=1) == people[1::2]).all()


class ClearPixels(PixelAttacker):
    name, gallery_kind = "static LDA", "clear"


# --- who is tried, and what an attacker says of itself ----------------------------------------


def test_doing_nothing_is_seen_by_everyone(town):
    pixels = PixelAttacker()
    report = judged(town, town.images, pixels, PairAttacker(), ReverseAttacker(pixels))
    each = report.attackers.drop("all together")
    np.testing.assert_allclose(each["risk_without_attributes"], each["clear_accuracy"])
    assert each["valid"].all()
    roles = each[["gallery_kind", "pairs_of", "probe_kind"]].T.to_dict("list")
    assert roles == {
        "LDA on the pixels": ["released", "", "released"],
        "LDA on clear photos after a learned map": ["clear", "the gallery", "released"],
        "reverse: LDA on the pixels": ["released", "", "clear"],
    }
    said = [role(outcome) for outcome in report.outcomes]
    assert said[1] == "learns from clear photos, pairs of the gallery"
    assert said[2] == "learns from released images, probes are clear photos"
    assert said[1] in report.to_html(pictures=False)
    # A poisoned gallery is shown photos, of which nobody need guess the attributes.
    different = ["probe_kind", "kind", "risk_predicted_cell", "still_learning"]
    figures = each.drop(columns=different)
    assert figures.loc["LDA on the pixels"].equals(figures.loc["reverse: LDA on the pixels"])


def test_other_people_are_nobody_to_everyone(town):
    fresh = draw_factors(len(town.images), random_state=5)
    races = np.random.default_rng(5).choice(town.attributes["race"].unique(), len(fresh))
    nobody = render_faces(fresh, town.attributes.assign(race=races), town.nuisance, size=32)
    pixels = PixelAttacker()
    kept = town.attributes[["age", "gender"]]
    attackers = pixels, PairAttacker(), ReverseAttacker(pixels)
    report = judged(town, nobody, *attackers, attributes=kept)
    assert (report.attackers["p_value"] > 0.01).all()
    assert (report.attackers["in_cell_excess"].abs() < 0.1).all()


def test_what_can_be_reversed_is_seen_by_who_learns_from_pairs(town):
    report = judged(town, blocks_moved(town.images), ClearPixels(), PairAttacker()).attackers
    static, pairs = report.loc["static LDA"], report.loc["LDA on clear photos after a learned map"]
    assert static["risk_without_attributes"] < 0.2
    assert pairs["risk_without_attributes"] > 0.7 * pairs["clear_accuracy"] > 0.35


def test_a_poisoned_gallery_of_photos_of_others_names_nobody(town):
    """Everybody's images show the next person: the gallery is learned well, and misleads."""
    report = judged(town, np.roll(town.images, PHOTOS, axis=0), ReverseAttacker(PixelAttacker()))
    outcome = report.outcomes[0]
    assert outcome.valid
    assert outcome.risk_without_attributes < 0.1


def shuffled(attacker):
    """The same attacker with people mixed up in its gallery."""
    learn = attacker.fit
    attacker.fit = lambda images, people: learn(
        images, np.random.default_rng(0).permutation(people)
    )
    return attacker


@pytest.mark.parametrize("kind", [PixelAttacker, PairAttacker])
def test_mixed_up_labels_are_marked_broken(town, kind):
    broken = shuffled(kind())
    sound = ClearPixels()
    entries = [broken, sound] if kind is PairAttacker else [broken, ReverseAttacker(broken), sound]
    report = judged(town, town.images, *entries)
    valid = report.attackers["valid"]
    assert valid.to_dict() == {e.name: e is sound for e in entries}
    assert f"BROKEN, not evidence: {broken.name}" in report.summary()


def test_an_attacker_need_not_say_anything_of_itself(town):
    class Counting:
        name, fits = "own", 0

        def fit(self, images, people):
            self.fits += 1
            self.pixels = PixelAttacker().fit(images, people)

        def scores(self, images):
            return self.pixels.scores(images)

    own = Counting()
    report = judged(town, town.images, own, ReverseAttacker(own))
    assert own.fits == 2, "once on clear photos, once for both of its roles"
    assert report.attackers["gallery_kind"].to_list()[:2] == ["released", "released"]
    assert report.attackers["probe_kind"].to_list()[:2] == ["released", "clear"]
    assert report.attackers["kind"].to_list()[:2] == ["parrot", "reverse"]


def test_every_attacker_has_its_kind(fitted):
    kinds = {a.name: kind_of(a) for a in make_attackers("thorough", fitted, 0)}
    assert set(kinds.values()) == set(KINDS) - {"choices"}
    assert kinds["unseen network"] == "unseen"
    assert kinds["network, retrained"] == kinds["LDA on the pixels"] == "parrot"
    assert kinds["reverse: network, retrained"] == "reverse"
    assert kind_of(ChoiceAttacker()) == "choices"
    assert kind_of(ClearPixels()) == "naive", "a user need not say it"
    networks = {a.name for a in make_attackers("thorough", fitted, 0) if a.__dict__.get("network")}
    assert {"network of clear photos", "network, retrained"} <= networks
    wrong = PixelAttacker()
    wrong.kind = "parot"
    with pytest.raises(ValueError, match=r"kind='parot'; expected one of .*'parrot'"):
        kind_of(wrong)


def test_names_and_levels(fitted):
    quick, standard, thorough = (
        [attacker.name for attacker in make_attackers(level, fitted, 0)]
        for level in ("quick", "standard", "thorough")
    )
    assert {"LDA on clear photos after a learned map", "reverse: LDA on the latents"} <= {*quick}
    assert {"unseen network", "reverse: network, retrained"} <= {*standard} - {*quick}
    assert "inversion" in {*thorough} - {*standard}
    poison = make_attackers(["reverse: LDA on the pixels", "inversion"], None, 0)
    assert [attacker.name for attacker in poison] == ["reverse: LDA on the pixels", "inversion"]


# --- further releases, and pairs --------------------------------------------------------------


def test_rekeyed_gives_independent_releases(fitted, faces):
    some = faces.images[:6]
    first, again, other = (fitted.rekeyed(seed).transform(some) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    for release in (fitted.transform(some), other, fitted.rekeyed().transform(some)):
        assert (release != first).any(axis=(1, 2, 3)).all()
    assert fitted.rekeyed(0).autoencoder_ is fitted.autoencoder_
    assert fitted.rekeyed(fitted.random_state)._secret != fitted._secret


class Drawing:
    """Noise in place of every image, under a key."""

    def __init__(self, key=0, deaf=False):
        self.key, self.deaf = key, deaf

    def rekeyed(self, key):
        return Drawing(0 if self.deaf else key, self.deaf)

    def transform(self, images):
        drawn = np.random.default_rng(self.key).integers(0, 256, images.shape, dtype=np.uint8)
        drawn[0] = 128  # withheld
        return drawn


def test_parrots_make_releases_of_their_own(town, faces, fitted):
    first, second = make_fresh_releases(Drawing(), town.images[:20], 2, 0)
    assert (first[1:] != second[1:]).any()
    assert make_fresh_releases(Drawing(deaf=True), town.images[:20], 2, 0) == []
    assert make_fresh_releases(object(), town.images[:20], 2, 0) == []
    seen = []

    class Spy(PixelAttacker):
        def fit(self, images, people):
            seen.append(len(images))
            return super().fit(images, people)

    report = audit(
        faces.images,
        fitted.transform(faces.images),
        identity=faces.identity,
        anonymizer=fitted,
        attackers=[Spy()],
        random_state=0,
    )
    # Clear photos, four releases of each, and of parts of them for the learning curve.
    assert seen == [60, 240, 4 * 20, 4 * 30]
    assert json.loads(report.to_json())["fresh_releases"] == report.n_fresh == 3


def test_pairs_are_of_other_people_where_there_are_enough():
    before = np.zeros((700, 16, 16, 3), np.uint8)
    after = np.random.default_rng(0).integers(0, 256, before.shape, dtype=np.uint8)
    gallery, outsiders = (before[:300], after[:300]), (before[300:], after[300:])
    found = select_pairs(gallery, outsiders, np.arange(400) % 40, [])
    assert found["pairs_of"] == "40 other people"
    np.testing.assert_array_equal(found["pairs"][1], after[300:])
    assert (found["impostors"][1] < 0).all()
    fresh = after[:300].copy()
    fresh[0] = 128
    few = select_pairs(gallery, outsiders, np.arange(400) % 20, [fresh])
    assert few["pairs_of"] == "the gallery"
    assert few["impostors"] is None
    assert len(few["pairs"][0]) == len(few["pairs"][1]) == 599


def test_a_network_undoes_what_can_be_undone(town):
    attacker = InversionAttacker(width=8, max_epochs=8, batch_size=16)
    report = judged(town, 255 - town.images, ClearPixels(), attacker)
    figures = report.measures["inversion"]
    assert figures["psnr_inverted"] > figures["psnr_released"] + 6
    table = report.attackers
    assert table.loc["static LDA", "risk_without_attributes"] < 0.1
    assert (
        table.loc["inversion", "risk_without_attributes"]
        > 0.6 * table.loc["inversion", "clear_accuracy"]
    )
    assert f"{figures['psnr_inverted']:.1f} dB inverted" in report.summary()
    noise = np.random.default_rng(0).integers(0, 256, town.images.shape, dtype=np.uint8)
    assert attacker.invert(noise).shape == noise.shape


# --- what leaks beside the pictures -----------------------------------------------------------


def test_borrowed_faces_are_found():
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((60, 16))

    def photos(people):
        drawn = directions[people] + 0.3 * generator.standard_normal((len(people), 16))
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True), people

    everybody = np.repeat(np.arange(60), 8)
    gallery, impostors = photos(everybody), photos(everybody)
    borrowed = photos((everybody + 7) % 60)[0], everybody
    found = donor_matches(lambda rows: rows, gallery, impostors, borrowed)
    assert found["ratio at FMR 0.001"] > 5
    assert found["share at FMR 0.001"] == pytest.approx(found["ratio at FMR 0.001"] / 1000)
    fresh = generator.standard_normal((480, 16))
    fresh /= np.linalg.norm(fresh, axis=1, keepdims=True)
    nobody = donor_matches(lambda rows: rows, gallery, impostors, (fresh, everybody))
    assert nobody["ratio at FMR 0.01"] < 2
    for figures in (found, nobody):
        low, high = (figures[f"ratio at FMR 0.01, {end}"] for end in ("low", "high"))
        assert low <= figures["ratio at FMR 0.01"] <= high
    assert found["ratio at FMR 0.001, low"] > 1
    apart = np.tile(np.eye(16)[0], (480, 1))
    none = donor_matches(
        lambda rows: rows, (-apart, everybody), (-apart, everybody), (apart, everybody)
    )
    assert none["ratio at FMR 0.01"] == none["ratio at FMR 0.01, low"] == 0
    assert none["ratio at FMR 0.01, high"] > 0, "no match is no proof that there is none"


def test_the_interval_of_donor_matches_holds_people_for_what_is_drawn():
    """Matches that come with people, shown and enrolled: the true share is inside, as it should."""
    generator, inside, width = np.random.default_rng(1), 0, []
    people = np.repeat(np.arange(40), 5)
    counted = people[:, None] != people
    for _ in range(100):
        rows, columns = generator.gamma(2, 0.5, (2, 40))
        chance = 0.05 * rows[people][:, None] * columns[people]
        matches = (generator.random(counted.shape) < chance) & counted
        low, high = _share_interval(matches, counted, people, people, 0, n_resamples=400)
        inside += low <= 0.05 <= high
        width.append(high - low)
    assert inside >= 88
    independent = 2 * 1.96 * np.sqrt(0.05 * 0.95 / counted.sum())
    assert np.mean(width) > 3 * independent


def test_withholding_that_goes_by_people_is_found():
    people, cells = np.repeat(np.arange(40), 10), np.repeat(np.arange(40) % 4, 10)
    generator = np.random.default_rng(0)
    often = np.where(generator.random(40) < 0.5, 0.5, 0.1)[people]
    assert withheld_p_value(generator.random(400) < often, people, cells) < 0.01
    by_chance = [withheld_p_value(generator.random(400) < 0.3, people, cells) for _ in range(20)]
    assert 0.2 < np.mean(by_chance) < 0.8
    by_cell = generator.random(400) < np.where(cells == 0, 0.8, 0.1)
    assert withheld_p_value(by_cell, people, cells) > 0.01, "that is what the attributes say"
    assert np.isnan(withheld_p_value(np.zeros(400, bool), people, cells))
    unknown = np.where(people < 20, -1, people)
    assert 0 < withheld_p_value(generator.random(400) < 0.3, unknown, cells) <= 1


def test_withholding_in_a_report(town):
    released = town.images.copy()
    people = np.unique(town.identity, return_inverse=True)[1]
    released[(people % 3 == 0) & (np.arange(len(people)) % 3 == 0)] = 128
    report = judged(town, released, PixelAttacker())
    assert report.withheld_p_value < 0.01
    assert "WITHHOLDING TELLS" in report.summary()


def test_choices_made_per_person_are_found(town):
    generator = np.random.default_rng(0)
    people = np.unique(town.identity, return_inverse=True)[1]
    masks = generator.random((PEOPLE, 30)) < 0.3
    own = masks[people] ^ (generator.random((len(people), 30)) < 0.1)
    noise = generator.integers(0, 256, town.images.shape, dtype=np.uint8)
    told = judged(town, noise, PixelAttacker(), choices=own).attackers.loc["the choices"]
    assert told["valid"]
    assert told["gallery_kind"] == "choices"
    assert told["risk"] > 0.7
    by_chance = generator.random((len(people), 30)) < 0.3
    nothing = judged(town, noise, PixelAttacker(), choices=by_chance).attackers
    assert nothing.loc["the choices", "p_value"] > 0.01
    same = judged(town, noise, PixelAttacker(), choices=np.ones(len(people))).attackers
    assert abs(same.loc["the choices", "in_cell_excess"]) < 0.02
    for wrong in (own[:5], np.full(len(people), "mouth"), np.full(len(people), np.nan)):
        with pytest.raises(InvalidLabelsError, match="choices h"):
            judged(town, noise, PixelAttacker(), choices=wrong)


def write(folder, images, names, **settings):
    folder.mkdir(parents=True)
    paths = [folder / name for name in names]
    for image, path in zip(images, paths, strict=True):
        path.parent.mkdir(exist_ok=True)
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
    for folder, settings, said in (
        ("a.jpg", {"exif": exif}, "EXIF"),
        ("b.png", {"pnginfo": text}, "Comment"),
        ("c.jpg", {"comment": "Ann"}, "comment"),
        ("d.png", {"icc_profile": b"a profile"}, "icc_profile"),
    ):
        names = [f"{row}{Path(folder).suffix}" for row in range(3)]
        paths = write(tmp_path / folder, town.images[:3], names, **settings)
        assert file_findings(paths, np.arange(3), LABELS) == [
            f"3 of 3 released files carry metadata: {said}"
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


def test_findings_are_in_the_report(town, tmp_path):
    names = [f"{who}/{row}.png" for row, who in enumerate(map("person {}".format, town.identity))]
    for side in ("original", "released"):
        write(tmp_path / side, town.images, names)
    order = np.argsort([str(Path(name).with_suffix("")) for name in names])
    report = audit(
        tmp_path / "original",
        tmp_path / "released",
        identity=[f"person {who}" for who in town.identity[order]],
        split=town.split[order],
        attackers=["LDA on the pixels"],
        random_state=0,
    )
    (finding,) = report.findings
    assert "folders are paired by name" in finding
    assert f"FILES TELL: {finding}" in report.summary()
    assert json.loads(report.to_json())["findings"] == [finding]
