"""Latent features: basis, regression, surrogates, evasion."""

import dataclasses

import numpy as np
import torch
from sklearn.preprocessing import normalize

from edials.latent.identity_basis import (
    N_PHOTOS_HALF_WEIGHT,
    fit_identity_basis,
    picture_metric,
)
from edials.latent.identity_regression import NO_REGRESSION, fit_identity_regression
from edials.latent.surrogates import fit_prior, replacement_mask
from edials.models.surrogate_decoder import _row_weights as row_weights_of_decoder
from edials.release.evasion import evade


def test_draws_do_not_repeat_replaced_features_of_fitted_photos():
    """Independent features foretell nothing of each other, in fitted photos as in new ones."""
    generator = np.random.default_rng(0)
    rows, nothing = generator.standard_normal((120, 256)), np.empty((120, 0), int)
    mask = np.arange(256) < 208
    draw = fit_prior(rows, nothing, [], np.arange(120)).condition(mask)
    expected = draw(rows, nothing, np.zeros_like(rows))[:, mask]
    own = np.corrcoef(expected.ravel(), rows[:, mask].ravel())[0, 1]
    assert abs(own) < 0.2


def test_basis_orders_features_by_picture_for_identity():
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 8)
    latents = generator.standard_normal((480, 6))
    latents[:, 2] += 5 * generator.standard_normal(60)[people]
    visible = np.diag([1.0, 1.0, 0.1, 1.0, 30.0, 1.0])
    basis = fit_identity_basis(latents, people, picture=visible)
    # The most visible feature is given back first, the one that names people last.
    assert np.abs(basis.forward[:, -1]).argmax() == 4
    assert np.abs(basis.forward[:, 0]).argmax() == 2
    rows = torch.from_numpy(latents.astype(np.float32))
    torch.testing.assert_close(basis.unrotate(basis.rotate(rows)), rows, atol=1e-3, rtol=1e-3)
    coordinates = basis.rotate(rows).numpy()
    np.testing.assert_allclose(np.cov(coordinates.T), np.eye(6), atol=0.1)


def test_picture_metric_sees_what_a_latent_shows():
    stripes = np.arange(80) % 4 < 2

    def decode(latents):
        pictures = np.full((len(latents), 80, 80, 3), 128.0)
        pictures += 10 * latents[:, 0, None, None, None]  # brighter
        pictures[:, stripes] += 10 * latents[:, 1, None, None, None]  # as large a change, of detail
        return pictures.clip(0, 255).astype(np.uint8)

    rows = np.random.default_rng(0).standard_normal((500, 3))
    metric = picture_metric(decode, rows)
    assert metric.shape == (3, 3)
    assert metric[1, 1] > 10 * metric[0, 0] > 0
    np.testing.assert_allclose(metric[2], 0, atol=1e-9)


def test_prior_has_the_moments_of_the_data():
    generator = np.random.default_rng(0)
    codes = generator.integers(2, size=(4000, 1))
    rows = generator.standard_normal((4000, 3)) * [1, 2, 3] + codes * [0, 0, 4]
    prior = fit_prior(rows, codes, [2], np.arange(4000))
    plain = {"consistency": 0.0, "temperature": 1.0}
    draw = prior.condition(np.ones(3, dtype=bool), **plain)
    noise = generator.standard_normal((4000, 3))
    draws = draw(np.zeros_like(noise), np.ones((4000, 1), int), noise)
    np.testing.assert_allclose(draws.mean(0), [0, 0, 4], atol=0.3)
    np.testing.assert_allclose(draws.std(0), [1, 2, 3], rtol=0.1)
    assert prior.condition(np.ones(3, dtype=bool), **plain) is draw  # worked out once
    assert prior.condition(np.array([True, True, False]), **plain) is not draw
    assert replacement_mask(np.array([7, 9, 8, *range(7)]), 0.3).nonzero()[0].tolist() == [7, 8, 9]


