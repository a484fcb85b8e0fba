"""Losses of tensors. Pictures have shape (n, 3, height, width), with values in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from .._discriminant import COSINE_SCALE
from ..metrics.ssim import structural_similarity


def perceptual_loss(reconstructed: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Structural dissimilarity, 1 - SSIM, averaged; Zhao et al. (2017), IEEE TCI 3(1)."""
    return 1 - structural_similarity(reconstructed, images).mean()


def feature_loss(
    reconstructed: Sequence[torch.Tensor], images: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Squared differences of feature maps over the maps' own mean square, summed over layers.

    As eq. 2 of Johnson, Alahi and Fei-Fei (2016), "Perceptual losses for real-time style transfer".
    """
    terms = [
        functional.mse_loss(made.float(), original.float())
        / original.float().square().mean().clamp_min(1e-6)
        for made, original in zip(reconstructed, images, strict=True)
    ]
    return torch.stack(terms).sum()


def discriminator_loss(prior_logits: torch.Tensor, latent_logits: torch.Tensor) -> torch.Tensor:
    """Cross-entropy between draws of the prior (1) and latents (0); Makhzani et al. (2015)."""
    return functional.softplus(-prior_logits).mean() + functional.softplus(latent_logits).mean()


def generator_loss(latent_logits: torch.Tensor) -> torch.Tensor:
    """Non-saturating loss of the encoder: its latents should pass as prior draws."""
    return functional.softplus(-latent_logits).mean()


class MarginLoss(nn.Module):
    """Cross-entropy over scaled cosines with the true person's cosine lowered by a margin.

    As eq. 4 of Wang et al. (2018), "CosFace: large margin cosine loss for deep face recognition".
    """

    def __init__(self, margin: float = 0.1, scale: float = COSINE_SCALE):
        super().__init__()
        self.margin, self.scale = margin, scale

    def forward(self, cosines: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of cosines (n, n_classes) for int64 targets (n,)."""
        true = functional.one_hot(targets, cosines.shape[1])
        return functional.cross_entropy(self.scale * (cosines - self.margin * true), targets)


class AttributeLoss(nn.Module):
    """Sum over attributes of the class-weighted cross-entropy on the rows that have the label.

    ``sizes`` has the number of classes of each attribute, ``class_weights`` one weight per class.
    """

    def __init__(self, sizes: Sequence[int], class_weights: Sequence[torch.Tensor]):
        super().__init__()
        self.sizes, self.class_weights = list(sizes), list(class_weights)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of logits (n, sum(sizes)) for int64 targets (n, n_attributes); -1 is missing."""
        total = logits.new_zeros(())
        pairs = zip(logits.split(self.sizes, dim=1), self.class_weights, strict=True)
        for column, (scores, weight) in enumerate(pairs):
            codes = targets[:, column]
            # Summed and divided by hand: the mean of no row would be NaN, and asking whether there
            # is one would make the processor wait for an accelerator.
            # Smoothed: the best logits are finite then, also of images that are learned by heart.
            loss = functional.cross_entropy(
                scores, codes, weight=weight, ignore_index=-1, label_smoothing=0.05, reduction="sum"
            )
            counted = (weight[codes.clamp_min(0)] * (codes >= 0)).sum()
            total = total + loss / counted.clamp_min(1e-12)
        return total
