"""SHAP of the identity decision over the latent features: what gives a person away.

Every explainer has shap's own interface: built on a score and a background, called on latents,
returns a ``shap.Explanation``. Scores are those of :mod:`edials.identity_score`.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ._random import forked_torch, stage_seeds
from ._validation import resolve_device
from .identity_score import Score, device_of, evaluating, modules_of, score_latents

with warnings.catch_warnings():
    # shap 0.51 colours its maps by a call that matplotlib 3.11 means to retire; may go when shap
    # uses Colormap.with_extremes.
    warnings.filterwarnings("ignore", "The set_(bad|over|under|extremes) function will be depre")
    import shap

# Linear modules that shap does not list: the plain gradient it falls back to is exact for them.
_LINEAR_MODULES = "Unflatten|Upsample|UpsamplingNearest2d|UpsamplingBilinear2d|PixelShuffle"


class _Explainer:
    """Settings and checks that all explainers share; a row's background is that of its group."""

    def __init__(
        self,
        score: Any,
        background: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        background_groups: ArrayLike | None = None,
        batch_size: int = 256,
        random_state: Any = None,
        feature_names: list[str] | None = None,
        device: torch.device | str | None = None,
    ):
        self.score, self.batch_size = score, batch_size
        self.background = _array(background)
        self.groups, self.background_groups = groups, background_groups
        self.random_state, self.feature_names = random_state, feature_names
        self.device = device_of(score) if device is None else resolve_device(device)

    def __call__(self, latents: ArrayLike) -> shap.Explanation:
        """Explain latents.

        Parameters
        ----------
        latents : array-like or Tensor of shape (n, d)

        Returns
        -------
        shap.Explanation
            Values of shape (n, d); base values of shape (n,), the mean score of each row's
            background.
        """
        data = _array(latents)
        if data.ndim != 2 or self.background.shape[1:] != data.shape[1:] or not data.size:
            raise ValueError(
                f"latents have shape {data.shape}, the background {self.background.shape}; "
                f"expected (n, d) and (n_background, d), with at least one row."
            )
        members = self._members(len(data))
        seed = stage_seeds(self.random_state, "samples")["samples"]
        with evaluating(self.score):
            values, base_values = self._explain(data, members, seed)
        names = self.feature_names or [f"latent {feature}" for feature in range(data.shape[1])]
        return shap.Explanation(
            values=values, base_values=base_values, data=data, feature_names=list(names)
        )

    def _members(self, n: int) -> list[NDArray[np.int64]]:
        """Background rows of every explained row."""
        everyone = np.arange(len(self.background))
        if self.groups is None or self.background_groups is None:
            if self.groups is not None or self.background_groups is not None:
                raise ValueError("groups and background_groups are given together or not at all.")
            return [everyone] * n
        own, theirs = np.asarray(self.groups), np.asarray(self.background_groups)
        if own.shape != (n,) or theirs.shape != everyone.shape:
            raise ValueError(
                f"groups have shape {own.shape}, background_groups {theirs.shape}; "
                f"expected ({n},) and {everyone.shape}."
            )
        rows = {group: np.flatnonzero(theirs == group) for group in set(own.tolist())}
        return [rows[group] if len(rows[group]) else everyone for group in own.tolist()]

    def _explain(
        self, data: NDArray, members: list[NDArray], seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        raise NotImplementedError

    def _evaluate(self, latents: NDArray, rows: NDArray) -> NDArray[np.float64]:
        return score_latents(self.score, latents, rows, self.device, self.batch_size)

    def _base_values(self, members: list[NDArray]) -> NDArray[np.float64]:
        """Mean score of each row's background, decoding the background once where possible."""
        if not isinstance(self.score, Score):
            return np.array(
                [
                    self._evaluate(self.background[own], np.full(len(own), row)).mean()
                    for row, own in enumerate(members)
                ]
            )
        with torch.no_grad():
            batches = torch.from_numpy(self.background).split(self.batch_size)
            outputs = torch.cat([self.score.outputs(part.to(self.device)) for part in batches])
            means = []
            for row, own in enumerate(members):
                rows = torch.full((len(own),), row, device=outputs.device)
                said = outputs[torch.from_numpy(own).to(outputs.device)]
                means.append(float(self.score.compare(said, rows).double().mean()))
        return np.array(means)


class ExpectedGradients(_Explainer):
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
    groups : array-like of shape (n,), optional
        Attribute cell of each explained row.
    background_groups : array-like of shape (n_background,), optional
        With both, a row's background are the rows of its own cell; all, where there are none.
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

    def __init__(self, score: Any, background: ArrayLike, *, n_samples: int = 50, **settings: Any):
        super().__init__(score, background, **settings)
        self.n_samples = n_samples

    def _explain(
        self, data: NDArray, members: list[NDArray], seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # Every row's random numbers come from its own bytes: neither the batch size nor the other
        # rows matter.
        own_draws = [_generator_of(row, seed).random((2, self.n_samples)) for row in data]
        uniform, jitter = np.stack(own_draws, axis=1)
        picks = np.stack(
            [own[(draw * len(own)).astype(int)] for own, draw in zip(members, uniform, strict=True)]
        ).ravel()
        alphas = ((np.arange(self.n_samples) + jitter) / self.n_samples).astype(np.float32).ravel()
        rows = np.repeat(np.arange(len(data)), self.n_samples)

        values = np.zeros(data.shape)
        for start in range(0, len(rows), self.batch_size):
            part = slice(start, start + self.batch_size)
            pieces = (self.background[picks[part]], data[rows[part]], alphas[part], rows[part])
            base, here, alpha, row = (torch.from_numpy(p).to(self.device) for p in pieces)
            products = path_gradients(self.score, base, here, alpha, row)
            np.add.at(values, rows[part], products.double().cpu().numpy())
        return values / self.n_samples, self._base_values(members)


class DeepExplainer(_Explainer):
    """shap's DeepExplainer (DeepLIFT), one output per row.

    Exact on convolutions, batch normalisation and ReLU modules that are used once. The normalised
    embedding, the log-odds and the cosine are not attributed exactly: read
    :func:`completeness_error` beside the values. Networks with layer or group normalisation, or
    with activations used twice or in place, are refused by shap.

    Parameters
    ----------
    score : IdentityScore, SimilarityScore or any score with ``for_row``
    background : array-like of shape (n_background, d)
    groups, background_groups, batch_size, random_state, feature_names, device
        As for :class:`ExpectedGradients`.

    Raises
    ------
    ValueError
        When called, if no network is found in the score: its activations could not be hooked.
    """

    _kind: Any = shap.DeepExplainer

    def _explain(
        self, data: NDArray, members: list[NDArray], seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._kind is shap.DeepExplainer and not modules_of(self.score):
            raise ValueError(
                "No nn.Module was found in the score, so shap.DeepExplainer would silently return "
                "plain gradients; pass modules or their methods, or use explainer='gradient'."
            )
        values = np.zeros(data.shape)
        behind = torch.from_numpy(self.background).to(self.device)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=rf"unrecognized nn.Module: ({_LINEAR_MODULES})$"
            )
            for row, own in enumerate(members):
                with _global_state_kept((seed + row) % 2**31), torch.enable_grad():
                    built = self._kind(self.score.for_row(row), behind[torch.from_numpy(own)])
                    latent = torch.from_numpy(data[row : row + 1]).to(self.device)
                    values[row] = _call_shap(built, latent).reshape(data.shape[1])
        return values, self._base_values(members)


class _ForeignExplainer(DeepExplainer):
    """Somebody's own explainer: ``kind(module, background Tensor)`` is built for every row."""

    def __init__(self, kind: Any, score: Any, background: ArrayLike, **settings: Any):
        super().__init__(score, background, **settings)
        self._kind = kind


class PermutationExplainer(_Explainer):
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
    groups, background_groups, batch_size, random_state, feature_names, device
        As for :class:`ExpectedGradients`.
    """

    def __init__(
        self,
        score: Any,
        background: ArrayLike,
        *,
        n_groups: int = 16,
        n_permutations: int = 5,
        n_background: int = 50,
        **settings: Any,
    ):
        super().__init__(score, background, **settings)
        self.n_groups, self.n_permutations = n_groups, n_permutations
        self.n_background = n_background

    def _explain(
        self, data: NDArray, members: list[NDArray], seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        blocks = np.array_split(np.arange(data.shape[1]), min(self.n_groups, data.shape[1]))
        block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        generator = np.random.default_rng(seed)
        values, base_values = np.zeros(data.shape), np.zeros(len(data))
        for row, own in enumerate(members):
            own = np.sort(generator.permutation(own)[: self.n_background])
            by_block, base_values[row] = self._one_row(row, data[row], own, block_of, seed)
            values[row] = (by_block / np.bincount(block_of))[block_of]
        return values, base_values

    def _one_row(
        self, row: int, latent: NDArray, own: NDArray, block_of: NDArray, seed: int
    ) -> tuple[NDArray[np.float64], float]:
        # shap sees one column per block: the number of the row it is taken from, the last being
        # the explained one. So its masker mixes blocks, and no background value can equal ours.
        source = np.vstack([self.background[own], latent])
        n_blocks, here = int(block_of[-1]) + 1, len(own)
        numbers = np.repeat(np.arange(here, dtype=float)[:, None], n_blocks, axis=1)

        def value_of(mixed: NDArray) -> NDArray[np.float64]:
            latents = source[mixed.astype(int)[:, block_of], np.arange(source.shape[1])]
            return self._evaluate(latents, np.full(len(latents), row))

        with _global_state_kept((seed + row) % 2**31):
            masker = shap.maskers.Independent(numbers, max_samples=len(numbers))
            explainer = shap.PermutationExplainer(value_of, masker, seed=(seed + row) % 2**31)
            explained = explainer(
                np.full((1, n_blocks), float(here)),
                max_evals=self.n_permutations * (2 * n_blocks + 1),
                silent=True,
            )
        return explained.values[0], float(np.ravel(explained.base_values)[0])


_EXPLAINERS: dict[str, type[_Explainer]] = {
    "gradient": ExpectedGradients,
    "deep": DeepExplainer,
    "permutation": PermutationExplainer,
}


def check_explainer(explainer: Any) -> None:
    """Check that an explainer is a known name, or something to build one with.

    Raises
    ------
    ValueError
        As :func:`make_explainer`.
    """
    known = explainer in _EXPLAINERS if isinstance(explainer, str) else callable(explainer)
    if not known or isinstance(explainer, shap.Explainer):
        raise ValueError(
            f"explainer={explainer!r}; expected one of {sorted(_EXPLAINERS)}, or a class of shap's "
            f"such as shap.GradientExplainer, not yet built on a model."
        )


def make_explainer(
    explainer: Any, score: Any, background: ArrayLike, **settings: Any
) -> Callable[[ArrayLike], shap.Explanation]:
    """Build an explainer from its name, or from one of shap's classes.

    Parameters
    ----------
    explainer : {"gradient", "deep", "permutation"} or callable (module, background Tensor)
        A callable is built anew for every row and given a module latents (m, d) -> (m, 1); the
        result's ``shap_values``, or else its call, must give d values.
    score : score with ``for_row``
    background : array-like of shape (n_background, d)
    **settings
        Passed to our explainers.

    Raises
    ------
    ValueError
        If the name is unknown, or an explainer comes already built on another model.
    """
    check_explainer(explainer)
    kind = _EXPLAINERS[explainer] if isinstance(explainer, str) else explainer
    if isinstance(kind, type) and issubclass(kind, _Explainer):
        return kind(score, background, **settings)
    return _ForeignExplainer(kind, score, background, **settings)


def path_gradients(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    base: torch.Tensor,
    here: torch.Tensor,
    alpha: torch.Tensor,
    rows: torch.Tensor,
) -> torch.Tensor:
    """Expected gradients' summand: ``(z - b) * d score / d z`` at ``b + alpha (z - b)``.

    Parameters
    ----------
    score : callable (latents (m, d), rows (m,)) -> Tensor (m,)
    base, here : Tensors of shape (m, d)
        The background b and the explained latents z.
    alpha, rows : Tensors of shape (m,)

    Returns
    -------
    Tensor of shape (m, d)
    """
    with torch.enable_grad():
        between = torch.lerp(base, here, alpha[:, None]).detach().requires_grad_()
        # The rows do not mix, so the gradient of the sum is every row's own gradient.
        (gradient,) = torch.autograd.grad(score(between, rows).sum(), between)
    return (here - base) * gradient


def completeness_error(explanation: shap.Explanation, score: Any) -> NDArray[np.float64]:
    """How far each row's values are from adding up: |sum(phi) - (score(z) - base)|, shape (n,)."""
    data = _array(explanation.data)
    with evaluating(score):
        reached = score_latents(score, data, np.arange(len(data)), device_of(score))
    return np.abs(explanation.values.sum(axis=1) - (reached - explanation.base_values))


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


def _generator_of(row: NDArray, seed: int) -> np.random.Generator:
    digest = hashlib.blake2b(row.tobytes(), key=seed.to_bytes(8, "big"), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


def _call_shap(built: Any, latent: torch.Tensor) -> NDArray[np.float64]:
    """A shap explainer's values, by its ``shap_values`` if it has them and else by calling it."""
    if not hasattr(built, "shap_values"):
        found = built(latent)
        return np.asarray(getattr(found, "values", found), dtype=np.float64)
    # What is not attributed exactly is measured by completeness_error instead of refused.
    extra = {"check_additivity": False} if isinstance(built, shap.DeepExplainer) else {}
    return np.asarray(built.shap_values(latent, **extra), dtype=np.float64)


def _array(rows: Any) -> NDArray[np.float32]:
    """A C-ordered float32 copy, which torch may share: the caller's array may be read-only."""
    if isinstance(rows, torch.Tensor):
        rows = rows.detach().cpu().numpy()
    return np.array(rows, dtype=np.float32, order="C")


@contextlib.contextmanager
def _global_state_kept(seed: int) -> Iterator[None]:
    """Seed what shap draws from, NumPy's global generator, and give the caller's state back."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(seed)  # noqa: NPY002
        with forked_torch(seed):
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