def test_draws_follow_retained_features_and_nothing_else():
    generator = np.random.default_rng(0)
    codes = generator.integers(2, size=(4000, 1))
    given = generator.standard_normal(4000) + codes[:, 0]
    other = generator.standard_normal(4000)
    rows = np.column_stack([2 * given + codes[:, 0] + 0.5 * other, given])
    prior = fit_prior(rows, codes, [2], np.arange(4000))
    mask = np.array([True, False])
    draw = prior.condition(mask, consistency=0.0, temperature=1.0)
    noise = generator.standard_normal((4000, 2))
    drawn = draw(rows, codes, noise)
    np.testing.assert_array_equal(drawn[:, 1], rows[:, 1].astype(np.float32))
    expected = 2 * given + codes[:, 0]
    np.testing.assert_allclose((drawn[:, 0] - expected).std(), 0.5, rtol=0.1)
    np.testing.assert_allclose((drawn[:, 0] - expected).mean(), 0, atol=0.05)
    hidden = rows.copy()
    hidden[:, 0] = 99.0
    np.testing.assert_array_equal(draw(hidden, codes, noise), drawn)


def test_yaw_is_retained_with_any_feature_only():
    generator = np.random.default_rng(0)
    turns = 2 + 3 * generator.standard_normal(2000)
    rows = generator.standard_normal((2000, 6))
    rows[:, 0] += turns
    prior = fit_prior(rows, np.empty((2000, 0), int), [], np.arange(2000), turns)
    np.testing.assert_allclose(prior.yaw_scale, [turns.mean(), turns.std()])
    np.testing.assert_allclose(prior.yaw_effect[0], turns.std(), rtol=0.05)
    nothing, noise = np.empty((2, 0), int), np.zeros((2, 6))
    asked = np.array([0.0, 5.0])
    for mask, moves in ((np.arange(6) < 5, True), (np.ones(6, bool), False)):
        # Emphasised, so would be what the other features have in common with it by chance.
        draw = prior.condition(mask, yaw_emphasis=1.0)
        drawn = draw(np.zeros((2, 6)), nothing, noise, asked)
        assert (drawn[1, 0] - drawn[0, 0] > 1) == moves
        np.testing.assert_allclose(drawn[0, 1:], drawn[1, 1:], atol=0.5)
    # No photo is turned farther than 2.5 standard deviations: a draw for one would be a ghost.
    far = turns.mean() + turns.std() * np.array([2.5, 10.0])
    drawn = prior.condition(np.arange(6) < 5)(np.zeros((2, 6)), nothing, noise, far)
    np.testing.assert_array_equal(*drawn)


def test_draws_of_a_small_class_do_not_show_its_people():
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 10)
    looks = 2 * generator.standard_normal((40, 12))
    rows = looks[people] + generator.standard_normal((400, 12))
    alone = (people == 7).astype(np.int64)[:, None]

    def drawn(codes, people):
        draw = fit_prior(rows, codes, [2], people).condition(np.ones(12, bool))
        return draw(np.zeros((1, 12)), np.array([[1]]), np.zeros((1, 12)))[0]

    def likeness(made):
        return np.corrcoef(made, looks[7])[0, 1]

    # As one of many, for the crowd counts each photo as a person of its own.
    assert likeness(drawn(alone, np.full(400, -1))) > 0.9
    everybody = drawn(np.zeros((400, 1), np.int64), people)
    np.testing.assert_allclose(drawn(alone, people), everybody, atol=0.3)


def test_surrogate_decoder_does_not_learn_small_predicted_cells():
    people = np.array([0, 0, 1, 2, 3, 4, 5, -1])
    codes = np.array([[0], [0], [0], [0], [0], [0], [1], [0]])
    weights = row_weights_of_decoder(people, codes)
    np.testing.assert_allclose(weights, [0.5, 0.5, 1, 1, 1, 1, 0, 0])
    assert not row_weights_of_decoder(people[:4], codes[:4]).any()
    # One misread photo of each of four others does not hide whose reading it is.
    people, codes = np.repeat(np.arange(5), 20), np.zeros((100, 1), int)
    codes[people == 0], codes[20::20] = 1, 1
    weights = row_weights_of_decoder(people, codes)
    assert not weights[codes[:, 0] == 1].any()
    # Where nobody is named, all of a reading's photos count.
    people, codes = np.full(6, -1), np.zeros((6, 1), int)
    np.testing.assert_allclose(row_weights_of_decoder(people, codes), np.ones(6))


