"""Networks of the size of ConvNeXt-Base (Liu et al. 2022), as the published procedure used them.

Only for measuring speed: three networks of about 88 million weights are more than faces of 64
pixels need.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edials.networks.modules import LatentDiscriminator

DEPTHS, WIDTHS = (3, 3, 27, 3), (128, 256, 512, 1024)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of pictures (n, channels, height, width)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise 7 x 7, then a two-layer perceptron over the channels, beside a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.depthwise(images).permute(0, 2, 3, 1)
        return images + 0.1 * self.perceptron(hidden).permute(0, 3, 1, 2)


def trunk() -> nn.Sequential:
    """Pictures (n, 3, height, width) to features (n, 1024, height / 32, width / 32)."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 4, 4), ChannelNorm(WIDTHS[0])]
    for stage, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
        if stage:
            layers += [ChannelNorm(WIDTHS[stage - 1]), nn.Conv2d(WIDTHS[stage - 1], width, 2, 2)]
        layers += [Block(width) for _ in range(depth)]
    return nn.Sequential(*layers)


class ChannelsLast(nn.Module):
    """Puts the channels of a pixel side by side in memory, as perceptrons over them want it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.contiguous(memory_format=torch.channels_last)


class ConvNextRecogniser(nn.Module):
    """For ``IdentityClassifier(module=ConvNextRecogniser)``."""

    def __init__(self, *, n_classes: int, embedding_dim: int, **_: Any):
        super().__init__()
        pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.backbone = nn.Sequential(trunk(), *pool, nn.Linear(WIDTHS[-1], embedding_dim))
        self.directions = nn.Parameter(torch.randn(n_classes, embedding_dim))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.backbone(images * 2 - 1).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.embed(images) @ nn.functional.normalize(self.directions).T


class ConvNextAutoencoder(nn.Module):
    """For ``AdversarialAutoencoder(module=ConvNextAutoencoder)``."""

    def __init__(self, *, image_shape: tuple[int, int, int], latent_dim: int, **_: Any):
        super().__init__()
        rows, columns = image_shape[0] // 32, image_shape[1] // 32
        size = WIDTHS[-1] * rows * columns
        self.encoder = nn.Sequential(trunk(), nn.Flatten(), nn.Linear(size, latent_dim))
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, size),
            nn.Unflatten(1, (WIDTHS[-1], rows, columns)),
            ChannelsLast(),
        ]
        for stage in (3, 2, 1, 0):
            layers += [Block(WIDTHS[stage]) for _ in range(DEPTHS[stage])]
            width = WIDTHS[stage - 1] if stage else 3
            factor = 2 if stage else 4
            layers.append(nn.ConvTranspose2d(WIDTHS[stage], width, factor, factor))
        self.decoder = nn.Sequential(*layers)
        self.discriminator = LatentDiscriminator(latent_dim)
        self.attribute_head = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(images))
