"""Attackers that adapt, invert or are told less, each where the truth is known."""

import numpy as np
import pytest
from conftest import noise_like, run_audit

from edials.audit.attack_data import make_fresh_releases, select_pairs
from edials.audit.attackers.base import (
    KINDS,
    ChoiceAttacker,
    NaiveAttacker,
    PixelAttacker,
    ReverseAttacker,
    kind_of,
)
from edials.audit.attackers.inversion import InversionAttacker
from edials.audit.attackers.pairs import PairAttacker
from edials.audit.attackers.registry import make_attackers
from edials.audit.report.text import role
from edials.datasets import draw_factors, make_faces, render_faces

PEOPLE, PHOTOS = 24, 12
LEARNED_MAP = "LDA on clear photos after a learned map"


@pytest.fixture(scope="module")
def town():
    data = make_faces(PEOPLE, PHOTOS, size=32, random_state=3)
    data.labels = data.attributes[["gender"]]
    return data


def attack(town, released, *attackers, **settings):
    split = np.resize(["enrol"] * 7 + ["validation"] * 2 + ["probe"] * 3, PEOPLE * PHOTOS)
    return run_audit(town, released, attackers=list(attackers), split=split, **settings)


class ClearPixels(PixelAttacker):
    name, gallery_kind = "naive LDA", "clear"


# --- known truths -----------------------------------------------------------------------------


def test_pixels_tell_apart_pictures_that_differ_in_little():
    people = np.repeat(np.arange(10), 12)
    light = np.random.default_rng(0).integers(100, size=120).astype(np.uint8)
    images = np.full((120, 16, 16, 3), 128, np.uint8)
    images[..., 0] += light[:, None, None]
    images[np.arange(120), people, people] += 1  # one level of one pixel per person
    attacker = PixelAttacker(n_components=40).fit(images[::2], people[::2])
    assert (attacker.scores(images[1::2]).argmax(axis=1) == people[1::2]).all()


def test_naive_attacker_names_whom_the_recogniser_names(faces, fitted):
    attacker = NaiveAttacker(fitted.identity_classifier_).fit(faces.images, None)
    named = fitted.identity_classifier_.classes_[attacker.scores(faces.images).argmax(axis=1)]
    np.testing.assert_array_equal(named, fitted.identity_classifier_.predict(faces.images))


def test_every_attacker_identifies_clear_photos(town):
    pixels = PixelAttacker()
    report = attack(town, town.images, pixels, PairAttacker(), ReverseAttacker(pixels))
    table = report.attackers.drop("ensemble")
    np.testing.assert_allclose(table["risk_without_attributes"], table["clear_accuracy"])
    assert table["valid"].all()
    assert table[["gallery_kind", "pairs_of", "probe_kind"]].T.to_dict("list") == {
        "LDA on the pixels": ["released", "", "released"],
        LEARNED_MAP: ["clear", "the gallery", "released"],
        "reverse: LDA on the pixels": ["released", "", "clear"],
    }
    roles = [role(outcome) for outcome in report.outcomes]
    assert roles[1] == "learns from clear photos, pairs of the gallery"
    assert roles[1] in report.to_html(pictures=False)
    # In a reverse attack nobody predicts attributes from probes.
    figures = table.drop(columns=["probe_kind", "kind", "risk_predicted_cell", "still_learning"])
    assert figures.loc["LDA on the pixels"].equals(figures.loc["reverse: LDA on the pixels"])


def test_no_attacker_identifies_people_on_new_faces(town):
    factors = draw_factors(len(town.images), random_state=5)
    races = np.random.default_rng(5).choice(town.attributes["race"].unique(), len(factors))
    faces = render_faces(factors, town.attributes.assign(race=races), town.nuisance, size=32)
    pixels = PixelAttacker()
    attackers = pixels, PairAttacker(), ReverseAttacker(pixels)
    report = attack(town, faces, *attackers, attributes=town.attributes[["age", "gender"]])
    assert (report.attackers["p_value"] > 0.01).all()
    assert (report.attackers["in_cell_excess"].abs() < 0.1).all()


