"""An attacker who undoes: a network learns to turn released images back into the photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..._random import forked_torch, stage_seeds
from ..._splits import split_rows
from ..._validation import resolve_device, to_pictures
from ...metrics.retention import picture_retention
from ...networks.inference import map_images
from ...networks.losses import perceptual_loss
from ...networks.modules import UNet
from ...networks.training import FaceDataset, FaceNet, TrainingLength, train
from .base import PixelAttacker

# How long the network learns if nobody says so: steps, and the fewest and most epochs.
_TYPICAL = TrainingLength(1000, 6, 100)
_HELD_OUT = 0.1
_STRUCTURE_WEIGHT = 0.2


class InversionAttacker:
    """A U-Net from released images to the photos, then an attacker that knows clear photos.

    Trained on pairs of other people if there are enough of them and else of the gallery; the audit
    says which as ``pairs_of``.

    Parameters
    ----------
    recogniser : attacker that learns from clear photos, optional
        None takes :class:`~edials.audit.attackers.base.PixelAttacker`.
    width : int, default=16
        Channels of the network's first stage.
    max_epochs : int, optional
        None makes about 1,000 steps, but 6 epochs at least and 100 at most.
    batch_size : int, default=32
    device : str, default="auto"
    random_state : int, default=0

    References
    ----------
    Ronneberger, Fischer and Brox (2015), "U-Net: convolutional networks for biomedical image
    segmentation". McPherson, Shokri and Shmatikov (2016), "Defeating image obfuscation with deep
    learning".
    """

    name, gallery_kind, shown = "inversion", "clear", "released"
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
        """Train the network; without improvement on held-out pairs it stops early."""
        seeds = stage_seeds(self.random_state, "weights", "split", "training")
        with forked_torch(seeds["weights"]):
            network = UNet(self.width)
        training, held_out = split_rows(len(clear), _HELD_OUT, seeds["split"])
        self.net_ = train(
            FaceNet,
            network,
            FaceDataset(released[training], clear[training]),
            FaceDataset(released[held_out], clear[held_out]) if len(held_out) else None,
            device=resolve_device(self.device),
            seed=seeds["training"],
            learning_rate=2e-3,
            max_epochs=self.max_epochs,
            typical=_TYPICAL,
            patience=None,
            title="reverse attacker",
            verbose=0,
            batch_size=self.batch_size,
            objective=_distance,
        )
        return self

    def undo(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the network takes the photos for, of the shape of ``images``."""
        made = map_images(
            self.net_.module_,
            images,
            device=torch.device(self.net_.device),
            batch_size=self.batch_size,
            precision="auto",
        )
        return to_pictures(torch.from_numpy(made))

    def fit(self, images: NDArray[np.uint8], people: NDArray[np.int64]) -> InversionAttacker:
        """Learn the clear gallery."""
        self.recogniser_ = PixelAttacker() if self.recogniser is None else self.recogniser
        self.recogniser_.fit(images, people)
        return self

    def scores(self, images: NDArray[np.uint8]) -> NDArray:
        """Undo, then score every person of the gallery, shape (n_samples, n_people)."""
        return self.recogniser_.scores(self.undo(images))

    def measures(self, clear: NDArray[np.uint8], released: NDArray[np.uint8]) -> dict[str, float]:
        """How near released and undone images are to the photos, in dB; the difference is gained.

        Parameters
        ----------
        clear, released : ndarray of shape (n_samples, height, width, 3), dtype uint8
            Not among the pairs it learned from.
        """
        return {
            "psnr_released": picture_retention(clear, released)["psnr"],
            "psnr_inverted": picture_retention(clear, self.undo(released))["psnr"],
        }


def _distance(made: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference and structural dissimilarity."""
    photos = targets.permute(0, 3, 1, 2).float() / 255
    return functional.l1_loss(made, photos) + _STRUCTURE_WEIGHT * perceptual_loss(made, photos)
