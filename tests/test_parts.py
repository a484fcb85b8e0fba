"""The networks, their trainers, and the order of the rooms."""

import ast
import dataclasses
import hashlib
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.preprocessing import normalize
from torch import nn

import edials
from edials import AdversarialAutoencoder, AttributeClassifier, IdentityClassifier
from edials._random import image_keys, keyed_normal
from edials._validation import to_tensor
from edials.exceptions import InvalidImageError, InvalidLabelsError, UnreadableImageError
from edials.explain.expected_gradients import path_gradients
from edials.explain.identity_score import IdentityScore, RecogniserLogits, RotatedDecoder
from edials.images import ImageReader, write_image
from edials.latent.identity_basis import HALF_KNOWN, fit_identity_basis, picture_metric, raw_basis
from edials.latent.identity_regression import NO_REGRESSION, fit_identity_regression
from edials.latent.surrogates import choose, fit_prior
from edials.metrics.ssim import dissimilarity_metric, structural_similarity
from edials.models.surrogate_decoder import _row_weights as row_weights_of_decoder
from edials.networks.adversarial import AdversarialNet, LossWeights, features_of
from edials.networks.inference import (
    for_input_gradients,
    forget_twins,
    has_bfloat16,
    inference_copy,
    run_in_batches,
)
from edials.networks.modules import AutoencoderNetwork, Backbone, Decoder, LongLinear, Recogniser
from edials.networks.training import TrainingLength
from edials.release.evasion import evade


def test_no_device_is_named():
    """Only ``resolve_device`` may name an accelerator; everything else follows ``device=``."""
    found = []
    for path in Path(edials.__file__).parent.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name != "resolve_device":
                for node in ast.walk(function):
                    literal = isinstance(node, ast.Constant) and node.value in ("cuda", "mps")
                    if literal or getattr(node, "attr", "") == "cuda":
                        found.append(f"{path.name}:{node.lineno}")
    assert not found


def test_everything_follows_its_device():
    """On a meta device a tensor left on the processor is an error: no accelerator is needed."""
    device = torch.device("meta")
    with device:
        network = AutoencoderNetwork((32, 32, 3), 8, 16, 4)
        recogniser = Recogniser((32, 32, 3), 5, 8, 16)
        images, codes = torch.empty(4, 3, 32, 32), torch.empty(4, 2, dtype=torch.int64)
        weights = [torch.ones(2), torch.ones(2)]
    net = AdversarialNet(
        network,
        terms=LossWeights(10.0, 0.2, 0.01, 0.05, 0.2),
        features=features_of(SimpleNamespace(module_=recogniser), device),
        sizes=[2, 2],
        class_weights=weights,
        device=device,
    ).initialize()
    assert net.train_step((images, codes))["loss"].is_meta
    assert network.encoder.linear.weight.grad.is_meta

    basis = raw_basis(np.zeros((1, 16), np.float32))
    with device:
        head = nn.Linear(16, 5)
        candidates, rows = torch.empty(4, 2, dtype=torch.int64), torch.empty(4, dtype=torch.int64)
    logits = RecogniserLogits(SimpleNamespace(module_=recogniser, head_=head))
    score = IdentityScore(RotatedDecoder(network.decoder, basis), logits, candidates)
    coordinates = basis.rotate(network.encoder(images)).detach()
    products = path_gradients(score, coordinates, coordinates, coordinates[:, 0], rows)
    assert products.is_meta
    assert to_tensor(np.zeros((2, 32, 32, 3), np.uint8), device).is_meta
    with pytest.raises(RuntimeError, match="meta"):  # so a mixed-up device is found
        AutoencoderNetwork((32, 32, 3), 8, 16)(images)


@pytest.mark.parametrize("shape", [(32, 32, 3), (48, 64, 3), (128, 128, 3)])
def test_any_multiple_of_16(shape):
    network = AutoencoderNetwork(shape, 8, 16)
    assert network(torch.rand(2, 3, *shape[:2])).shape == (2, 3, *shape[:2])


