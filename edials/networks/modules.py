"""The networks: plain modules without training code, each sized by a preset.

Every activation is a module of its own and used once, so that DeepLIFT-style explainers can hook
each of them; no layer normalises over a single image, because these explainers refuse it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

# Side lengths in pixels above which the autoencoder's linear paths and the classifiers downsample
# pictures; face recognisers commonly take 112 px (Deng et al. 2019).
_LINEAR_SIDE, _CLASSIFIER_SIDE = 64, 128


class Size(NamedTuple):
    """Channels of the first stage, which three further stages double, and lengths of the codes."""

    width: int
    latent_dim: int
    embedding_dim: int


#: Sizes by name: ``"tiny"`` for tests, ``"small"`` for 64 px, ``"base"`` for 128 px.
PRESETS = {
    "tiny": Size(width=8, latent_dim=48, embedding_dim=32),
    "small": Size(width=24, latent_dim=512, embedding_dim=256),
    "base": Size(width=40, latent_dim=768, embedding_dim=384),
}


class LongLinear(nn.Linear):
    """A linear layer between vectors so long that torch 2.13 fails for 32 of them.

    In bfloat16 on a processor with several threads it ends the process; 33 rows work.
    """

    LONG = 2**15

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if len(rows) != 32:
            return super().forward(rows)
        return super().forward(torch.cat([rows, rows[:1]]))[:32]


def _linear(n_in: int, n_out: int) -> nn.Linear:
    return (LongLinear if max(n_in, n_out) > LongLinear.LONG else nn.Linear)(n_in, n_out)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016), halving the picture on demand."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        # The block starts as its shortcut, which lets the first steps be large.
        nn.init.zeros_(self.body[-1].weight)  # type: ignore[arg-type]
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride),
                nn.Conv2d(n_in, n_out, 1, bias=False),
                nn.BatchNorm2d(n_out),
            )
        self.activation = nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.activation(self.body(images) + self.shortcut(images))


def _classifier_shrink(image_shape: tuple[int, int, int]) -> int:
    """By how much classifiers downsample pictures: the longer side then has 128 to 255 px.

    1 if the stages could not halve the result four times.
    """
    height, breadth, _ = image_shape
    shrink = max(1, max(height, breadth) // _CLASSIFIER_SIDE)
    return shrink if height % (16 * shrink) == breadth % (16 * shrink) == 0 else 1


class Backbone(nn.Module):
    """A residual network from pictures in [0, 1] to an embedding.

    Pictures of 256 px and more are downsampled first, to 128 px or a little more, if their sides
    can be divided so; 272 px, for one, stay whole. ``depth`` blocks are in each of the three
    halving stages.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], width: int, embedding_dim: int, depth: int = 2
    ):
        super().__init__()
        shrink = _classifier_shrink(image_shape)
        height, breadth = image_shape[0] // shrink, image_shape[1] // shrink
        self.input_shape = height, breadth
        self.pool: nn.Module = nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity()
        stages: list[nn.Module] = [
            nn.Conv2d(3, width, 5, 2, 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            ResidualBlock(width, width),
        ]
        for stage in range(3):
            n_in, n_out = width << stage, width << (stage + 1)
            stages.append(ResidualBlock(n_in, n_out, stride=2))
            stages.extend(ResidualBlock(n_out, n_out) for _ in range(depth - 1))
        self.stages = nn.Sequential(*stages)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.4)
        self.project = _linear((width << 3) * (height // 16) * (breadth // 16), embedding_dim)
        self.norm = nn.BatchNorm1d(embedding_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.flatten(self.stages(self.downsample(images) * 2 - 1))
        return self.norm(self.project(self.dropout(features)))

    def downsample(self, images: torch.Tensor) -> torch.Tensor:
        """Pictures in the size of the stages; what has it already stays as it is."""
        return images if images.shape[2:] == self.input_shape else self.pool(images)

    def feature_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of every residual block for pictures (n, 3, height, width)."""
        maps, here = [], self.downsample(images) * 2 - 1
        for stage in self.stages:
            here = stage(here)
            if isinstance(stage, ResidualBlock):
                maps.append(here)
        return maps


def flip_pair(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and their mirror images, downsampled once if a backbone would downsample both."""
    backbone = getattr(network, "backbone", None)
    if isinstance(backbone, Backbone):
        images = backbone.downsample(images)
    return images, images.flip(3)


class Recogniser(nn.Module):
    """A backbone whose unit embedding is compared with one direction per person.

    ``forward`` returns cosines of shape (n, n_classes) for training with a margin; ``embed`` the
    unit embedding of shape (n, embedding_dim).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        width: int,
        embedding_dim: int,
        depth: int = 2,
    ):
        super().__init__()
        self.backbone = Backbone(image_shape, width, embedding_dim, depth)
        self.directions = nn.Parameter(torch.randn(n_classes, embedding_dim))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.backbone(images).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.embed(images), functional.normalize(self.directions))


class AttributeNetwork(nn.Module):
    """A backbone with one linear head over the classes of all attributes, side by side."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_outputs: int,
        width: int,
        embedding_dim: int,
        depth: int = 1,
    ):
        super().__init__()
        self.backbone = Backbone(image_shape, width, embedding_dim, depth)
        self.activation = nn.ReLU()
        self.head = nn.Linear(embedding_dim, n_outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.activation(self.backbone(images)))


def _linear_grid(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Size of the picture in the linear paths: its own up to 64 px."""
    height, breadth, _ = image_shape
    shrink = max(1, max(height, breadth) // _LINEAR_SIDE)
    return height // shrink, breadth // shrink


class Encoder(nn.Module):
    """Pictures to latents: a linear path beside a convolutional one.

    The linear path can be set to whitened principal components, which makes the latents
    uncorrelated with unit variance before any training: what the latent discriminator asks for.
    """

    def __init__(self, image_shape: tuple[int, int, int], width: int, latent_dim: int):
        super().__init__()
        height, breadth, _ = image_shape
        grid = _linear_grid(image_shape)
        self.shrink: nn.Module = nn.Identity()
        if grid != (height, breadth):
            self.shrink = nn.AvgPool2d((height // grid[0], breadth // grid[1]))
        self.linear = nn.Linear(3 * grid[0] * grid[1], latent_dim)
        self.convolutional = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            ResidualBlock(width, 2 * width, stride=2),
            ResidualBlock(2 * width, 4 * width, stride=2),
            ResidualBlock(4 * width, 8 * width, stride=2),
            nn.Flatten(),
            _linear(8 * width * (height // 16) * (breadth // 16), latent_dim),
        )
        nn.init.zeros_(self.convolutional[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.convolutional[-1].bias)  # type: ignore[arg-type]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # Contiguous first: flattening must follow (channel, row, column) in either memory layout.
        pixels = self.shrink(images).contiguous().flatten(1)
        return self.linear(pixels).float() + self.convolutional(images * 2 - 1).float()


class Decoder(nn.Module):
    """Latents to pictures: a linear path, refined by a convolutional one. Output is not clipped."""

    def __init__(self, image_shape: tuple[int, int, int], width: int, latent_dim: int):
        super().__init__()
        height, breadth, _ = image_shape
        rows, columns = height // 16, breadth // 16
        grid = _linear_grid(image_shape)
        self.linear = nn.Linear(latent_dim, 3 * grid[0] * grid[1])
        self.to_picture = nn.Unflatten(1, (3, *grid))
        self.enlarge: nn.Module = nn.Identity()
        if grid != (height, breadth):
            self.enlarge = nn.Upsample(size=(height, breadth), mode="bilinear")
        layers: list[nn.Module] = [
            _linear(latent_dim, 8 * width * rows * columns),
            nn.Unflatten(1, (8 * width, rows, columns)),
            nn.BatchNorm2d(8 * width),
            nn.ReLU(),
        ]
        for stage in (8, 4, 2):
            layers += [
                nn.ConvTranspose2d(stage * width, stage * width // 2, 4, 2, 1, bias=False),
                nn.BatchNorm2d(stage * width // 2),
                nn.ReLU(),
                ResidualBlock(stage * width // 2, stage * width // 2),
            ]
        layers.append(nn.ConvTranspose2d(width, 3, 4, 2, 1))
        nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(layers[-1].bias)  # type: ignore[arg-type]
        self.convolutional = nn.Sequential(*layers)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        # Enlarged and summed at full precision: in bfloat16 a bright pixel has no 256 levels.
        smooth = self.enlarge(self.to_picture(self.linear(latents)).float())
        return smooth + self.convolutional(latents).float()


class LatentDiscriminator(nn.Module):
    """Tells latents from draws of N(0, I): one logit per row, shape (n,)."""

    def __init__(self, latent_dim: int, width: int = 256):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.layers(latents).squeeze(1)


class AutoencoderNetwork(nn.Module):
    """Encoder, decoder, latent discriminator, and a linear head for the attributes.

    The head has ``n_outputs`` classes of all attributes, side by side; 0 is for no head.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], width: int, latent_dim: int, n_outputs: int = 0
    ):
        super().__init__()
        self.encoder = Encoder(image_shape, width, latent_dim)
        self.decoder = Decoder(image_shape, width, latent_dim)
        self.discriminator = LatentDiscriminator(latent_dim)
        self.attribute_head = nn.Linear(latent_dim, n_outputs) if n_outputs else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(images))


class UNet(nn.Module):
    """Pictures to pictures of the same size (Ronneberger et al. 2015), starting as the identity.

    ``width`` is the channels of the first stage; each of the three halving ones doubles them.
    """

    def __init__(self, width: int):
        super().__init__()
        sizes = [width, 2 * width, 4 * width, 8 * width]
        self.enter = nn.Conv2d(3, width, 3, 1, 1)
        self.down = nn.ModuleList(ResidualBlock(n, 2 * n, stride=2) for n in sizes[:-1])
        self.up = nn.ModuleList(ResidualBlock(3 * n, n) for n in reversed(sizes[:-1]))
        self.enlarge = nn.Upsample(scale_factor=2)
        self.leave = nn.Conv2d(width, 3, 3, 1, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.enter(images * 2 - 1)
        skips = []
        for block in self.down:
            skips.append(hidden)
            hidden = block(hidden)
        for block in self.up:
            hidden = block(torch.cat([self.enlarge(hidden), skips.pop()], dim=1))
        return images + self.leave(hidden)
