"""Inversion: a network learns to reconstruct the photos from released images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..._random import forked_torch, stage_seeds
from ..._splits import split_rows
from ..._validation import resolve_device, to_pictures
from ...metrics.retention import picture_retention
from ...networks.inference import inference_batch_size, map_in_batches
from ...networks.losses import perceptual_loss
from ...networks.modules import UNet
from ...networks.training import FaceDataset, FaceNet, TrainingLength, train
from .base import PixelAttacker

# Default length of training: steps, and the fewest and most epochs.
_TYPICAL = TrainingLength(1000, 6, 100)
_HELD_OUT = 0.1
_STRUCTURE_WEIGHT = 0.2


class InversionAttacker:
    """A U-Net from released images to photos, then an attacker with a clear gallery.

    It learns from pairs (photo, its release) of other people if there are enough of them, else of
    the gallery; ``pairs_of`` in the report says which.

    Parameters
    ----------
    recogniser : attacker, optional
        None takes :class:`~edials.audit.attackers.base.PixelAttacker`.
    width : int, default=16
        Channels of the network's first stage.
    max_epochs : int, optional
        None trains for about 1,000 steps, but 6 epochs at least and 100 at most.
    batch_size : int, default=32
    device : str, default="auto"
    random_state : int, default=0

    References
    ----------
    Ronneberger, Fischer and Brox (2015), "U-Net: convolutional networks for biomedical image
    segmentation". McPherson, Shokri and Shmatikov (2016), "Defeating image obfuscation with deep
    learning".
    """

    name, gallery_kind, probe_kind = "inversion", "clear", "released"
    kind, network = "inversion", True

    def __init__(
        self,
        recogniser: Any = None,
        *,
        width: int = 16,
        max_epochs: int | None = None,
        batch_size: int = 32,
        device: str = "auto",
        random_state: int = 0,
    ):
        self.recogniser, self.width, self.max_epochs = recogniser, width, max_epochs
        self.batch_size, self.device, self.random_state = batch_size, device, random_state

    def fit_pairs(self, clear: NDArray[np.uint8], released: NDArray[np.uint8]) -> InversionAttacker:
        """Train the network on pairs; it stops early without improvement on held-out ones."""
        seeds = stage_seeds(self.random_state, "weights", "split", "training")
        with forked_torch(seeds["weights"]):
            network = UNet(self.width)
        training, held_out = split_rows(len(clear), _HELD_OUT, seeds["split"])
        pairs = FaceDataset(released, clear)
        length = _TYPICAL.epochs(len(training), self.batch_size)
        net = FaceNet(
            network,
            criterion=ReconstructionLoss,
            device=resolve_device(self.device),
            lr=2e-3,
            max_epochs=self.max_epochs or length,
            batch_size=self.batch_size,
        )
        validation = pairs.take(held_out) if len(held_out) else None
        self.net_ = train(net, pairs.take(training), validation, seeds["training"])
        return self

    def invert(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reconstruct the photos from released images, in their shape."""
        photos = map_in_batches(
            self.net_.module_,
            images,
            device=torch.device(self.net_.device),
            batch_size=inference_batch_size(self.batch_size, images.shape[1:]),
            precision="auto",
        )
        return to_pictures(photos)

    def fit(self, images: NDArray[np.uint8], people: NDArray[np.int64]) -> InversionAttacker:
        """Learn the clear gallery."""
        self.recogniser_ = PixelAttacker() if self.recogniser is None else self.recogniser
        self.recogniser_.fit(images, people)
        return self

    def scores(self, images: NDArray[np.uint8]) -> NDArray:
        """Invert, then score every person of the gallery, shape (n_samples, n_people)."""
        return self.recogniser_.scores(self.invert(images))

    def measures(self, clear: NDArray[np.uint8], released: NDArray[np.uint8]) -> dict[str, float]:
        """PSNR of released and of inverted images against the photos, in dB."""
        return {
            "psnr_released": picture_retention(clear, released)["psnr"],
            "psnr_inverted": picture_retention(clear, self.invert(released))["psnr"],
        }


class ReconstructionLoss(nn.Module):
    """Mean absolute difference plus weighted structural dissimilarity."""

    def forward(self, inverted: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of pictures (n, 3, height, width) for uint8 photos (n, height, width, 3)."""
        photos = targets.permute(0, 3, 1, 2).float() / 255
        dissimilarity = perceptual_loss(inverted, photos)
        return functional.l1_loss(inverted, photos) + _STRUCTURE_WEIGHT * dissimilarity