def test_classifiers_see_large_pictures_smaller():
    pictures = torch.rand(2, 3, 256, 288)
    large = Backbone((256, 288, 3), 8, 16).eval()
    small = Backbone((128, 144, 3), 8, 16).eval()
    small.load_state_dict(large.state_dict())
    shrunk = nn.functional.avg_pool2d(pictures, 2)
    torch.testing.assert_close(large(pictures), small(shrunk))
    for ours, theirs in zip(large.feature_maps(pictures), small.feature_maps(shrunk), strict=True):
        torch.testing.assert_close(ours, theirs)
    # Half of 272 cannot be halved four times, so it is seen whole.
    assert Backbone((272, 272, 3), 8, 16).eval()(torch.rand(1, 3, 272, 272)).shape == (1, 16)


@pytest.mark.parametrize("n_rows", [31, 32])
def test_long_linear_is_linear(n_rows, monkeypatch):
    long = LongLinear(12, 5)
    plain = nn.Linear(12, 5)
    plain.load_state_dict(long.state_dict())
    rows = torch.rand(n_rows, 12)
    expected, seen, multiply = plain(rows), [], nn.functional.linear
    monkeypatch.setattr(
        nn.functional, "linear", lambda x, *rest: seen.append(len(x)) or multiply(x, *rest)
    )
    torch.testing.assert_close(long(rows), expected)
    assert seen == [31 if n_rows == 31 else 33]  # never 32
    assert type(Backbone((32, 32, 3), 8, 16).project) is nn.Linear
    assert type(Backbone((368, 368, 3), 8, 16).project) is LongLinear


def test_weights_converted_for_inference_serve_gradients():
    network, rows = nn.Linear(4, 3), torch.rand(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        run_in_batches(network, rows, 2, "bfloat16")
        asked = rows.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(asked).sum(), asked)
    assert gradient.shape == rows.shape


def test_a_twin_that_was_forgotten_is_made_of_today_s_weights():
    network = Decoder((32, 32, 3), 4, 8).eval()
    rows = torch.rand(2, 8)
    with torch.no_grad():
        before = inference_copy(network)(rows)
        for weight in network.parameters():
            weight.data.add_(0.5)  # which torch does not count
        forget_twins(nn.Sequential(network))
        after = inference_copy(network)(rows)
        torch.testing.assert_close(after, network(rows), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(after, before)


def test_features_are_those_of_the_classifier():
    network = Backbone((32, 32, 3), 8, 16)
    images = torch.rand(8, 3, 32, 32)
    for _ in range(3):  # so that batch normalisation has something to say
        network(images)
        nn.init.normal_(network.stages[3].body[-1].weight)
    network.eval()
    classifier = SimpleNamespace(module_=SimpleNamespace(backbone=network))
    features = features_of(classifier, torch.device("cpu"))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in features.stages.modules())
    pairs = zip(features.feature_maps(images), network.feature_maps(images), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "rows"),
    [
        (Recogniser((32, 32, 3), 5, 8, 16), torch.rand(4, 3, 32, 32)),
        (Recogniser((256, 288, 3), 5, 8, 16), torch.rand(4, 3, 256, 288)),
        (Decoder((32, 32, 3), 8, 16), torch.randn(4, 16)),
    ],
)
def test_networks_evaluate_without_what_can_be_folded(network, rows):
    for weight in [*network.parameters(), *network.buffers()]:
        if weight.is_floating_point():
            nn.init.uniform_(weight, 0.1, 0.3)
    assert inference_copy(network) is network  # in training every batch is normalised for itself
    network.eval()
    with torch.inference_mode():
        twin = inference_copy(network)
        torch.testing.assert_close(twin(rows), network(rows))
    kinds = [type(part) for part in twin.modules()]
    assert nn.AvgPool2d not in kinds
    assert kinds.count(nn.BatchNorm2d) == (type(network) is Decoder)  # that of its first features
    assert inference_copy(network) is twin
    asked = rows.requires_grad_()
    gradients = [torch.autograd.grad(net(asked).sum(), asked)[0] for net in (twin, network)]
    torch.testing.assert_close(*gradients)
    with torch.no_grad():
        next(part for part in network.modules() if isinstance(part, nn.BatchNorm2d)).bias.add_(1)
    torch.testing.assert_close(inference_copy(network)(rows), network(rows))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = inference_copy(network)
        torch.testing.assert_close(low(rows), network(rows), rtol=0.05, atol=0.05)
        assert low is inference_copy(network)
        torch.autograd.grad(low(asked).sum(), asked)
    assert {w.dtype for w in low.parameters() if w.ndim == 4} == {torch.bfloat16}
    assert type(inference_copy(nn.Identity())) is nn.Identity


