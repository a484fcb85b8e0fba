"""SHAP of the identity decision over the latent features: what gives a person away.

Every explainer has shap's own interface: built on a score and a background, called on latents,
returns a ``shap.Explanation``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from ._random import stage_seeds

with warnings.catch_warnings():
    # shap 0.51 colours a map by a method that matplotlib 3.11 announces to deprecate.
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap


class IdentityScore:
    """Log-odds that the decoded picture shows one of the people a row might be.

    Parameters
    ----------
    decoder : callable Tensor (m, n_features) -> Tensor (m, 3, height, width)
    logits : callable Tensor (m, 3, height, width) -> Tensor (m, n_people)
    candidates : Tensor of shape (n, n_candidates), dtype int64
        The people that each explained row might be.
    """

    def __init__(
        self,
        decoder: Callable[[torch.Tensor], torch.Tensor],
        logits: Callable[[torch.Tensor], torch.Tensor],
        candidates: torch.Tensor,
    ):
        self.decoder, self.logits, self.candidates = decoder, logits, candidates

    def __call__(self, latents: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Score latents (m, n_features) that belong to explained rows (m,); shape (m,)."""
        logits = self.logits(self.decoder(latents))
        people = self.candidates.to(logits.device)[rows.to(logits.device)]
        others = logits.scatter(1, people, -torch.inf)
        return torch.logsumexp(logits.gather(1, people), 1) - torch.logsumexp(others, 1)

    def for_row(self, row: int) -> nn.Module:
        """A module latents (m, n_features) -> (m, 1) for one row, as shap's explainers take it."""
        return _OneRow(self, row)


class _OneRow(nn.Module):
    def __init__(self, score: Any, row: int):
        super().__init__()
        self.score, self.row = score, row
        # Registered, so that explainers which hook modules find those inside the score.
        parts = (getattr(score, "decoder", None), getattr(score, "logits", None))
        self.parts = nn.ModuleList([part for part in parts if isinstance(part, nn.Module)])

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        rows = torch.full((len(latents),), self.row, device=latents.device)
        return self.score(latents, rows).unsqueeze(1)


class ExpectedGradients:
    """Expected gradients (Erion et al. 2021), batched over images and samples.

    ``phi = mean over samples of (z - b) * d score / d z at b + alpha (z - b)`` with a background
    row ``b`` drawn for every image and sample, and alpha stratified over [0, 1].

    Parameters
    ----------
    score : callable (latents (m, d), rows (m,)) -> Tensor (m,)
    background : array-like of shape (n_background, d)
    n_samples : int, default=50
        Gradients per image.
    groups : array-like of shape (n,), optional
        Attribute cell of each explained row.
    background_groups : array-like of shape (n_background,), optional
        With both, a row's background are the rows of its own cell; all, where there are none.
    batch_size : int, default=256
    random_state : int, RandomState instance or None
    feature_names : list of str, optional

    References
    ----------
    Erion, Janizek, Sturmfels, Lundberg and Lee (2021), "Improving performance of deep learning
    models with axiomatic attribution priors and expected gradients", eq. 3.
    """

    def __init__(
        self,
        score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        background: ArrayLike,
        *,
        n_samples: int = 50,
        groups: ArrayLike | None = None,
        background_groups: ArrayLike | None = None,
        batch_size: int = 256,
        random_state: Any = None,
        feature_names: list[str] | None = None,
        device: torch.device | str = "cpu",
    ):
        self.score, self.n_samples, self.batch_size = score, n_samples, batch_size
        self.background = np.asarray(background, dtype=np.float32)
        self.groups, self.background_groups = groups, background_groups
        self.random_state, self.feature_names, self.device = random_state, feature_names, device

    def __call__(self, latents: ArrayLike) -> shap.Explanation:
        """Explain latents of shape (n, d)."""
        data = np.asarray(latents, dtype=np.float32)
        generator = np.random.default_rng(stage_seeds(self.random_state, "samples")["samples"])
        picks = self._background_rows(len(data), generator)
        jitter = generator.random((len(data), self.n_samples))
        alphas = ((np.arange(self.n_samples) + jitter) / self.n_samples).astype(np.float32)

        rows = np.repeat(np.arange(len(data)), self.n_samples)
        values = np.zeros_like(data)
        for start in range(0, len(rows), self.batch_size):
            part = slice(start, start + self.batch_size)
            row = rows[part]
            base = torch.from_numpy(self.background[picks.ravel()[part]]).to(self.device)
            here = torch.from_numpy(data[row]).to(self.device)
            alpha = torch.from_numpy(alphas.ravel()[part, None]).to(self.device)
            between = torch.lerp(base, here, alpha).requires_grad_()
            total = self.score(between, torch.from_numpy(row).to(self.device)).sum()
            (gradient,) = torch.autograd.grad(total, between)
            np.add.at(values, row, ((here - base) * gradient).detach().cpu().numpy())
        values /= self.n_samples
        base_values = _scores(self.score, self.background[picks[:, 0]], self.device)
        if self.groups is None:
            everything = np.zeros(len(self.background), dtype=np.int64)
            base_values = np.array(
                [
                    _scores(self.score, self.background, self.device, everything + row).mean()
                    for row in range(len(data))
                ]
            )
        return _explanation(values, base_values, data, self.feature_names)

    def _background_rows(self, n: int, generator: np.random.Generator) -> NDArray[np.int64]:
        picks = generator.integers(len(self.background), size=(n, self.n_samples))
        if self.groups is None or self.background_groups is None:
            return picks
        own, theirs = np.asarray(self.groups), np.asarray(self.background_groups)
        for group in np.unique(own):
            members = np.flatnonzero(theirs == group)
            if len(members):
                picks[own == group] = members[picks[own == group] % len(members)]
        return picks