def _walked(coordinates, attributions, centre, scale, recognised, max_steps=40):
    """The path of evasion, step by step: the published loop."""
    deviation, steps = coordinates - centre, []
    towards = -torch.sign(attributions) * torch.sign(deviation) * scale
    rank = attributions.abs().argsort(dim=1, descending=True).argsort(dim=1)
    for row in range(len(coordinates)):
        features, reach, taken = 0.0, 1.0, -1
        for step in range(1, max_steps + 1):
            features = float(step) if step <= 12 else features * 1.5
            reach = reach if step <= 12 else reach * 1.15
            pushed = deviation[row] + reach * towards[row] * (rank[row] < features)
            pushed = pushed * deviation[row].norm() / pushed.norm()
            if not recognised((centre + pushed)[None], torch.tensor([row]))[0]:
                taken = step
                break
        steps.append(taken)
    return torch.tensor(steps)


def test_evasion_finds_the_least_step_that_is_not_recognised():
    generator = torch.Generator().manual_seed(0)
    coordinates, attributions = torch.randn(2, 60, 48, generator=generator)
    centre, scale = torch.zeros(48), torch.ones(48)
    bar = torch.linspace(-0.9, 0.95, 60)
    rounds = []

    def recognised(moved, rows):
        rounds.append(len(rows))
        return torch.cosine_similarity(moved, coordinates[rows]) > bar[rows]

    moved, steps = evade(coordinates, attributions, centre, scale, recognised)
    looked_at = sum(rounds)
    walked = _walked(coordinates, attributions, centre, scale, recognised)
    assert (steps == walked).all()
    assert (steps == -1).any()
    assert len(steps.unique()) > 10
    found = steps > 0
    assert not recognised(moved[found], torch.arange(60)[found]).any()
    assert looked_at < 0.8 * torch.where(walked > 0, walked, 40).sum()


