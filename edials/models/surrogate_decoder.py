"""The decoder of surrogates: what a draw tells, made into a picture as photos are.

Draws are no latents of photos: decoded as such, they look like several faces at once. This decoder
has learned, from draws made for photos and these photos, what to make of them. It sees draws alone,
so a picture of it holds no more about a photo than the draw does.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.nn import functional

from .._validation import check_parameters, resolve_device
from ..latent.identity_basis import IdentityBasis
from ..latent.surrogates import MIN_PEOPLE_PER_CLASS, SurrogatePrior, replacement_mask
from ..networks.losses import perceptual_loss
from ..networks.modules import PRESETS, Decoder
from ..networks.training import FaceDataset, FaceNet, TrainingLength
from ._base import NetworkEstimator

_RECONSTRUCTION_WEIGHT, _PERCEPTUAL_WEIGHT = 10.0, 2.0
# Numbers of retained features in training: what will be, so many times as often as each of some
# others, for who changes the strength later and for images that are released at strength 1.
_REPEATS, _OTHER_COUNTS = 7, (0, 1, 2, 4, 8, 16, 32, 64)
#: Where a larger share is retained, draws are so near to photos that the autoencoder's own
#: decoder shows them better (on LFW similarity is 0.54 by both at 64 of 512).
MAX_RETAINED_SHARE = 1 / 8


@dataclass(kw_only=True, eq=False, repr=False)
class SurrogateDecoder(NetworkEstimator):
    """A copy of an autoencoder's decoder that goes on learning from surrogates.

    Parameters
    ----------
    size : {"tiny", "small", "base"}, default="small"
        Of the autoencoder.
    max_epochs : int, optional
        None makes about 3,800 optimisation steps, but 2 epochs at least and 24 at most.
    learning_rate : float, default=0.0003
        Peak of a schedule that rises linearly and falls as a cosine.
    batch_size : int, default=64
    device : str, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the network computes in, training and inference: bfloat16 where the device has it, by
        default.
    random_state : int, RandomState instance or None, default=None
    verbose : int, default=0

    Attributes
    ----------
    image_shape_ : tuple (height, width, 3)
    latent_dim_ : int
    net_ : skorch net
    module_ : nn.Module
    """

    _title = "surrogate decoder"
    _default_length = TrainingLength(3800, min_epochs=2, max_epochs=24)

    learning_rate: float = 3e-4
    # Not parameters of this one.
    module: Any = field(default=None, init=False)
    validation_fraction: float = field(default=0.0, init=False)
    patience: Any = field(default=None, init=False)
    image_shape: Any = field(default=None, init=False)
    warm_start: bool = field(default=False, init=False)

    def fit(
        self,
        images: NDArray,
        coordinates: NDArray[np.float32],
        codes: NDArray[np.int64],
        yaw: NDArray[np.float64],
        people: NDArray[np.int64],
        *,
        decoder: nn.Module,
        basis: IdentityBasis,
        prior: SurrogatePrior,
        order: NDArray[np.int64],
        n_retained: int = 0,
    ) -> SurrogateDecoder:
        """Learn to show the photos that draws were made for.

        ``coordinates``, predicted ``codes``, ``yaw`` and ``people`` have a row for every image.
        Every person counts once. Predicted cells of fewer than five people are left out, and
        unknown people (-1) if there are others. Most draws retain the last ``n_retained`` of
        ``order``.
        """
        check_parameters(self, self._constraints)
        seeds, device = self._seeds("noise"), resolve_device(self.device)
        weights = _row_weights(people, codes)
        rows = np.flatnonzero(weights)
        with self._fitting(images):
            self.latent_dim_ = coordinates.shape[1]
            module = copy.deepcopy(decoder)
            if len(rows) < 2:
                self._hold(module, device)
                return self
            made_of = np.column_stack([coordinates, codes, yaw])[rows].astype(np.float32)
            self._train(
                module,
                FaceDataset(images[rows], made_of, weights[rows]),
                seeds,
                net_class=_DrawnNet,
                optimizer__weight_decay=1e-4,
                drawer=_Drawer(basis, prior, order, n_retained, seeds["noise"]),
            )
            self.net_.drawer = None
        return self

    def _build_module(self) -> nn.Module:
        return Decoder(self.image_shape_, PRESETS[self.size].width, self.latent_dim_)

    def decode(self, latents: ArrayLike) -> NDArray[np.uint8]:
        """Decode drawn latents (n, latent_dim_) to uint8 pictures (n, height, width, 3)."""
        return self._decode(self._network, latents)


def _row_weights(people: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often a photo is drawn: every person alike, none of a reading that few people share."""
    own = np.where(people >= 0, people, people.max() + 1 + np.arange(len(people)))
    cells = np.unique(codes, axis=0, return_inverse=True)[1].ravel() if codes.size else 0 * own
    usable = _effective_people(cells, own)[cells] > MIN_PEOPLE_PER_CLASS - 1e-6
    if (people >= 0).any():
        usable &= people >= 0
    photos = np.bincount(own[usable], minlength=own.max() + 1)
    return np.where(usable, 1 / np.maximum(photos[own], 1), 0.0)


