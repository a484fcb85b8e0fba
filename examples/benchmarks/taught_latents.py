"""An autoencoder that goes on learning, so that what may be given back tells people less apart.

What ``compare_latents.py`` calls taught: the fitted autoencoder for some more steps, on pairs of
photos of one person, once plainly and once with each term that is to tell the person from the
picture.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edials._validation import to_tensor
from edials.latent.identity_basis import IdentityBasis
from edials.networks.inference import autocast
from edials.networks.losses import perceptual_loss

STEPS, PAIRS, RATE = 800, 32, 1e-4
#: Coordinates, of those that are given back first, in which the person is not to show.
KEPT = 128
#: Weights of the swap and of the head.
TERMS = {
    "no term": (0.0, 0.0),
    "swaps": (1.0, 0.0),
    "a head, 0.01": (0.0, 0.01),
    "a head, 0.1": (0.0, 0.1),
    "swaps and a head, 0.1": (1.0, 0.1),
}


def perceptron(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, 512), nn.ReLU(), nn.Linear(512, n_out))


def pairs_of(
    people: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two different photos of each of some people."""
    chosen = generator.choice(np.flatnonzero(np.bincount(people) > 1), count, replace=False)
    photos = [generator.choice(np.flatnonzero(people == one), 2, replace=False) for one in chosen]
    first, second = np.transpose(photos)
    return first, second


def told_apart(logits: torch.Tensor, own: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of telling people apart from those of their cell; ``cells`` of every person."""
    others = cells[own][:, None] != cells[None]
    return functional.cross_entropy(logits.masked_fill(others, -1e4), own)


def taught(
    autoencoder: Any, images: np.ndarray, people: np.ndarray, cells: np.ndarray, basis: Any
) -> Iterator[tuple[str, Any]]:
    """Autoencoders by the name of their term; images, people and cells are of the photos to learn.

    The basis is that of the autoencoder as it was: its last coordinates are the part to be kept.
    """
    for name, (swap, head) in TERMS.items():
        model = copy.deepcopy(autoencoder)
        _go_on(model, images, people, cells, basis, swap, head)
        yield name, model


def _go_on(
    model: Any,
    images: np.ndarray,
    people: np.ndarray,
    cells: np.ndarray,
    basis: IdentityBasis,
    swap: float,
    weight: float,
) -> None:
    """Learn to show photos, and the one of a pair by the other's person and its own kept part.

    Swaps: Mathieu et al. (2016), "Disentangling factors of variation in deep representations using
    adversarial training". The head: Ganin et al. (2016), "Domain-adversarial training of neural
    networks", of people inside their cells.
    """
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    several = np.flatnonzero(np.bincount(people)[people] > 1)
    known, codes = np.unique(people[several], return_inverse=True)
    first = np.unique(codes, return_index=True)[1]
    device = torch.device(model.net_.device)
    of_people = torch.from_numpy(cells[several][first]).to(device)
    module = model.module_.train()
    head = nn.Sequential(perceptron(KEPT, 128), nn.Linear(128, len(known))).to(device)
    parts = [*module.encoder.parameters(), *module.decoder.parameters()]
    ours = torch.optim.AdamW(parts, RATE, weight_decay=1e-4, betas=(0.9, 0.99))
    theirs = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    falls = torch.optim.lr_scheduler.CosineAnnealingLR(ours, STEPS)
    for _ in range(STEPS):
        rows = np.concatenate(pairs_of(codes, PAIRS, generator))
        photos = to_tensor(images[several[rows]], device)
        own = torch.from_numpy(codes[rows]).to(device)
        with autocast(device, model.precision):
            latents = module.encoder(photos).float()
        kept = basis.rotate(latents)[:, -KEPT:]
        if weight:
            theirs.zero_grad()
            told_apart(head(kept.detach()), own, of_people).backward()
            theirs.step()
        shown = [latents]
        if swap:
            coordinates = basis.rotate(latents).roll(PAIRS, 0)
            shown.append(basis.unrotate(torch.cat([coordinates[:, :-KEPT], kept], dim=1)))
        with autocast(device, model.precision):
            pictures = module.decoder(torch.cat(shown)).float().split(len(photos))
        losses = [
            10 * functional.mse_loss(picture, photos) + 0.5 * perceptual_loss(picture, photos)
            for picture in pictures
        ]
        loss = losses[0] + swap * losses[-1]  # the last is the first where nothing is swapped
        if weight:
            loss = loss - weight * told_apart(head(kept), own, of_people)
        ours.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts, 5.0)
        ours.step()
        falls.step()
    module.eval()