class DeepExplainer:
    """shap's DeepExplainer (DeepLIFT), one output at a time.

    Exact on convolutions, batch normalisation and ReLU; the normalised embedding and the log-odds
    are not attributed exactly, so :func:`completeness_error` is to be read beside the values.

    Parameters
    ----------
    score : score with ``for_row``
    background : array-like of shape (n_background, d)
    """

    def __init__(self, score: Any, background: ArrayLike, **settings: Any):
        self.score, self.settings = score, settings
        self.background = np.asarray(background, dtype=np.float32)

    def __call__(self, latents: ArrayLike) -> shap.Explanation:
        """Explain latents of shape (n, d), row by row as shap's explainer must."""
        return _row_by_row(shap.DeepExplainer, self.score, self.background, latents, self.settings)


class PermutationExplainer:
    """shap's PermutationExplainer over groups of latent features, for scores without gradients.

    Parameters
    ----------
    score : callable (latents, rows) -> Tensor
    background : array-like of shape (n_background, d)
    n_groups : int, default=16
        Contiguous blocks of features; a block's value is spread evenly over its features.
    """

    def __init__(self, score: Any, background: ArrayLike, *, n_groups: int = 16, **settings: Any):
        self.score, self.n_groups, self.settings = score, n_groups, settings
        self.background = np.asarray(background, dtype=np.float32)

    def __call__(self, latents: ArrayLike) -> shap.Explanation:
        """Explain latents of shape (n, d)."""
        data = np.asarray(latents, dtype=np.float32)
        device = self.settings.get("device", "cpu")
        blocks = np.array_split(np.arange(data.shape[1]), min(self.n_groups, data.shape[1]))
        values, bases = np.zeros_like(data), np.zeros(len(data))
        seed = stage_seeds(self.settings.get("random_state"), "permutations")["permutations"]
        mean = self.background.mean(axis=0)
        for row, latent in enumerate(data):

            def value_of(switches: NDArray, row: int = row, latent: NDArray = latent) -> NDArray:
                mixed = np.repeat(mean[None], len(switches), axis=0)
                for column, block in enumerate(blocks):
                    on = switches[:, [column]] > 0.5
                    mixed[:, block] = np.where(on, latent[block], mean[block])
                return _scores(self.score, mixed, device, np.full(len(mixed), row))

            with _numpy_state_kept():
                explainer = shap.PermutationExplainer(
                    value_of, np.zeros((1, len(blocks))), seed=seed
                )
                explained = explainer(
                    np.ones((1, len(blocks))), max_evals=10 * len(blocks) + 10, silent=True
                )
            for column, block in enumerate(blocks):
                values[row, block] = explained.values[0, column] / len(block)
            bases[row] = float(np.ravel(explained.base_values)[0])
        return _explanation(values, bases, data, self.settings.get("feature_names"))


