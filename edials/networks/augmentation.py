"""Random changes of the pictures in training."""

from __future__ import annotations

import torch
from torch.nn import functional


def augment_faces(images: torch.Tensor) -> torch.Tensor:
    """Mirror, rotate, zoom, shift, blur, relight and partly cover pictures at random."""
    n, _, height, width = images.shape

    def uniform(limit: float, *shape: int) -> torch.Tensor:
        return (torch.rand(n, *shape) * 2 - 1) * limit

    angle, zoom = uniform(0.15), 1 + uniform(0.12)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = mirror * zoom * angle.cos(), -zoom * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = mirror * zoom * angle.sin(), zoom * angle.cos()
    theta[:, :, 2] = uniform(0.1, 2)
    grid = functional.affine_grid(
        theta.to(images.device), [n, 3, height, width], align_corners=False
    )
    images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    # Blurred as from half the pixels or fewer: reconstructions have lost such detail, too.
    blurred = _random_rows(n, 0.33).to(images.device)
    shrink = float(torch.rand(1)) * 0.4 + 0.25
    small = functional.interpolate(images[blurred], scale_factor=shrink, mode="area")
    small = functional.interpolate(small, size=(height, width), mode="bicubic")
    images.index_copy_(0, blurred, small)

    contrast, brightness = 1 + uniform(0.25, 1, 1, 1), uniform(0.08, 1, 1, 1)
    shift = 0.5 - 0.5 * contrast + brightness + uniform(0.025, 3, 1, 1)
    images.mul_(contrast.to(images)).add_(shift.to(images))
    grey = _random_rows(n, 0.1).to(images.device)
    images.index_copy_(0, grey, images[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1))

    row, column = torch.rand(n, 1, 1, 1) * height, torch.rand(n, 1, 1, 1) * width
    covered = (
        ((torch.arange(height).view(1, 1, -1, 1) - row).abs() < 0.15 * height)
        & ((torch.arange(width).view(1, 1, 1, -1) - column).abs() < 0.15 * width)
        & (torch.rand(n, 1, 1, 1) < 0.5)
    )
    return images.masked_fill_(covered.to(images.device), 0.5)


def _random_rows(n: int, probability: float) -> torch.Tensor:
    """Rows of n, each chosen with this probability."""
    return torch.nonzero(torch.rand(n) < probability).flatten()


def mirror_faces(images: torch.Tensor) -> torch.Tensor:
    """Mirror half of the pictures, left to right."""
    flip = (torch.rand(len(images), 1, 1, 1) < 0.5).to(images.device)
    return torch.where(flip, images.flip(3), images)
