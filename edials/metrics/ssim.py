"""Structural similarity of pictures, and the metric that it induces on changes."""

from __future__ import annotations

import torch

# Of Wang et al. (2004): stabilisers (eq. 13) for a dynamic range of 1; window, cut at 3.5 sigma.
_C1, _C2 = 0.01**2, 0.03**2
_SIGMA, _RADIUS = 1.5, 5


def structural_similarity(
    first: torch.Tensor, second: torch.Tensor, *, row_stride: int = 1
) -> torch.Tensor:
    """Mean structural similarity of each pair of pictures, shape (n,), in [-1, 1].

    Pictures have shape (n, channels, height, width) and values in [0, 1]. Similarity is computed
    per channel with a Gaussian window (standard deviation 1.5 pixels) at the pixels whose window
    lies inside the picture, in every ``row_stride``-th row, then averaged.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli (2004), "Image quality assessment: from error visibility to
    structural similarity", IEEE TIP 13(4), eq. 13.
    """
    down, across = (_window_matrix(length, first) for length in first.shape[2:])
    down = down[::row_stride]
    first, second = first.contiguous(), second.contiguous()

    def blur(images: torch.Tensor) -> torch.Tensor:
        if row_stride > 1:  # rows that are left out first cost nothing afterwards
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


def dissimilarity_metric(changes: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Structural dissimilarity of pictures and their changes, as a quadratic form.

    ``1 - SSIM(x, x + d)`` is, to second order in ``d``, the mean over windows of
    ``mean(d)^2 / (2 mean(x)^2 + C1) + var(d) / (2 var(x) + C2)``. Returned is the matrix of this
    quadratic form, shape (n, n), with the two weights averaged over pictures: ``c' metric c`` is
    the dissimilarity of the change ``sum_i c[i] * changes[i]``. It is eq. 13 of Wang et al. (2004)
    expanded around equal pictures.
    """
    down, across = (_window_matrix(length, pictures) for length in pictures.shape[2:])
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
    total = (pixels * of_pixels) @ pixels.T
    total += (averages * (of_means - of_variances).flatten().double()) @ averages.T
    return total / of_means.numel()


def _window_matrix(length: int, like: torch.Tensor) -> torch.Tensor:
    """Gaussian window at every pixel whose window lies inside a line, (length - 10, length).

    Matrix products are several times as fast as a convolution channel by channel.
    """
    pixels = torch.arange(length, dtype=like.dtype, device=like.device)
    offsets = pixels - pixels[_RADIUS : length - _RADIUS, None]
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2)) * (offsets.abs() <= _RADIUS)
    return window / window.sum(dim=1, keepdim=True)
