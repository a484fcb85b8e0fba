"""Losses: pure functions of tensors. Pictures have shape (n, 3, height, width), in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

# Stabilisers of Wang et al. (2004), eq. 13, for a dynamic range of 1.
_C1, _C2 = 0.01**2, 0.03**2


def structural_similarity(
    first: torch.Tensor, second: torch.Tensor, *, sigma: float = 1.5, every: int = 1
) -> torch.Tensor:
    """Mean structural similarity of each pair of pictures.

    Parameters
    ----------
    first, second : Tensor of shape (n, channels, height, width), values in [0, 1]
    sigma : float, default=1.5
        Standard deviation of the Gaussian window, in pixels; it is cut at 3.5 sigma.
    every : int, default=1
        Only windows in every so many rows are looked at, from the first.

    Returns
    -------
    Tensor of shape (n,), values in [-1, 1]
        Computed per channel on the pixels whose window lies inside the picture, then averaged.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli (2004), "Image quality assessment: from error visibility to
    structural similarity", IEEE TIP 13(4), eq. 13.
    """
    down, across = _windows(first, sigma)
    down = down[::every]
    first, second = first.contiguous(), second.contiguous()

    def blur(images: torch.Tensor) -> torch.Tensor:
        if every > 1:  # what is left out first costs nothing afterwards
            return (down @ images) @ across.T
        return down @ (images @ across.T)

    mean_1, mean_2 = blur(first), blur(second)
    variance_1 = blur(first * first) - mean_1**2
    variance_2 = blur(second * second) - mean_2**2
    covariance = blur(first * second) - mean_1 * mean_2
    similarity = ((2 * mean_1 * mean_2 + _C1) * (2 * covariance + _C2)) / (
        (mean_1**2 + mean_2**2 + _C1) * (variance_1 + variance_2 + _C2)
    )
    return similarity.flatten(1).mean(1)


def dissimilarity_metric(
    changes: torch.Tensor, pictures: torch.Tensor, *, sigma: float = 1.5
) -> torch.Tensor:
    """How unlike structural similarity finds pictures that differ by combinations of changes.

    ``1 - SSIM(x, x + d)`` is, to second order in ``d``, the mean over windows of
    ``mean(d)^2 / (2 mean(x)^2 + C1) + var(d) / (2 var(x) + C2)``: a quadratic form, of which this
    is the matrix, its two weights averaged over pictures.

    Parameters
    ----------
    changes : Tensor of shape (n, channels, height, width)
    pictures : Tensor of shape (n_pictures, channels, height, width), values in [0, 1]
        What is changed.
    sigma : float, default=1.5
        As for :func:`structural_similarity`.

    Returns
    -------
    Tensor of shape (n, n), dtype float64
        ``c' metric c`` for the change ``sum_i c[i] * changes[i]``.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli (2004), eq. 13, as above, expanded around equal pictures.
    """
    down, across = _windows(pictures, sigma)
    changes, pictures = changes.contiguous(), pictures.contiguous()
    squared = (down @ pictures @ across.T) ** 2
    variances = (down @ pictures**2 @ across.T - squared).clamp_min(0)
    of_means = (1 / (2 * squared + _C1)).mean(0)
    of_variances = (1 / (2 * variances + _C2)).mean(0)
    # A window's variance is its mean square less its squared mean; its mean square sums over
    # pixels, each of which counts by the weights of the windows around it.
    of_pixels = (down.T @ of_variances @ across).flatten().double()
    pixels = changes.flatten(1).double()
    averages = (down @ changes @ across.T).flatten(1).double()
    told = (pixels * of_pixels) @ pixels.T
    told += (averages * (of_means - of_variances).flatten().double()) @ averages.T
    return told / of_means.numel()


def _windows(like: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The windows of pictures (n, channels, height, width), down and across."""
    radius = int(3.5 * sigma + 0.5)
    radius = min(radius, (min(like.shape[2:]) - 1) // 2)
    down, across = (_blur_matrix(length, radius, sigma, like) for length in like.shape[2:])
    return down, across


def _blur_matrix(length: int, radius: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """The Gaussian window at every place inside a line, as rows (length - 2 * radius, length).

    Its matrix products are several times as fast as a convolution channel by channel.
    """
    places = torch.arange(length, dtype=like.dtype, device=like.device)
    offsets = places - (places[: length - 2 * radius, None] + radius)
    window = torch.exp(-(offsets**2) / (2 * sigma**2)) * (offsets.abs() <= radius)
    return window / window.sum(dim=1, keepdim=True)


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
