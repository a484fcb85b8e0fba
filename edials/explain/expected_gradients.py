"""Expected gradients, batched over images and samples, and what all explainers share."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._random import stage_seeds, torch_defaults
from .._validation import resolve_device
from ..networks.inference import autocast
from .identity_score import IdentityScore, device_of, evaluation_mode, score_latents

with warnings.catch_warnings():
    # shap 0.51 colours its maps by a call that matplotlib 3.11 means to retire; may go when shap
    # uses Colormap.with_extremes.
    warnings.filterwarnings("ignore", "The set_(bad|over|under|extremes) function will be depre")
    import shap


@dataclass(eq=False)
class Explainer:
    """Settings and checks that all explainers share; a row's background is its group's."""

    score: Any
    background: Any
    _: KW_ONLY
    groups: ArrayLike | None = None
    background_groups: ArrayLike | None = None
    batch_size: int = 256
    random_state: Any = None
    feature_names: list[str] | None = None
    device: torch.device | str | None = None

    def __post_init__(self) -> None:
        self.background = as_array(self.background)
        self._device = device_of(self.score) if self.device is None else resolve_device(self.device)

    @torch_defaults()
    def __call__(self, latents: ArrayLike) -> shap.Explanation:
        """Explain latents of shape (n, d).

        Values have shape (n, d); base values (n,) are the mean score of each row's background.
        """
        data = as_array(latents)
        if data.ndim != 2 or self.background.shape[1:] != data.shape[1:] or not data.size:
            raise ValueError(
                f"latents have shape {data.shape}, the background {self.background.shape}; "
                f"expected (n, d) and (n_background, d), with at least one row."
            )
        background_rows = self._background_rows(len(data))
        seed = stage_seeds(self.random_state, "samples")["samples"]
        with evaluation_mode(self.score):
            values, base_values = self._explain(data, background_rows, seed)
        names = self.feature_names or [f"latent {feature}" for feature in range(data.shape[1])]
        return shap.Explanation(
            values=values, base_values=base_values, data=data, feature_names=list(names)
        )

    def _background_rows(self, n: int) -> list[NDArray[np.int64]]:
        """Background rows of every explained row."""
        everyone = np.arange(len(self.background))
        if self.groups is None or self.background_groups is None:
            if self.groups is not None or self.background_groups is not None:
                raise ValueError("groups and background_groups come together; got one of them.")
            return [everyone] * n
        groups, of_background = np.asarray(self.groups), np.asarray(self.background_groups)
        if groups.shape != (n,) or of_background.shape != everyone.shape:
            raise ValueError(
                f"groups have shape {groups.shape}, background_groups {of_background.shape}; "
                f"expected ({n},) and {everyone.shape}."
            )
        rows = {group: np.flatnonzero(of_background == group) for group in set(groups.tolist())}
        return [rows[group] if len(rows[group]) else everyone for group in groups.tolist()]

    def _explain(
        self, data: NDArray, background_rows: list[NDArray], seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        raise NotImplementedError

    def _evaluate(self, latents: NDArray, rows: NDArray) -> NDArray[np.float64]:
        return score_latents(self.score, latents, rows, self._device, self.batch_size)

    def _base_values(self, background_rows: list[NDArray]) -> NDArray[np.float64]:
        """Mean score of each row's background, decoding the background once where possible."""
        if not isinstance(self.score, IdentityScore):
            return np.array(
                [
                    self._evaluate(self.background[part], np.full(len(part), row)).mean()
                    for row, part in enumerate(background_rows)
                ]
            )
        with torch.no_grad():
            batches = torch.from_numpy(self.background).split(self.batch_size)
            outputs = torch.cat([self.score.outputs(batch.to(self._device)) for batch in batches])
            means = []
            for row, part in enumerate(background_rows):
                rows = torch.full((len(part),), row, device=outputs.device)
                selected = outputs[torch.from_numpy(part).to(outputs.device)]
                means.append(float(self.score.compare(selected, rows).double().mean()))
        return np.array(means)


