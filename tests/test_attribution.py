"""SHAP values agree with what is known exactly, and with shap's own."""

import numpy as np
import pytest
import shap
import torch
from torch import nn

from edials.attribution import (
    ExpectedGradients,
    IdentityScore,
    completeness_error,
    make_explainer,
    mean_absolute,
)


def a_score(seed=0, hidden=True):
    generator = torch.Generator().manual_seed(seed)

    def layer(n_in, n_out):
        made = nn.utils.skip_init(nn.Linear, n_in, n_out)
        with torch.no_grad():
            made.weight.copy_(torch.randn(n_out, n_in, generator=generator) / n_in**0.5)
            made.bias.zero_()
        return made

    decoder = nn.Sequential(layer(6, 12), nn.ReLU()) if hidden else nn.Identity()
    logits = layer(12 if hidden else 6, 2)
    return IdentityScore(decoder, logits, torch.zeros(4, 1, dtype=torch.int64))


@pytest.fixture
def latents():
    return np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


@pytest.fixture
def background():
    return np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32)


def test_linear_score_is_exact_for_every_explainer(latents, background):
    score = a_score(hidden=False)
    weight = (score.logits.weight[0] - score.logits.weight[1]).detach().numpy()
    exact = weight * (latents - background.mean(0))
    settings = {"gradient": {"n_samples": 4000, "random_state": 0}, "deep": {}}
    settings["permutation"] = {"n_groups": 6, "random_state": 0}
    for name, extra in settings.items():
        found = make_explainer(name, score, background, **extra)(latents)
        np.testing.assert_allclose(found.values, exact, atol=0.06, err_msg=name)


def test_agrees_with_shap_and_adds_up(latents, background):
    score = a_score()
    ours = ExpectedGradients(score, background, n_samples=3000, random_state=0)(latents)
    theirs = make_explainer(lambda module, behind: _Gradient(module, behind), score, background)(
        latents
    )
    assert np.corrcoef(ours.values.ravel(), theirs.values.ravel())[0, 1] > 0.98
    assert completeness_error(ours, score).max() < 0.1


class _Gradient(shap.GradientExplainer):
    def shap_values(self, X, **kwargs):
        return super().shap_values(X, nsamples=2000, rseed=0)


def test_background_of_the_same_cell(latents, background):
    groups = np.arange(40) % 2
    far = background + 50 * groups[:, None].astype(np.float32)
    both = ExpectedGradients(
        a_score(),
        far,
        groups=np.zeros(4),
        background_groups=groups,
        n_samples=30,
        random_state=0,
    )(latents)
    near = ExpectedGradients(a_score(), far[groups == 0], n_samples=30, random_state=0)(latents)
    assert np.abs(both.values).max() < 3 * np.abs(near.values).max()


def test_seeds_and_batches(latents, background):
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002

    def run(seed, batch_size=256):
        return ExpectedGradients(a_score(), background, random_state=seed, batch_size=batch_size)(
            latents
        ).values

    np.testing.assert_array_equal(run(0), run(0))
    np.testing.assert_allclose(run(0), run(0, 7), atol=1e-5)
    assert (run(0) != run(1)).any()
    make_explainer("permutation", a_score(), background)(latents)
    np.testing.assert_array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.random.get_rng_state())


def test_mean_over_people_and_unknown_names(background):
    values = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, -5.0]])
    np.testing.assert_array_equal(mean_absolute(values, ["a", "a", "b"]), [1.0, 2.5])
    with pytest.raises(ValueError, match="explainer='lime'"):
        make_explainer("lime", a_score(), background)
