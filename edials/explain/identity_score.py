"""The identity decision as a function of the latent features: what an explanation is about.

A score takes latents (m, d) and the explained row each of them belongs to (m,), and returns (m,).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..networks.inference import autocast


class Score:
    """What the two scores share: ``outputs`` looks at latents, ``compare`` at whose they are."""

    def __init__(
        self,
        decoder: Callable[[torch.Tensor], torch.Tensor],
        reader: Callable[[torch.Tensor], torch.Tensor],
        precision: str = "float32",
    ):
        self.decoder, self.reader, self.precision = decoder, reader, precision

    def outputs(self, latents: torch.Tensor) -> torch.Tensor:
        """What the recogniser says of the decoded latents; needs no knowledge of the row."""
        with autocast(latents.device, self.precision):
            return self.reader(self.decoder(latents)).float()

    def compare(self, outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def __call__(self, latents: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Score latents (m, n_features) that belong to explained rows (m,); shape (m,)."""
        return self.compare(self.outputs(latents), rows)

    def for_row(self, row: int) -> nn.Module:
        """A module latents (m, n_features) -> (m, 1) for one row, as shap's explainers take it."""
        return _OneRow(self, row)


class IdentityScore(Score):
    """Log-odds that the decoded picture shows one of the people a row might be.

    ``logsumexp(logits of the candidates) - logsumexp(logits of all others)``

    Parameters
    ----------
    decoder : callable Tensor (m, n_features) -> Tensor (m, 3, height, width)
    logits : callable Tensor (m, 3, height, width) -> Tensor (m, n_people)
    candidates : Tensor of shape (n, n_candidates), dtype int64
        The people that each explained row might be; fewer than all.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        What both networks compute in.
    """

    def __init__(
        self,
        decoder: Callable[[torch.Tensor], torch.Tensor],
        logits: Callable[[torch.Tensor], torch.Tensor],
        candidates: torch.Tensor,
        precision: str = "float32",
    ):
        super().__init__(decoder, logits, precision)
        self.logits, self.candidates = logits, candidates

    def compare(self, outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Log-odds (m,) from the logits (m, n_people)."""
        people = self.candidates.to(outputs.device)[rows.to(outputs.device)]
        # A mask and not gather: a candidate that is named twice counts once.
        chosen = torch.zeros_like(outputs, dtype=torch.bool).scatter(1, people, True)
        own = torch.logsumexp(outputs.masked_fill(~chosen, -torch.inf), 1)
        return own - torch.logsumexp(outputs.masked_fill(chosen, -torch.inf), 1)


class SimilarityScore(Score):
    """Cosine between the decoded picture's embedding and a reference of the row's own.

    Parameters
    ----------
    decoder : callable Tensor (m, n_features) -> Tensor (m, 3, height, width)
    embed : callable Tensor (m, 3, height, width) -> Tensor (m, embedding_dim)
        For DeepExplainer one that uses each module once, so without a mirrored copy.
    references : Tensor of shape (n, embedding_dim)
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        What both networks compute in.
    """

    def __init__(
        self,
        decoder: Callable[[torch.Tensor], torch.Tensor],
        embed: Callable[[torch.Tensor], torch.Tensor],
        references: torch.Tensor,
        precision: str = "float32",
    ):
        super().__init__(decoder, embed, precision)
        self.embed, self.references = embed, references

    def compare(self, outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Cosines (m,) from the embeddings (m, embedding_dim)."""
        references = self.references.to(outputs)
        return functional.cosine_similarity(outputs, references[rows.to(outputs.device)], dim=1)


class _OneRow(nn.Module):
    def __init__(self, score: Any, row: int):
        super().__init__()
        self.score, self.row = score, row
        # Registered, so that explainers which hook modules find those inside the score.
        self.parts = nn.ModuleList([] if isinstance(score, nn.Module) else modules_of(score))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        rows = torch.full((len(latents),), self.row, device=latents.device)
        return self.score(latents, rows).unsqueeze(1)


class RotatedDecoder(nn.Module):
    """From coordinates of an identity basis to pictures."""

    def __init__(self, decoder: nn.Module, basis: Any):
        super().__init__()
        self.decoder, self.basis = decoder, basis

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        # At full precision: what is turned sums over hundreds of features.
        with autocast(coordinates.device, "float32"):
            latents = self.basis.unrotate(coordinates)
        return self.decoder(latents)


class RecogniserLogits(nn.Module):
    """A recogniser's logits as a module, for explainers that hook modules."""

    def __init__(self, classifier: Any):
        super().__init__()
        self.network, self.head = classifier.module_, classifier.head_

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.network.embed(images))


def score_latents(
    score: Any, latents: NDArray, rows: NDArray, device: torch.device, batch_size: int = 256
) -> NDArray[np.float64]:
    """Score many latents without gradients, a batch at a time; shape (n,)."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(latents), batch_size):
            part = slice(start, start + batch_size)
            batch = torch.from_numpy(latents[part]).to(device)
            parts.append(score(batch, torch.from_numpy(rows[part]).to(device)).cpu().double())
    return torch.cat(parts).numpy()


def modules_of(score: Any) -> list[nn.Module]:
    """The networks a score uses: itself, held as attributes, by methods, partials or closures."""
    found = {id(module): module for module in _held_modules(score, 3)}
    inner = {id(m) for outer in found.values() for m in outer.modules() if m is not outer}
    # A network inside another would be hooked twice.
    return [module for key, module in found.items() if key not in inner]


def _held_modules(part: Any, depth: int) -> Iterator[nn.Module]:
    if isinstance(part, nn.Module):
        yield part
        return
    held: list[Any] = []
    if isinstance(part, functools.partial):
        held = [part.func, *part.args, *part.keywords.values()]
    elif inspect.ismethod(part):
        held = [part.__self__]
    elif inspect.isfunction(part):
        held = list(inspect.getclosurevars(part).nonlocals.values())
    elif not isinstance(part, (type, torch.Tensor, np.ndarray)):
        held = list(getattr(part, "__dict__", {}).values())
    for one in held if depth else ():
        yield from _held_modules(one, depth - 1)


def device_of(score: Any) -> torch.device:
    """The device of the score's parameters; the CPU if it has none."""
    for module in modules_of(score):
        for parameter in module.parameters():
            return parameter.device
    return torch.device("cpu")


@contextlib.contextmanager
def evaluating(score: Any) -> Iterator[None]:
    """Put a score's networks in evaluation mode, as shap does, and give each its own mode back."""
    modes = {m: m.training for outer in modules_of(score) for m in outer.modules()}
    try:
        for module in modes:
            module.training = False
        yield
    finally:
        for module, training in modes.items():
            module.training = training