def _effective_people(cells: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many people each cell is of, by what share of their photos is read so (Kish 1965).

    Four people with one misclassified photo each do not hide a fifth with all photos.
    """
    pairs, photos = np.unique(np.column_stack([cells, own]), axis=0, return_counts=True)
    shares = photos / np.bincount(own)[pairs[:, 1]]
    squares = np.bincount(pairs[:, 0], shares**2)
    return np.bincount(pairs[:, 0], shares) ** 2 / np.where(squares > 0, squares, 1)


def training_counts(n_retained: int, n_features: int) -> list[int]:
    """Numbers of retained features, each as often as it is in the list."""
    most = int(MAX_RETAINED_SHARE * n_features)
    numbers = [*[n_retained] * _REPEATS, *_OTHER_COUNTS]
    return [number for number in numbers if number <= most]


class _Drawer:
    """Draws for training rows, with some features retained."""

    def __init__(
        self,
        basis: IdentityBasis,
        prior: SurrogatePrior,
        order: NDArray[np.int64],
        n_retained: int,
        seed: int,
    ):
        self.basis, self.n_attributes = basis, len(prior.sizes)
        self.generator = np.random.default_rng(seed)
        count = len(order)
        self.n_retained = training_counts(n_retained, count)
        # At the default temperature of `condition`, higher than in releases.
        self.draws = {
            back: prior.condition(replacement_mask(order, 1 - back / count))
            for back in set(self.n_retained)
        }

    def __call__(self, rows: NDArray[np.float32]) -> torch.Tensor:
        count = len(self.basis.mean)
        back = self.n_retained[self.generator.integers(len(self.n_retained))]
        noise = self.generator.standard_normal((len(rows), count))
        codes = np.rint(rows[:, count : count + self.n_attributes]).astype(np.int64)
        drawn = self.draws[back](rows[:, :count], codes, noise, rows[:, -1].astype(np.float64))
        return self.basis.unrotate(torch.from_numpy(drawn))


class _DrawnNet(FaceNet):
    """Trained on draws, made anew for every batch."""

    def __init__(self, module: nn.Module, drawer: Any = None, **kwargs: Any):
        self.drawer = drawer
        super().__init__(module, **kwargs)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        images, made_of = batch
        latents = self.drawer(made_of.cpu().numpy()).to(images)
        self._set_training(True)
        with self.autocast():
            pictures = self.module_(latents).float()
        loss = _RECONSTRUCTION_WEIGHT * functional.mse_loss(pictures, images)
        loss = loss + _PERCEPTUAL_WEIGHT * perceptual_loss(pictures, images)
        self.optimizer_.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module_.parameters(), 5.0)
        self.optimizer_.step()
        return {"loss": loss.detach(), "y_pred": pictures.detach()}