@dataclass(eq=False, kw_only=True)
class ExpectedGradients(Explainer):
    """Expected gradients (Erion et al. 2021), batched over images and samples.

    ``phi = mean over samples of (z - b) * d score / d z at b + alpha (z - b)`` with a background
    row ``b`` drawn for every image and sample, and alpha stratified over [0, 1]. shap's
    GradientExplainer estimates the same image by image, with alpha drawn freely.

    Parameters
    ----------
    score : callable (latents (m, d), rows (m,)) -> Tensor (m,)
    background : array-like of shape (n_background, d)
    n_samples : int, default=50
        Gradients per image.
    values_only : bool, default=False
        Without base values, which are NaN then; and every batch is filled, so that not even the
        last bit of a value depends on the number of rows.
    groups : array-like of shape (n,), optional
        Attribute cell of each explained row.
    background_groups : array-like of shape (n_background,), optional
        With both, a row's background are the rows of its own cell, or all if there are none.
    batch_size : int, default=256
    random_state : int, RandomState instance or None
    feature_names : list of str, optional
    device : torch.device or str, optional
        By default, that of the score's parameters.

    References
    ----------
    Erion, Janizek, Sturmfels, Lundberg and Lee (2021), "Improving performance of deep learning
    models with axiomatic attribution priors and expected gradients", eq. 3.
    """

    n_samples: int = 50
    values_only: bool = False

    def _explain(
        self, data: NDArray, background_rows: list[NDArray], seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # A row's random numbers come from its bytes: neither the batch size nor other rows matter.
        draws = [_generator_of(row, seed).random((2, self.n_samples)) for row in data]
        uniform, jitter = np.stack(draws, axis=1)
        pairs = zip(background_rows, uniform, strict=True)
        picks = np.stack([part[(draw * len(part)).astype(int)] for part, draw in pairs]).ravel()
        alphas = ((np.arange(self.n_samples) + jitter) / self.n_samples).astype(np.float32).ravel()
        rows = np.repeat(np.arange(len(data)), self.n_samples)

        values = np.zeros(data.shape)
        # Around all batches, so that weights that want gradients are converted once.
        with autocast(self._device, getattr(self.score, "precision", "float32")):
            for start in range(0, len(rows), self.batch_size):
                part = np.arange(start, min(start + self.batch_size, len(rows)))
                count = len(part)
                if self.values_only:
                    part = np.pad(part, (0, self.batch_size - count), mode="edge")
                pieces = (self.background[picks[part]], data[rows[part]], alphas[part], rows[part])
                base, here, alpha, row = (torch.from_numpy(p).to(self._device) for p in pieces)
                products = path_gradients(self.score, base, here, alpha, row)[:count]
                np.add.at(values, rows[part[:count]], products.double().cpu().numpy())
        values /= self.n_samples
        if self.values_only:
            return values, np.full(len(data), np.nan)
        return values, self._base_values(background_rows)


def path_gradients(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    base: torch.Tensor,
    here: torch.Tensor,
    alpha: torch.Tensor,
    rows: torch.Tensor,
) -> torch.Tensor:
    """Expected gradients' summand: ``(z - b) * d score / d z`` at ``b + alpha (z - b)``.

    ``base`` is b and ``here`` z, both (m, d), as is the result; ``alpha`` and ``rows`` are (m,).
    """
    with torch.enable_grad():
        between = torch.lerp(base, here, alpha[:, None]).detach().requires_grad_()
        # The rows do not mix, so the gradient of the sum is every row's own gradient.
        (gradient,) = torch.autograd.grad(score(between, rows).sum(), between)
    return (here - base) * gradient


def _generator_of(row: NDArray, seed: int) -> np.random.Generator:
    digest = hashlib.blake2b(row.tobytes(), key=seed.to_bytes(8, "big"), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


def as_array(rows: Any) -> NDArray[np.float32]:
    """A C-ordered float32 copy, which torch may share: the caller's array may be read-only."""
    if isinstance(rows, torch.Tensor):
        rows = rows.detach().cpu().numpy()
    return np.array(rows, dtype=np.float32, order="C")