def test_regression_predicts_people_it_was_not_fitted_on():
    generator = np.random.default_rng(0)
    people, strangers = np.repeat(np.arange(60), 6), np.repeat(np.arange(20), 6)
    kinds = generator.standard_normal((8, 5))  # what embeddings say of latents

    def photos(of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = generator.standard_normal((of.max() + 1, 8))
        embeddings = codes[of] + 0.2 * generator.standard_normal((len(of), 8))
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        latents = codes[of] @ kinds + generator.standard_normal((len(of), 5))
        return latents.astype(np.float32), embeddings.astype(np.float32)

    def apart(latents: np.ndarray, of: np.ndarray) -> float:
        return np.stack([latents[of == k].mean(axis=0) for k in np.unique(of)]).var(axis=0).sum()

    latents, embeddings = photos(people)
    part = fit_identity_regression(latents, embeddings, people)
    others, seen = photos(strangers)
    left = part.residualize(others, seen)
    assert apart(left, strangers) < 0.2 * apart(others, strangers)
    alone = np.concatenate([part.residualize(others[[row]], seen[[row]]) for row in range(5)])
    np.testing.assert_array_equal(alone, left[:5])
    partly = seen.copy()
    partly[0, 3], partly[1, 0] = np.nan, np.inf
    np.testing.assert_array_equal(part.residualize(others, partly)[:2], others[:2])
    # Nor does it matter whether there are others.
    np.testing.assert_array_equal(part.residualize(others[:2], partly[:2]), others[:2])
    # Nobody known twice, nothing seen, or seen without rhyme or reason: nothing is foretold.
    by_chance = generator.standard_normal(embeddings.shape).astype(np.float32)
    nobody = np.full_like(embeddings, np.nan)
    for known, of in ((embeddings, np.arange(360)), (nobody, people), (by_chance, people)):
        assert fit_identity_regression(latents, known, of) is NO_REGRESSION
    assert NO_REGRESSION.residualize(others, seen) is others
    blind = embeddings.copy()
    blind[::6] = np.nan  # on one photo of each no face was found
    rows = np.arange(360) % 6 > 0
    for some, of in ((embeddings, np.where(rows, people, -1)), (blind, people)):
        again = fit_identity_regression(latents, some, of)
        expected = fit_identity_regression(latents[rows], embeddings[rows], people[rows])
        np.testing.assert_array_equal(again.slope, expected.slope)
        np.testing.assert_array_equal(again.person_offsets, expected.person_offsets)


def test_people_with_many_photos_have_an_offset_of_their_own():
    generator = np.random.default_rng(0)
    codes, own = generator.standard_normal((60, 8)), 0.7 * generator.standard_normal((60, 5))
    kinds = generator.standard_normal((8, 5))

    def photos(of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        embeddings = codes[of] + 0.2 * generator.standard_normal((len(of), 8))
        latents = codes[of] @ kinds + own[of] + generator.standard_normal((len(of), 5))
        return latents.astype(np.float32), normalize(embeddings).astype(np.float32)

    def agreeing(first: np.ndarray, second: np.ndarray) -> float:
        means = [x.reshape(60, -1, 5).mean(axis=1) for x in (first, second)]
        return float(np.mean((means[0] - means[0].mean(axis=0)) * means[1]))

    many, few, later = (np.repeat(np.arange(60), n) for n in (20, 4, 10))
    (latents, embeddings), (some, of_some) = photos(many), photos(few)
    (one, of_one), (other, of_other) = photos(later), photos(later)
    part = fit_identity_regression(latents, embeddings, many)
    foretold = dataclasses.replace(
        part, person_directions=part.person_directions[:0], person_offsets=part.person_offsets[:0]
    )
    left = [
        agreeing(p.residualize(one, of_one), p.residualize(other, of_other))
        for p in (part, foretold)
    ]
    assert left[0] < 0.6 * left[1] < 0.6 * agreeing(one, other)
    assert part.person_directions.shape == (60, 8)
    # As far as the mean of twenty photos is known, less what they all have in common.
    means = (latents - (embeddings - part.centre) @ part.slope).reshape(60, 20, 5).mean(axis=1)
    expected = (means - means.mean(axis=0)) * 20 / (20 + N_PHOTOS_HALF_WEIGHT)
    np.testing.assert_allclose(part.person_offsets, expected, atol=1e-4)
    # A stranger is not taken for the known person who looks like them most.
    stranger = normalize(np.array([[1.0] + 7 * [-1.0]])).astype(np.float32)
    nothing = np.zeros((1, 5), np.float32)
    strangers = [p.residualize(nothing, stranger) for p in (part, foretold)]
    assert (stranger @ part.person_directions.T).max() < part.unknown_threshold - 0.1
    np.testing.assert_allclose(*strangers, atol=0.05 * np.abs(part.person_offsets).max())
    anybody = dataclasses.replace(part, unknown_threshold=-1.0).residualize(nothing, stranger)
    assert np.abs(anybody - strangers[1]).max() > 0.1 * np.abs(part.person_offsets).max()
    # Half way from a known person's own photos to who looks most like them.
    alike = embeddings @ part.person_directions.T
    own_photos = np.arange(60) == many[:, None]
    nearest = np.where(own_photos, -1, alike).max(axis=1)
    np.testing.assert_allclose(
        part.unknown_threshold, (alike[own_photos].mean() + nearest.mean()) / 2, 1e-3
    )
    # Of four photos the mean is chance.
    assert not len(fit_identity_regression(some, of_some, few).person_directions)
