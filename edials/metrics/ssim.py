"""Structural similarity of pictures, and the metric that it induces on changes."""

from __future__ import annotations

import torch

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
