"""Losses: pure functions of tensors. Pictures have shape (n, 3, height, width), in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..metrics.ssim import structural_similarity


def perceptual_loss(reconstructed: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Structural dissimilarity, 1 - SSIM, averaged: a perceptual loss without weights.

    References
    ----------
    Zhao, Gallo, Frosio and Kautz (2017), "Loss functions for image restoration with neural
    networks", IEEE TCI 3(1).
    """
    return 1 - structural_similarity(reconstructed, images).mean()


def feature_loss(
    reconstructed: Sequence[torch.Tensor], images: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Squared differences of feature maps over the maps' own mean square, summed over layers.

    Parameters
    ----------
    reconstructed, images : sequences of Tensor
        What each layer of one network makes of a reconstruction and of its picture.

    References
    ----------
    Johnson, Alahi and Fei-Fei (2016), "Perceptual losses for real-time style transfer and
    super-resolution", eq. 2.
    """
    terms = [
        functional.mse_loss(ours.float(), theirs.float())
        / theirs.float().square().mean().clamp_min(1e-6)
        for ours, theirs in zip(reconstructed, images, strict=True)
    ]
    return torch.stack(terms).sum()


def discriminator_loss(prior_logits: torch.Tensor, latent_logits: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of telling prior draws (1) from latents (0); Makhzani et al. (2015)."""
    return functional.softplus(-prior_logits).mean() + functional.softplus(latent_logits).mean()


def generator_loss(latent_logits: torch.Tensor) -> torch.Tensor:
    """Non-saturating loss of the encoder: its latents should pass as prior draws."""
    return functional.softplus(-latent_logits).mean()


def margin_loss(
    cosines: torch.Tensor, targets: torch.Tensor, *, scale: float = 24.0, margin: float = 0.1
) -> torch.Tensor:
    """Cross-entropy over scaled cosines with the true person's cosine lowered by a margin.

    Parameters
    ----------
    cosines : Tensor of shape (n, n_classes)
    targets : Tensor of shape (n,), dtype int64
    scale : float, default=24
    margin : float, default=0.1

    References
    ----------
    Wang et al. (2018), "CosFace: large margin cosine loss for deep face recognition", eq. 4.
    """
    true = functional.one_hot(targets, cosines.shape[1])
    return functional.cross_entropy(scale * (cosines - margin * true), targets)


def attribute_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    sizes: Sequence[int],
    class_weights: Sequence[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Sum over attributes of the class-weighted cross-entropy on the rows that have the label.

    Parameters
    ----------
    logits : Tensor of shape (n, sum(sizes))
        Classes of all attributes, side by side.
    targets : Tensor of shape (n, n_attributes), dtype int64
        Class codes; -1 where missing.
    sizes : sequence of int
        Number of classes of each attribute.
    class_weights : sequence of Tensor, optional
        One weight per class of each attribute.
    """
    total = logits.new_zeros(())
    for column, scores in enumerate(logits.split(list(sizes), dim=1)):
        codes = targets[:, column]
        weight = scores.new_ones(scores.shape[1])
        if class_weights is not None:
            weight = class_weights[column]
        # Summed and divided by hand: the mean of no row would be NaN, and asking whether there is
        # one would make the processor wait for an accelerator.
        loss = functional.cross_entropy(
            scores, codes, weight=weight, ignore_index=-1, label_smoothing=0.05, reduction="sum"
        )
        counted = (weight[codes.clamp_min(0)] * (codes >= 0)).sum()
        total = total + loss / counted.clamp_min(1e-12)
    return total