def test_a_network_for_gradients_to_its_input_asks_none_for_its_weights():
    class AtFullPrecision(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3))

        def forward(self, rows):
            with torch.autocast("cpu", enabled=False):
                return self.layers(rows.float())

    network, rows = AtFullPrecision().eval(), torch.randn(5, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        copied = for_input_gradients(network)
        gradients = [torch.autograd.grad(net(rows).sum(), rows)[0] for net in (network, copied)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    assert copied.layers[0].weight.data_ptr() == network.layers[0].weight.data_ptr()
    assert all(weight.requires_grad for weight in network.parameters())
    assert not any(weight.requires_grad for weight in copied.parameters())
    network.lock = threading.Lock()
    assert for_input_gradients(network) is network
    ours = Decoder((32, 32, 3), 8, 16).eval()
    assert for_input_gradients(ours) is inference_copy(ours)


def test_training_is_as_long_as_the_data_ask():
    length = TrainingLength(steps=1000, fewest=6, most=80)
    assert length.epochs(64 * 20, 64) == 50
    assert length.epochs(10, 64) == 80
    assert length.epochs(10**6, 64) == 6
    assert not has_bfloat16(torch.device("meta"))


def test_progress_only_when_asked(faces, capfd):
    model = AttributeClassifier("tiny", max_epochs=1, random_state=0)
    model.fit(faces.images, faces.attributes["age"])
    assert capfd.readouterr() == ("", "")
    clone(model).set_params(verbose=1).fit(faces.images, faces.attributes["age"])
    assert "attribute classifier: 100%" in capfd.readouterr().err


def test_autoencoder(faces):
    model = AdversarialAutoencoder("tiny", max_epochs=3, random_state=0)
    model.fit(faces.images, faces.attributes)
    assert model.score(faces.images) > 18
    assert abs(model.encode(faces.images).mean()) < 0.5
    again = clone(model).fit(faces.images, faces.attributes)
    np.testing.assert_array_equal(again.encode(faces.images), model.encode(faces.images))
    with pytest.raises(ValueError, match="expected \\(n_samples, 48\\)"):
        model.decode(np.zeros((2, 3)))
    assert model.transform(faces.images[:2]).shape == (2, 48)
    with pytest.raises(ValueError, match="size='huge'"):
        AdversarialAutoencoder("huge").fit(faces.images)


def test_recogniser_knows_people_and_enrols_new_ones(faces):
    turn = np.arange(100) % 10 < 7
    model = IdentityClassifier("tiny", max_epochs=40, patience=99, random_state=0)
    model.fit(faces.images[turn], faces.identity[turn])
    assert model.score(faces.images[~turn], faces.identity[~turn]) > 0.5
    norms = np.linalg.norm(model.embed(faces.images[:5]), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(faces.images[:5]).sum(axis=1), 1)
    assert model.threshold(0.001) >= model.threshold(0.1)
    model.enrol(faces.images[:20], faces.identity[:20])
    assert len(model.classes_) == 2
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.threshold(2)
    with pytest.raises(InvalidLabelsError, match="at least two people"):
        clone(model).fit(faces.images[:5], np.zeros(5, int))


def test_attribute_classifier(faces):
    model = AttributeClassifier("tiny", max_epochs=2, random_state=0)
    model.fit(faces.images, faces.attributes["gender"].to_numpy())
    assert model.predict_proba(faces.images[:3]).shape == (3, 2)
    assert set(model.predict(faces.images)) <= set(model.classes_)
    assert 0 <= model.score(faces.images, faces.attributes["gender"]) <= 1
    with pytest.raises(InvalidLabelsError, match="continuous"):
        model.fit(faces.images, np.linspace(0, 1, 100))
    with pytest.raises(InvalidLabelsError, match="at least two classes"):
        model.fit(faces.images, np.zeros(100, int))


def test_structural_similarity_limits():
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(structural_similarity(images, images), torch.ones(3))
    assert structural_similarity(images, 1 - images).max() < 0


def test_draws_do_not_repeat_what_is_replaced_of_fitted_photos():
    """Independent features foretell nothing of each other, in fitted photos as in new ones."""
    generator = np.random.default_rng(0)
    rows, nothing = generator.standard_normal((120, 256)), np.empty((120, 0), int)
    mask = np.arange(256) < 208
    draw = fit_prior(rows, nothing, [], np.arange(120)).given(mask)
    expected = draw(rows, nothing, np.zeros_like(rows))[:, mask]
    own = np.corrcoef(expected.ravel(), rows[:, mask].ravel())[0, 1]
    assert abs(own) < 0.2


def test_basis_gives_back_last_what_tells_people_apart():
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 8)
    latents = generator.standard_normal((480, 6))
    latents[:, 2] += 5 * generator.standard_normal(60)[people]
    visible = np.diag([1.0, 1.0, 0.1, 1.0, 30.0, 1.0])
    basis = fit_identity_basis(latents, people, picture=visible)
    # The most visible feature is given back first, the one that names people last.
    assert np.abs(basis.forward[:, -1]).argmax() == 4
    assert np.abs(basis.forward[:, 0]).argmax() == 2
    assert basis.telling[0] > 10 > 1 > np.abs(basis.telling[1:]).max()
    rows = torch.from_numpy(latents.astype(np.float32))
    torch.testing.assert_close(basis.unrotate(basis.rotate(rows)), rows, atol=1e-3, rtol=1e-3)
    coordinates = basis.rotate(rows).numpy()
    np.testing.assert_allclose(np.cov(coordinates.T), np.eye(6), atol=0.1)


def test_dissimilarity_metric_is_what_similarity_loses():
    generator = np.random.default_rng(0)
    pictures = torch.from_numpy(generator.random((1, 3, 24, 20)))
    changes = torch.from_numpy(generator.standard_normal((4, 3, 24, 20)))
    mixture = torch.from_numpy(generator.standard_normal(4))
    metric = dissimilarity_metric(changes, pictures)
    changed = pictures + 1e-4 * torch.einsum("i,ichw->chw", mixture, changes)
    lost = (1 - structural_similarity(pictures, changed)) / 1e-8
    torch.testing.assert_close(mixture @ metric @ mixture, lost[0], rtol=1e-3, atol=0)
    # Weights are averaged over pictures, a black one among them.
    black = torch.zeros_like(pictures)
    both = dissimilarity_metric(changes, torch.cat([pictures, black]))
    torch.testing.assert_close(both, (metric + dissimilarity_metric(changes, black)) / 2)


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
    draw = prior.given(np.ones(3, dtype=bool), **plain)
    noise = generator.standard_normal((4000, 3))
    draws = draw(np.zeros_like(noise), np.ones((4000, 1), int), noise)
    np.testing.assert_allclose(draws.mean(0), [0, 0, 4], atol=0.3)
    np.testing.assert_allclose(draws.std(0), [1, 2, 3], rtol=0.1)
    assert prior.given(np.ones(3, dtype=bool), **plain) is draw  # worked out once
    assert prior.given(np.array([True, True, False]), **plain) is not draw
    assert choose(np.array([7, 9, 8, *range(7)]), 0.3).nonzero()[0].tolist() == [7, 8, 9]


def test_an_image_has_the_numbers_of_a_generator_of_its_own():
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    drawn = keyed_normal(image_keys(b"key", images), (2, 3))
    for row in (0, 3):
        digest = hashlib.blake2b(images[row].tobytes(), key=b"key", digest_size=16).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))
        np.testing.assert_array_equal(drawn[row], generator.standard_normal((2, 3), np.float32))