def permute_blocks(images, size=4):
    """A reversible "anonymizer": blocks of pixels change places, the same for every image."""
    n, height, width, _ = images.shape
    rows, columns = height // size, width // size
    blocks = images.reshape(n, rows, size, columns, size, 3).swapaxes(2, 3)
    blocks = blocks.reshape(n, rows * columns, size, size, 3)
    blocks = blocks[:, np.random.default_rng(0).permutation(rows * columns)]
    return blocks.reshape(n, rows, columns, size, size, 3).swapaxes(2, 3).reshape(images.shape)


def test_pairs_disclose_a_change_that_can_be_reversed(town):
    report = attack(town, permute_blocks(town.images), ClearPixels(), PairAttacker()).attackers
    naive, pairs = report.loc["naive LDA"], report.loc[LEARNED_MAP]
    assert naive["risk_without_attributes"] < 0.2
    assert pairs["risk_without_attributes"] > 0.7 * pairs["clear_accuracy"] > 0.35


def test_a_network_inverts_what_can_be_inverted(town):
    attacker = InversionAttacker(width=8, max_epochs=8, batch_size=16)
    report = attack(town, 255 - town.images, ClearPixels(), attacker)
    figures, table = report.measures["inversion"], report.attackers
    assert figures["psnr_inverted"] > figures["psnr_released"] + 6
    assert table.loc["naive LDA", "risk_without_attributes"] < 0.1
    inversion = table.loc["inversion"]
    assert inversion["risk_without_attributes"] > 0.6 * inversion["clear_accuracy"]
    assert f"{figures['psnr_inverted']:.1f} dB" in report.summary()


def test_a_reverse_attack_on_photos_of_others_names_nobody(town):
    """Everybody's images show the next person: the gallery is learned well, and misleads."""
    report = attack(town, np.roll(town.images, PHOTOS, axis=0), ReverseAttacker(PixelAttacker()))
    assert report.outcomes[0].valid
    assert report.outcomes[0].risk_without_attributes < 0.1


@pytest.mark.parametrize("kind", [PixelAttacker, PairAttacker])
def test_an_attacker_with_permuted_labels_is_broken(town, kind):
    class Permuted(kind):
        def fit(self, images, people):
            return super().fit(images, np.random.default_rng(0).permutation(people))

    broken, sound = Permuted(), ClearPixels()
    attackers = (
        [broken, sound] if kind is PairAttacker else [broken, ReverseAttacker(broken), sound]
    )
    report = attack(town, town.images, *attackers)
    assert report.attackers["valid"].to_dict() == {a.name: a is sound for a in attackers}


# --- what an attacker declares ----------------------------------------------------------------


def test_an_attacker_need_not_declare_anything(town):
    class Counting:
        name, fits = "counting", 0

        def fit(self, images, people):
            self.fits += 1
            self.pixels = PixelAttacker().fit(images, people)

        def scores(self, images):
            return self.pixels.scores(images)

    counting = Counting()
    report = attack(town, town.images, counting, ReverseAttacker(counting))
    assert counting.fits == 2, "once on clear photos, once for both of its roles"
    assert report.attackers["gallery_kind"].to_list()[:2] == ["released", "released"]
    assert report.attackers["probe_kind"].to_list()[:2] == ["released", "clear"]
    assert report.attackers["kind"].to_list()[:2] == ["parrot", "reverse"]


