"""shap's own explainers with the same interface; the global generators stay as they were."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._random import forked_torch
from .expected_gradients import Explainer, shap
from .identity_score import RowScore

# Linear modules that shap does not list: the plain gradient it falls back to is exact for them.
_LINEAR_MODULES = "Unflatten|Upsample|UpsamplingNearest2d|UpsamplingBilinear2d|PixelShuffle"


class DeepExplainer(Explainer):
    """shap's DeepExplainer (DeepLIFT), one output per row.

    Exact on convolutions, batch normalisation and ReLU modules that are used once. The normalised
    embedding, the log-odds and the cosine are not attributed exactly: read
    :func:`completeness_error` beside the values. Networks with layer or group normalisation, or
    with activations used twice or in place, are refused by shap.

    Parameters
    ----------
    score : callable (latents (m, d), rows (m,)) -> Tensor (m,)
        A module, or an object that holds its networks as attributes.
    background : array-like of shape (n_background, d)
    groups, background_groups, batch_size, random_state, feature_names, device : optional
        As for :class:`ExpectedGradients`.

    Raises
    ------
    ValueError
        When called, if no network is found in the score: its activations could not be hooked.
    """

    def _explain(
        self, data: NDArray, background_rows: list[NDArray], seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = np.zeros(data.shape)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=rf"unrecognized nn.Module: ({_LINEAR_MODULES})$"
            )
            for row, rows in enumerate(background_rows):
                of_row = torch.from_numpy(self.background[rows]).to(self._device)
                latent = torch.from_numpy(data[row : row + 1]).to(self._device)
                with _seeded_globals((seed + row) % 2**31):
                    explainer = self._build(RowScore(self.score, row), of_row)
                    values[row] = _call_shap(explainer, latent).reshape(data.shape[1])
        return values, self._base_values(background_rows)

    def _build(self, score: RowScore, background: torch.Tensor) -> Any:
        if not len(score.networks):
            raise ValueError(
                "No nn.Module was found in the score, so shap.DeepExplainer would silently return "
                "plain gradients; hold the networks as attributes, or use explainer='gradient'."
            )
        return shap.DeepExplainer(score, background)


@dataclass(eq=False, kw_only=True)
class ForeignExplainer(DeepExplainer):
    """A user's explainer: ``kind(module, background Tensor)`` is built for every row."""

    kind: Any = None

    def _build(self, score: RowScore, background: torch.Tensor) -> Any:
        return self.kind(score, background)


@dataclass(eq=False, kw_only=True)
class PermutationExplainer(Explainer):
    """shap's PermutationExplainer over groups of latent features, for scores without gradients.

    Parameters
    ----------
    score : callable (latents (m, d), rows (m,)) -> Tensor (m,)
    background : array-like of shape (n_background, d)
    n_groups : int, default=16
        Contiguous blocks of features; a block's value is spread evenly over its features.
    n_permutations : int, default=5
        Orders of the blocks, each run forwards and backwards.
    n_background : int, default=50
        A row with a larger background gets that many rows of it, drawn at random. An image costs
        about ``2 * n_groups * n_permutations * n_background`` scores.
    groups, background_groups, batch_size, random_state, feature_names, device : optional
        As for :class:`ExpectedGradients`.
    """

    n_groups: int = 16
    n_permutations: int = 5
    n_background: int = 50

    def _explain(
        self, data: NDArray, background_rows: list[NDArray], seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        blocks = np.array_split(np.arange(data.shape[1]), min(self.n_groups, data.shape[1]))
        block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        generator = np.random.default_rng(seed)
        values, base_values = np.zeros(data.shape), np.zeros(len(data))
        for row, rows in enumerate(background_rows):
            rows = np.sort(generator.permutation(rows)[: self.n_background])
            by_block, base_values[row] = self._one_row(row, data[row], rows, block_of, seed)
            values[row] = (by_block / np.bincount(block_of))[block_of]
        return values, base_values

    def _one_row(
        self, row: int, latent: NDArray, rows: NDArray, block_of: NDArray, seed: int
    ) -> tuple[NDArray[np.float64], float]:
        """Values of the blocks of one row, shape (n_blocks,), and its base value."""
        # shap sees one column per block: the number of the row it is taken from, the last being
        # the explained one. So its masker mixes blocks, and no background value can equal ours.
        source = np.vstack([self.background[rows], latent])
        n_blocks, here = int(block_of[-1]) + 1, len(rows)
        numbers = np.repeat(np.arange(here, dtype=float)[:, None], n_blocks, axis=1)

        def value_of(mixed: NDArray) -> NDArray[np.float64]:
            latents = source[mixed.astype(int)[:, block_of], np.arange(source.shape[1])]
            return self._evaluate(latents, np.full(len(latents), row))

        with _seeded_globals((seed + row) % 2**31):
            masker = shap.maskers.Independent(numbers, max_samples=len(numbers))
            explainer = shap.PermutationExplainer(value_of, masker, seed=(seed + row) % 2**31)
            explained = explainer(
                np.full((1, n_blocks), float(here)),
                max_evals=self.n_permutations * (2 * n_blocks + 1),
                silent=True,
            )
        return explained.values[0], float(np.ravel(explained.base_values)[0])


def _call_shap(explainer: Any, latent: torch.Tensor) -> NDArray[np.float64]:
    """A shap explainer's values, by its ``shap_values`` if it has them and else by calling it."""
    if not hasattr(explainer, "shap_values"):
        explanation = explainer(latent)
        return np.asarray(getattr(explanation, "values", explanation), dtype=np.float64)
    # What is not attributed exactly is measured by completeness_error instead of refused.
    extra = {"check_additivity": False} if isinstance(explainer, shap.DeepExplainer) else {}
    return np.asarray(explainer.shap_values(latent, **extra), dtype=np.float64)


@contextlib.contextmanager
def _seeded_globals(seed: int) -> Iterator[None]:
    """Seed what shap draws from, NumPy's global generator, and restore the caller's state."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(seed)  # noqa: NPY002
        with forked_torch(seed):
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