def test_draws_follow_what_is_given_back_and_nothing_else():
    generator = np.random.default_rng(0)
    codes = generator.integers(2, size=(4000, 1))
    given = generator.standard_normal(4000) + codes[:, 0]
    other = generator.standard_normal(4000)
    rows = np.column_stack([2 * given + codes[:, 0] + 0.5 * other, given])
    prior = fit_prior(rows, codes, [2], np.arange(4000))
    mask = np.array([True, False])
    draw = prior.given(mask, consistency=0.0, temperature=1.0)
    noise = generator.standard_normal((4000, 2))
    drawn = draw(rows, codes, noise)
    np.testing.assert_array_equal(drawn[:, 1], rows[:, 1].astype(np.float32))
    expected = 2 * given + codes[:, 0]
    np.testing.assert_allclose((drawn[:, 0] - expected).std(), 0.5, rtol=0.1)
    np.testing.assert_allclose((drawn[:, 0] - expected).mean(), 0, atol=0.05)
    hidden = rows.copy()
    hidden[:, 0] = 99.0
    np.testing.assert_array_equal(draw(hidden, codes, noise), drawn)


def test_files(faces, tmp_path):
    path = write_image(faces.images[0], tmp_path)
    images = ImageReader(size=32).fit([path]).transform([path])
    np.testing.assert_array_equal(images[0], faces.images[0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        ImageReader().transform([path, tmp_path / "bad.png"])
    with pytest.raises(InvalidImageError, match="size=0"):
        ImageReader(size=0).fit([])


def test_a_turned_head_is_given_back_with_any_feature_only():
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
        draw = prior.given(mask, yaw_emphasis=1.0)
        drawn = draw(np.zeros((2, 6)), nothing, noise, asked)
        assert (drawn[1, 0] - drawn[0, 0] > 1) == moves
        np.testing.assert_allclose(drawn[0, 1:], drawn[1, 1:], atol=0.5)
    # No photo is turned farther than 2.5 standard deviations: a draw for one would be a ghost.
    far = turns.mean() + turns.std() * np.array([2.5, 10.0])
    drawn = prior.given(np.arange(6) < 5)(np.zeros((2, 6)), nothing, noise, far)
    np.testing.assert_array_equal(*drawn)


def test_draws_of_a_class_of_few_people_do_not_look_like_these():
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 10)
    looks = 2 * generator.standard_normal((40, 12))
    rows = looks[people] + generator.standard_normal((400, 12))
    alone = (people == 7).astype(np.int64)[:, None]

    def drawn(codes, people):
        draw = fit_prior(rows, codes, [2], people).given(np.ones(12, bool))
        return draw(np.zeros((1, 12)), np.array([[1]]), np.zeros((1, 12)))[0]

    def likeness(made):
        return np.corrcoef(made, looks[7])[0, 1]

    # As one of many, for the crowd counts each photo as a person of its own.
    assert likeness(drawn(alone, np.full(400, -1))) > 0.9
    everybody = drawn(np.zeros((400, 1), np.int64), people)
    np.testing.assert_allclose(drawn(alone, people), everybody, atol=0.3)


def test_surrogate_decoder_does_not_learn_faces_of_readings_that_few_share():
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


def test_person_part_is_what_the_recogniser_foretells():
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
        np.testing.assert_array_equal(again.beyond, expected.beyond)


def test_of_people_with_many_photos_what_is_not_foretold_is_taken_off_too():
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
    foretold = dataclasses.replace(part, known=part.known[:0], beyond=part.beyond[:0])
    left = [
        agreeing(p.residualize(one, of_one), p.residualize(other, of_other))
        for p in (part, foretold)
    ]
    assert left[0] < 0.6 * left[1] < 0.6 * agreeing(one, other)
    assert part.known.shape == (60, 8)
    # As far as the mean of twenty photos is known, less what they all have in common.
    means = (latents - (embeddings - part.centre) @ part.slope).reshape(60, 20, 5).mean(axis=1)
    expected = (means - means.mean(axis=0)) * 20 / (20 + HALF_KNOWN)
    np.testing.assert_allclose(part.beyond, expected, atol=1e-4)
    # A stranger is not taken for the known person who looks like them most.
    stranger = normalize(np.array([[1.0] + 7 * [-1.0]])).astype(np.float32)
    nothing = np.zeros((1, 5), np.float32)
    strangers = [p.residualize(nothing, stranger) for p in (part, foretold)]
    assert (stranger @ part.known.T).max() < part.nobody - 0.1
    np.testing.assert_allclose(*strangers, atol=0.05 * np.abs(part.beyond).max())
    anybody = dataclasses.replace(part, nobody=-1.0).residualize(nothing, stranger)
    assert np.abs(anybody - strangers[1]).max() > 0.1 * np.abs(part.beyond).max()
    # Half way from a known person's own photos to who looks most like them.
    alike = embeddings @ part.known.T
    own_photos = np.arange(60) == many[:, None]
    nearest = np.where(own_photos, -1, alike).max(axis=1)
    np.testing.assert_allclose(part.nobody, (alike[own_photos].mean() + nearest.mean()) / 2, 1e-3)
    # Of four photos the mean is chance.
    assert not len(fit_identity_regression(some, of_some, few).known)