def make_explainer(
    explainer: Any, score: Any, background: ArrayLike, **settings: Any
) -> Callable[[ArrayLike], shap.Explanation]:
    """Build an explainer from its name, or from one of shap's classes.

    Parameters
    ----------
    explainer : {"gradient", "deep", "permutation"} or callable (module, background Tensor)
    score : score with ``for_row``
    background : array-like of shape (n_background, d)
    **settings
        Passed to our explainers.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    named: dict[str, Any] = {
        "gradient": ExpectedGradients,
        "deep": DeepExplainer,
        "permutation": PermutationExplainer,
    }
    if isinstance(explainer, str) and explainer in named:
        return named[explainer](score, background, **settings)
    if callable(explainer):
        rows = np.asarray(background, dtype=np.float32)
        return lambda latents: _row_by_row(explainer, score, rows, latents, settings)
    raise ValueError(
        f"explainer={explainer!r}; expected one of {sorted(named)}, or a class of shap's such as "
        f"shap.GradientExplainer."
    )


def completeness_error(explanation: shap.Explanation, score: Any) -> NDArray[np.float64]:
    """How far each row's values are from adding up: |sum(phi) - (score(z) - base)|, shape (n,)."""
    data = np.asarray(explanation.data, dtype=np.float32)
    reached = _scores(score, data, "cpu") - explanation.base_values
    return np.abs(explanation.values.sum(axis=1) - reached)


def mean_absolute(values: NDArray, people: ArrayLike) -> NDArray[np.float64]:
    """Mean |SHAP| of every feature, within each person first, then over people.

    Parameters
    ----------
    values : ndarray of shape (n, d)
    people : array-like of shape (n,)

    Returns
    -------
    ndarray of shape (d,)
    """
    codes = np.unique(np.asarray(people), return_inverse=True)[1]
    sums = np.zeros((codes.max() + 1, values.shape[1]))
    np.add.at(sums, codes, np.abs(values))
    return (sums / np.bincount(codes)[:, None]).mean(axis=0)


def _scores(
    score: Any, latents: NDArray, device: torch.device | str, rows: NDArray | None = None
) -> NDArray[np.float64]:
    rows = np.arange(len(latents)) if rows is None else rows
    parts = []
    with torch.no_grad():
        for start in range(0, len(latents), 256):
            part = slice(start, start + 256)
            batch = torch.from_numpy(np.ascontiguousarray(latents[part], np.float32)).to(device)
            parts.append(score(batch, torch.from_numpy(rows[part]).to(device)).cpu().double())
    return torch.cat(parts).numpy()


def _row_by_row(
    explainer: Any, score: Any, background: NDArray, latents: ArrayLike, settings: dict[str, Any]
) -> shap.Explanation:
    device = settings.get("device", "cpu")
    data = np.asarray(latents, dtype=np.float32)
    behind = torch.from_numpy(background).to(device)
    values, bases = np.zeros_like(data), np.zeros(len(data))
    with _numpy_state_kept(), warnings.catch_warnings():
        # Unflatten and the like are linear, so the plain gradient that shap falls back to is exact.
        warnings.filterwarnings("ignore", message="unrecognized nn.Module")
        for row in range(len(data)):
            module = score.for_row(row).eval()
            built = explainer(module, behind)
            extra = {"check_additivity": False} if explainer is shap.DeepExplainer else {}
            latent = torch.from_numpy(data[row : row + 1]).to(device)
            values[row] = np.asarray(built.shap_values(latent, **extra)).reshape(-1)
            bases[row] = _scores(score, background, device, np.full(len(background), row)).mean()
    return _explanation(values, bases, data, settings.get("feature_names"))


def _explanation(
    values: NDArray, base_values: NDArray, data: NDArray, names: list[str] | None
) -> shap.Explanation:
    names = names or [f"latent {feature}" for feature in range(data.shape[1])]
    return shap.Explanation(
        values=values.astype(np.float64),
        base_values=np.asarray(base_values, dtype=np.float64),
        data=data,
        feature_names=names,
    )


@contextlib.contextmanager
def _numpy_state_kept() -> Iterator[None]:
    """shap's explainers reseed NumPy's global generator; give the caller's state back."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
