"""Attribution: agreement with shap's values, exactness where theory promises it, borders."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import shap
import torch
from conftest import OUTER_TORCH_STATES
from scipy.stats import spearmanr
from torch import nn

from edials._random import forked_torch
from edials.explain.attribution import (
    DeepExplainer,
    ExpectedGradients,
    PermutationExplainer,
    completeness_error,
    make_explainer,
    mean_absolute,
    path_gradients,
)
from edials.explain.identity_score import IdentityScore, RecogniserLogits, RowScore
from edials.networks.modules import Decoder, Recogniser

D, N, PEOPLE = 12, 4, 6


@pytest.fixture(scope="module")
def scene():
    """A random decoder and recogniser, latents and a background."""
    with forked_torch(0):
        decoder = Decoder((16, 16, 3), 2, D).eval()
        network = Recogniser((16, 16, 3), PEOPLE, 2, 8, depth=1).eval()
        # The convolutional path starts at zero; give it a say.
        nn.init.normal_(decoder.convolutional[-1].weight, std=0.3)
        head = nn.Linear(8, PEOPLE)
        nn.init.normal_(head.weight, std=3.0)
        latents, background = torch.randn(N, D).numpy(), torch.randn(20, D).numpy()

    candidates = torch.tensor([[0, 1], [2, 2], [3, 4], [5, 0]])
    logits = RecogniserLogits(SimpleNamespace(module_=network, head_=head))
    return IdentityScore(decoder, logits, candidates), latents, background


class Linear:
    """A score that is linear in the latents, with a direction of each row's own."""

    def __init__(self):
        self.weights = torch.from_numpy(np.random.default_rng(3).normal(size=(N, D))).float()

    def __call__(self, latents, rows):
        return (latents * self.weights.to(latents.device)[rows]).sum(1)


class OneNetwork:
    """The score of one network with one output, whichever the row."""

    def __init__(self, network):
        self.network = network

    def __call__(self, latents, rows):
        return self.network(latents)[:, 0]


@pytest.fixture
def relu_network():
    with forked_torch(1):
        return nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, 1))