def test_every_attacker_has_its_kind(fitted):
    attackers = make_attackers("thorough", fitted, 0)
    kinds = {attacker.name: kind_of(attacker) for attacker in attackers}
    assert set(kinds.values()) == set(KINDS) - {"choices"}
    assert kinds["unseen network"] == "unseen"
    assert kinds["network, retrained"] == kinds["LDA on the pixels"] == "parrot"
    assert kinds["reverse: network, retrained"] == "reverse"
    assert kind_of(ChoiceAttacker()) == "choices"
    assert kind_of(ClearPixels()) == "naive", "it follows from the gallery"
    networks = {attacker.name for attacker in attackers if getattr(attacker, "network", False)}
    assert {"network of clear photos", "network, retrained", "inversion"} <= networks
    wrong = PixelAttacker()
    wrong.kind = "parot"
    with pytest.raises(ValueError, match=r"kind='parot'; expected one of .*'parrot'"):
        kind_of(wrong)


def test_names_and_levels(fitted):
    quick, standard, thorough = (
        {attacker.name for attacker in make_attackers(level, fitted, 0)}
        for level in ("quick", "standard", "thorough")
    )
    assert {LEARNED_MAP, "reverse: LDA on the latents"} <= quick
    assert {"unseen network", "reverse: network, retrained"} <= standard - quick
    assert "inversion" in thorough - standard
    names = ["reverse: LDA on the pixels", "inversion"]
    assert [attacker.name for attacker in make_attackers(names, None, 0)] == names


# --- further releases, and pairs --------------------------------------------------------------


def test_rekeyed_gives_independent_releases(fitted, faces):
    some = faces.images[:6]
    first, again, other = (fitted.with_new_key(seed).transform(some) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    for release in (fitted.transform(some), other, fitted.with_new_key().transform(some)):
        assert (release != first).any(axis=(1, 2, 3)).all()
    assert fitted.with_new_key(0).autoencoder_ is fitted.autoencoder_
    assert fitted.with_new_key(fitted.random_state)._secret != fitted._secret


class KeyedNoise:
    """Noise in place of every image, by a key; the first image is withheld."""

    def __init__(self, key=0, ignores_keys=False):
        self.key, self.ignores_keys = key, ignores_keys

    def with_new_key(self, key):
        return KeyedNoise(0 if self.ignores_keys else key, self.ignores_keys)

    def transform(self, images):
        noise = noise_like(images, self.key)
        noise[0] = 128
        return noise


def test_fresh_releases_need_keys_that_change_something(town):
    photos = town.images[:20]
    first, second = make_fresh_releases(KeyedNoise(), photos, 2, 0)
    assert (first[1:] != second[1:]).any()
    assert make_fresh_releases(KeyedNoise(ignores_keys=True), photos, 2, 0) == []
    assert make_fresh_releases(object(), photos, 2, 0) == []


def test_parrots_learn_fresh_releases(faces, fitted):
    n_learned = []

    class Spy(PixelAttacker):
        def fit(self, images, people):
            n_learned.append(len(images))
            return super().fit(images, people)

    released = fitted.transform(faces.images)
    report = run_audit(faces, released, attackers=[Spy()], anonymizer=fitted, attributes=None)
    # Clear photos, four releases of each, and of parts of them for the learning curve.
    assert n_learned == [60, 240, 4 * 20, 4 * 30]
    assert report.n_fresh == 3


def test_pairs_are_of_other_people_if_there_are_enough():
    before = np.zeros((700, 16, 16, 3), np.uint8)
    after = noise_like(before)
    gallery, outsiders = (before[:300], after[:300]), (before[300:], after[300:])
    enough = select_pairs(gallery, outsiders, np.arange(400) % 40, [])
    assert enough["pairs_of"] == "40 other people"
    np.testing.assert_array_equal(enough["pairs"][1], after[300:])
    assert (enough["impostors"][1] < 0).all()
    fresh = after[:300].copy()
    fresh[0] = 128
    few = select_pairs(gallery, outsiders, np.arange(400) % 20, [fresh])
    assert few["pairs_of"] == "the gallery"
    assert few["impostors"] is None
    assert len(few["pairs"][0]) == len(few["pairs"][1]) == 599
