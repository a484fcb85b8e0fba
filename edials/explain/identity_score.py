"""The identity decision as a function of the latent features: what an explanation is about.

A score takes latents (m, n_features) and the explained row that each belongs to (m,), and returns
one number for each (m,). Its networks are found if it is a module or holds them as attributes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..networks.inference import autocast


class IdentityScore:
    """Log-odds that the decoded picture shows one of the people a row might be.

    ``logsumexp(logits of the candidates) - logsumexp(logits of all others)``

    ``candidates`` (n, n_candidates) are the people that each explained row might be, fewer than
    all. Both networks compute in ``precision``.
    """

    def __init__(
        self,
        decoder: Callable[[torch.Tensor], torch.Tensor],
        logits: Callable[[torch.Tensor], torch.Tensor],
        candidates: torch.Tensor,
        precision: str = "float32",
    ):
        self.decoder, self.logits = decoder, logits
        self.candidates, self.precision = candidates, precision

    def outputs(self, latents: torch.Tensor) -> torch.Tensor:
        """Logits (m, n_people) of the decoded latents, which no row enters."""
        with autocast(latents.device, self.precision):
            return self.logits(self.decoder(latents)).float()

    def compare(self, outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Log-odds (m,) from the logits (m, n_people)."""
        people = self.candidates.to(outputs.device)[rows.to(outputs.device)]
        # A mask and not gather: a candidate that is named twice counts once.
        chosen = torch.zeros_like(outputs, dtype=torch.bool).scatter(1, people, True)
        of_candidates = torch.logsumexp(outputs.masked_fill(~chosen, -torch.inf), 1)
        return of_candidates - torch.logsumexp(outputs.masked_fill(chosen, -torch.inf), 1)

    def __call__(self, latents: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Score latents (m, n_features) that belong to explained rows (m,); shape (m,)."""
        return self.compare(self.outputs(latents), rows)


class RowScore(nn.Module):
    """One row's score as a module for shap's explainers, latents (m, n_features) -> (m, 1)."""

    def __init__(self, score: Any, row: int):
        super().__init__()
        self.score, self.row = score, row
        # Registered, so that explainers which hook modules find those inside the score.
        self.networks = nn.ModuleList(networks_of(score))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        rows = torch.full((len(latents),), self.row, device=latents.device)
        return self.score(latents, rows).unsqueeze(1)


class RotatedDecoder(nn.Module):
    """From coordinates of an identity basis to pictures."""

    def __init__(self, decoder: nn.Module, basis: Any):
        super().__init__()
        self.decoder, self.basis = decoder, basis

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        # At full precision: every latent sums over hundreds of coordinates.
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


def networks_of(score: Any) -> list[nn.Module]:
    """The networks of a score: itself, or those that it holds as attributes."""
    if isinstance(score, nn.Module):
        return [score]
    networks = [
        value for value in getattr(score, "__dict__", {}).values() if isinstance(value, nn.Module)
    ]
    inner = {part for network in networks for part in network.modules() if part is not network}
    # A network inside another would be hooked twice.
    return [network for network in dict.fromkeys(networks) if network not in inner]


def device_of(score: Any) -> torch.device:
    """The device of the score's parameters; the CPU if it has none."""
    for network in networks_of(score):
        for parameter in network.parameters():
            return parameter.device
    return torch.device("cpu")


@contextlib.contextmanager
def evaluation_mode(score: Any) -> Iterator[None]:
    """Put a score's networks in evaluation mode, as shap does, and restore each one's own mode."""
    modes = {part: part.training for network in networks_of(score) for part in network.modules()}
    try:
        for part in modes:
            part.training = False
        yield
    finally:
        for part, training in modes.items():
            part.training = training