def test_identity_score_is_the_log_odds_and_counts_a_repeated_candidate_once(scene):
    score, latents, _ = scene
    z, rows = torch.from_numpy(latents), torch.arange(N)
    with torch.no_grad():
        probabilities = score.logits(score.decoder(z)).double().softmax(1)
        own = torch.stack(
            [probabilities[i, list(set(score.candidates[i].tolist()))].sum() for i in range(N)]
        )
        expected = (own / (1 - own)).log()
        np.testing.assert_allclose(score(z, rows), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(RowScore(score, 2)(z)[2, 0], expected[2], rtol=1e-4, atol=1e-4)
        assert RowScore(score, 2)(z).shape == (N, 1)


def integrated(score, latents, background, steps=50):
    """The expectation itself, free of sampling: every background row, a fine grid of alphas."""
    alphas = torch.arange(0.5, steps).div(steps).repeat(len(background))
    base = torch.from_numpy(background).repeat_interleave(steps, 0)
    values = np.zeros(latents.shape)
    for row, latent in enumerate(torch.from_numpy(latents)):
        rows = torch.full((len(base),), row)
        products = path_gradients(score, base, latent.expand_as(base), alphas, rows)
        values[row] = products.double().mean(0)
    return values


def test_agrees_with_shaps_gradient_explainer_within_sampling_error(scene):
    score, latents, background = scene
    n_samples = 2000
    ours = ExpectedGradients(score, background, n_samples=n_samples, random_state=0)(latents).values
    theirs, errors = np.zeros((N, D)), np.zeros((N, D))
    state = np.random.get_state()  # noqa: NPY002
    for row in range(N):
        built = shap.GradientExplainer(RowScore(score, row), torch.from_numpy(background))
        values, variances = built.shap_values(
            torch.from_numpy(latents[row : row + 1]),
            nsamples=n_samples,
            rseed=0,
            return_variances=True,
        )
        theirs[row] = np.ravel(values)
        # shap returns var / sqrt(n); the standard error of a mean is sqrt(var / n).
        errors[row] = np.sqrt(np.ravel(variances) / np.sqrt(n_samples))
    np.random.set_state(state)  # noqa: NPY002

    exact = integrated(score, latents, background)
    pairs = {
        "ours - shap": (ours - theirs) / np.sqrt(2),
        "ours - exact": ours - exact,
        "shap - exact": theirs - exact,
    }
    # Pooled over rows: the features of a row share their draws, so a row alone scatters widely.
    for name, difference in pairs.items():
        z = difference / errors
        print(f"{name}: largest |z| {np.abs(z).max():.2f}, rms {np.sqrt((z**2).mean()):.2f}")
        assert np.abs(z).max() < 4, name
        assert np.sqrt((z**2).mean()) < 1.5, name


def test_completeness_error_falls_and_fifty_samples_already_rank(scene):
    score, latents, background = scene
    few = ExpectedGradients(score, background, random_state=0)(latents)
    many = ExpectedGradients(score, background, n_samples=2000, random_state=1)(latents)
    with torch.no_grad():
        spread = float(score(torch.from_numpy(background), torch.zeros(20, dtype=int)).std())
    errors = [completeness_error(e, score).mean() / spread for e in (few, many)]
    agreement = np.mean(
        [spearmanr(abs(a), abs(b)).statistic for a, b in zip(few.values, many.values, strict=True)]
    )
    print(
        f"completeness / spread of the score: 50: {errors[0]:.3f}, 2000: {errors[1]:.3f}; "
        f"Spearman 50 against 2000: {agreement:.3f}"
    )
    assert errors[1] < 0.1
    assert errors[1] < errors[0]
    assert agreement > 0.8


def test_linear_score_is_near_exact_for_ours_and_shaps():
    score = Linear()
    generator = np.random.default_rng(0)
    latents, background = generator.normal(size=(N, D)), generator.normal(size=(1, D))
    exact = (latents - background) * score.weights.numpy()
    for explainer in ("gradient", shap.GradientExplainer, ExpectedGradients):
        explained = make_explainer(explainer, score, background, random_state=0)(latents)
        np.testing.assert_allclose(explained.values, exact, atol=1e-4)
        np.testing.assert_allclose(completeness_error(explained, score), 0, atol=1e-4)
    # With a wider background only the draw of its rows is left as an error.
    background = generator.normal(size=(30, D))
    explained = ExpectedGradients(score, background, n_samples=4000, random_state=0)(latents)
    exact = (latents - background.mean(axis=0)) * score.weights.numpy()
    np.testing.assert_allclose(explained.values, exact, atol=0.15)


def test_deep_is_exact_on_relu_with_one_linear_output(relu_network, scene):
    _, latents, background = scene
    score = OneNetwork(relu_network)
    explained = DeepExplainer(score, background)(latents)
    np.testing.assert_allclose(completeness_error(explained, score), 0, atol=1e-5)
    state = np.random.get_state()  # noqa: NPY002
    theirs = shap.DeepExplainer(relu_network, torch.from_numpy(background))
    values = theirs.shap_values(torch.from_numpy(latents), check_additivity=False)
    np.random.set_state(state)  # noqa: NPY002
    np.testing.assert_allclose(explained.values, np.reshape(values, (N, D)), atol=1e-6)


def test_deep_hooks_the_networks_of_a_score_and_its_error_is_measured(scene):
    score, latents, background = scene
    assert {score.decoder, score.logits.network} <= set(RowScore(score, 0).modules())
    explained = DeepExplainer(score, background)(latents)
    reference = ExpectedGradients(score, background, n_samples=2000, random_state=0)(latents)
    with torch.no_grad():
        spread = float(score(torch.from_numpy(background), torch.zeros(20, dtype=int)).std())
    error = completeness_error(explained, score) / spread
    agreement = np.mean(
        [spearmanr(a, b).statistic for a, b in zip(explained.values, reference.values, strict=True)]
    )
    print(f"deep: completeness / spread {error.round(4)}; Spearman with gradients {agreement:.3f}")
    assert np.isfinite(error).all()
    assert agreement > 0.5


def test_deep_without_a_network_is_refused():
    with pytest.raises(ValueError, match=r"No nn\.Module was found in the score"):
        DeepExplainer(lambda z, rows: z.sum(1), np.zeros((2, D)))(np.ones((1, D)))


def test_deep_warns_of_a_module_that_shap_does_not_know_and_is_not_linear():
    network = nn.Sequential(nn.Linear(D, 4), nn.SiLU(), nn.Linear(4, 1))
    with pytest.warns(UserWarning, match=r"unrecognized nn\.Module: SiLU"):
        DeepExplainer(OneNetwork(network), np.zeros((2, D)))(np.ones((1, D)))


def test_permutation_is_exact_on_an_additive_function(scene):
    _, latents, background = scene

    def additive(z, rows):
        return (z**2).sum(1) + rows

    explained = PermutationExplainer(additive, background, n_groups=D, random_state=0)(latents)
    np.testing.assert_allclose(
        explained.values, latents**2 - (background**2).mean(axis=0), atol=1e-4
    )
    grouped = PermutationExplainer(additive, background, n_groups=5, random_state=0)(latents)
    blocks = np.array_split(np.arange(D), 5)
    for block in blocks:
        total = explained.values[:, block].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(
            grouped.values[:, block], total / len(block) + 0 * block, atol=1e-4
        )
    np.testing.assert_allclose(completeness_error(grouped, additive), 0, atol=1e-4)


@pytest.mark.parametrize("name", ["gradient", "deep", "permutation"])
def test_background_comes_from_the_rows_own_cell(name, relu_network):
    generator = np.random.default_rng(0)
    background = generator.normal(size=(30, D))
    cells = np.repeat(["a", "b", "c"], 10)
    latents = generator.normal(size=(3, D))
    groups = ["b", "c", "nowhere"]
    score = OneNetwork(relu_network)
    poisoned = background.copy()
    poisoned[cells == "a"] = 1e3

    def explain(rows):
        return make_explainer(
            name, score, rows, groups=groups, background_groups=cells, random_state=0
        )(latents)

    clean, changed = explain(background), explain(poisoned)
    np.testing.assert_array_equal(clean.values[:2], changed.values[:2])
    np.testing.assert_array_equal(clean.base_values[:2], changed.base_values[:2])
    # No face of that cell: all of them are its background.
    assert abs(clean.values[2] - changed.values[2]).max() > 1
    with torch.no_grad():
        expected = relu_network(torch.from_numpy(background[10:20]).float()).mean()
    np.testing.assert_allclose(clean.base_values[0], expected, atol=1e-5)


def test_base_values_are_the_mean_score_of_the_background(scene):
    score, latents, background = scene
    explained = ExpectedGradients(score, background, n_samples=2, batch_size=7)(latents)
    for row in range(N):
        with torch.no_grad():
            expected = RowScore(score, row)(torch.from_numpy(background)).mean()
        np.testing.assert_allclose(explained.base_values[row], expected, atol=1e-4)


@pytest.mark.parametrize("name", ["gradient", "permutation", shap.GradientExplainer])
def test_seed_alone_decides_and_global_state_is_untouched(name, scene):
    score, latents, background = scene
    settings = {"n_samples": 20} if name == "gradient" else {}
    if name == "permutation":
        settings = {"n_permutations": 1, "n_background": 3, "n_groups": 6}

    def explain(seed, **more):
        return make_explainer(name, score, background, random_state=seed, **settings, **more)(
            latents[:2]
        ).values

    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = explain(0)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(first, explain(0))
    np.testing.assert_allclose(first, explain(0, batch_size=7), atol=1e-5)
    assert abs(first - explain(1)).max() > 1e-3


def test_numpy_state_is_given_back_although_shap_reseeds(scene):
    score, latents, background = scene
    before = np.random.get_state()  # noqa: NPY002
    make_explainer(shap.GradientExplainer, score, background, random_state=0)(latents[:1])
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


@pytest.mark.parametrize("name", ["gradient", "deep", "permutation", shap.GradientExplainer])
@pytest.mark.parametrize("outer", OUTER_TORCH_STATES)
def test_torch_states_of_the_caller_have_no_effect(name, outer, scene):
    score, latents, background = scene
    expected = make_explainer(name, score, background, random_state=0)(latents)
    error = completeness_error(expected, score)
    with OUTER_TORCH_STATES[outer]():
        explained = make_explainer(name, score, background, random_state=0)(latents)
        np.testing.assert_array_equal(completeness_error(explained, score), error)
    np.testing.assert_array_equal(explained.values, expected.values)
    np.testing.assert_array_equal(explained.base_values, expected.base_values)


def test_read_only_input_tensors_and_modes(relu_network, scene):
    _, latents, background = scene
    score = OneNetwork(relu_network.train())
    frozen, frozen_background = latents.copy(), background.copy()
    frozen.flags.writeable = frozen_background.flags.writeable = False
    for name in ("gradient", "deep", "permutation"):
        first = make_explainer(name, score, frozen_background, random_state=0)(frozen)
        second = make_explainer(name, score, torch.from_numpy(background), random_state=0)(
            torch.from_numpy(latents)
        )
        np.testing.assert_array_equal(first.values, second.values)
        assert first.values.shape == (N, D)
        assert first.base_values.shape == (N,)
        assert first.feature_names[:2] == ["latent 0", "latent 1"]
    assert all(module.training for module in relu_network.modules())


def test_own_explainer_may_be_called_or_have_shap_values(relu_network, scene):
    _, latents, background = scene

    def own(module, rows):
        assert isinstance(rows, torch.Tensor)
        return lambda latent: shap.Explanation(values=latent.numpy() - rows.numpy().mean(axis=0))

    explained = make_explainer(own, OneNetwork(relu_network), background)(latents)
    np.testing.assert_allclose(explained.values, latents - background.mean(axis=0), atol=1e-5)


def test_wrong_settings_say_what_is_possible(relu_network):
    score = OneNetwork(relu_network)
    background = np.zeros((3, D))
    with pytest.raises(ValueError, match=r"explainer='lime'; expected one of \['deep', 'gradient'"):
        make_explainer("lime", score, background)
    built = shap.GradientExplainer(relu_network, torch.zeros(3, D))
    with pytest.raises(ValueError, match="not yet built on a model"):
        make_explainer(built, score, background)
    with pytest.raises(TypeError, match="n_sample"):
        make_explainer("gradient", score, background, n_sample=3)
    with pytest.raises(ValueError, match=r"latents have shape \(1, 5\), the background \(3, 12\)"):
        ExpectedGradients(score, background)(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="come together"):
        ExpectedGradients(score, background, groups=[0])(np.zeros((1, D)))
    with pytest.raises(ValueError, match=r"groups have shape \(2,\)"):
        ExpectedGradients(score, background, groups=[0, 1], background_groups=[0, 0, 1])(
            np.zeros((1, D))
        )


def test_mean_absolute_weighs_people_evenly():
    values = np.array([[1.0, -2.0], [3.0, 0.0], [-6.0, 4.0]])
    np.testing.assert_allclose(mean_absolute(values, ["a", "a", "b"]), [4.0, 2.5])


def test_gradient_step_does_not_mix_devices():
    """On "meta" a mixed-device call raises; nothing is computed."""
    decoder = Decoder((16, 16, 3), 2, D).eval().to("meta")
    network = Recogniser((16, 16, 3), PEOPLE, 2, 8, depth=1).eval().to("meta")
    rows = torch.zeros(5, dtype=torch.int64, device="meta")
    latents = torch.zeros(5, D, device="meta")
    # Candidates stay on the CPU: the score moves them.
    score = IdentityScore(decoder, network, torch.tensor([[0], [1]]))
    products = path_gradients(score, latents, latents + 1, torch.zeros(5, device="meta"), rows)
    assert products.shape == (5, D)
    assert products.device.type == "meta"


def test_shap_plots_draw_it(scene):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    score, latents, background = scene
    explained = ExpectedGradients(score, background, random_state=0)(latents)
    shap.plots.bar(explained, show=False)
    shap.plots.beeswarm(explained, show=False)
    plt.figure()
    shap.plots.waterfall(explained[0], show=False)
    assert plt.gcf().axes
    plt.close("all")
