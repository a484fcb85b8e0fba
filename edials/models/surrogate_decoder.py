"""The decoder of surrogates: what a draw tells, made into a picture as photos are.

Draws are no latents of photos: decoded as such, they look like several faces at once. This decoder
has learned, from draws made for photos and these photos, what to make of them. It sees draws alone,
so a picture of it holds no more about a photo than the draw does.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional

from .._random import forked_torch, stage_seeds
from .._validation import check_batch_size, resolve_device
from ..latent.identity_basis import IdentityBasis
from ..latent.surrogates import FEWEST_PEOPLE, SurrogatePrior, choose
from ..networks.inference import check_precision, decode_latents
from ..networks.losses import perceptual_loss
from ..networks.modules import Decoder, preset
from ..networks.training import FaceDataset, FaceNet, TrainedMixin, TrainingLength, train

# How long training takes if nobody says so: steps, and the fewest and most epochs.
_TYPICAL = TrainingLength(3800, 2, 24)
_RECONSTRUCTION_WEIGHT, _PERCEPTUAL_WEIGHT = 10.0, 2.0
# Numbers of features given back in training: what will be, so many times as often as each of some
# others, for who changes the strength later and for images that are released at strength 1.
_OFTEN, _OTHERS = 7, (0, 1, 2, 4, 8, 16, 32, 64)
#: Where a larger share is given back, draws are so near to photos that the autoencoder's own
#: decoder shows them better (on LFW similarity is 0.54 by both at 64 of 512).
MOST_GIVEN_BACK = 1 / 8


class SurrogateDecoder(TrainedMixin, BaseEstimator):
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

    def __init__(
        self,
        size: str = "small",
        *,
        max_epochs: int | None = None,
        learning_rate: float = 3e-4,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.size = size
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        images: NDArray,
        coordinates: NDArray[np.float32],
        codes: NDArray[np.int64],
        turns: NDArray[np.float64],
        people: NDArray[np.int64],
        *,
        decoder: nn.Module,
        basis: IdentityBasis,
        prior: SurrogatePrior,
        order: NDArray[np.int64],
        n_retained: int = 0,
    ) -> SurrogateDecoder:
        """Learn to show the photos that draws were made for.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, 3)
        coordinates : ndarray of shape (n_samples, n_features)
        codes : ndarray of shape (n_samples, n_attributes)
            As read off the images. Photos whose reading fewer than five people share are left out.
        turns : ndarray of shape (n_samples,)
        people : ndarray of shape (n_samples,)
            Person codes; every one counts once. Unknown people (-1) are left out if there are
            others: surrogates are to look like the named.
        decoder : nn.Module
            Where training starts.
        basis : IdentityBasis
        prior : SurrogatePrior
        order : ndarray of shape (n_features,)
            The first to be replaced first.
        n_retained : int, default=0
            How many features will be given back: what draws are mostly made with.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``batch_size`` or ``max_epochs`` cannot be used.
        """
        check_batch_size(self.batch_size)
        check_precision(self.precision)
        seeds = stage_seeds(self.random_state, "training", "noise")
        device = resolve_device(self.device)
        self.image_shape_ = images.shape[1:]
        self.latent_dim_ = coordinates.shape[1]
        module = copy.deepcopy(decoder)
        weights = _row_weights(people, codes)
        rows = np.flatnonzero(weights)
        if len(rows) >= 2:
            made = np.column_stack([coordinates, codes, turns])[rows].astype(np.float32)
            self.net_ = train(
                _DrawnNet,
                module,
                FaceDataset(images[rows], made, weights[rows]),
                None,
                device=device,
                precision=self.precision,
                seed=seeds["training"],
                learning_rate=self.learning_rate,
                max_epochs=self.max_epochs,
                typical=_TYPICAL,
                patience=None,
                title="surrogate decoder",
                verbose=self.verbose,
                batch_size=self.batch_size,
                weight_decay=1e-4,
                drawer=_Drawer(basis, prior, order, n_retained, seeds["noise"]),
            )
            self.net_.drawer = None
        else:
            self.net_ = FaceNet(
                module.to(device), device=device, callbacks=None, train_split=None, verbose=0
            ).initialize()
        self.module_.eval()
        return self

    def _new_module(self, seed: int) -> nn.Module:
        with forked_torch(seed):
            return Decoder(self.image_shape_, preset(self.size).width, self.latent_dim_)

    def decode(self, latents: ArrayLike) -> NDArray[np.uint8]:
        """Decode drawn latents to pictures.

        Parameters
        ----------
        latents : array-like of shape (n_samples, latent_dim_)

        Returns
        -------
        ndarray of shape (n_samples, height, width, 3), dtype uint8

        Raises
        ------
        ValueError
            If latents have another length.
        """
        check_is_fitted(self, "module_")
        return decode_latents(self, self.module_, latents)


def _row_weights(people: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often a photo is drawn: every person alike, none of a reading that few people share."""
    own = np.where(people >= 0, people, people.max() + 1 + np.arange(len(people)))
    cells = np.unique(codes, axis=0, return_inverse=True)[1].ravel() if codes.size else 0 * own
    usable = _effective_people(cells, own)[cells] > FEWEST_PEOPLE - 1e-6
    if (people >= 0).any():
        usable &= people >= 0
    photos = np.bincount(own[usable], minlength=own.max() + 1)
    return np.where(usable, 1 / np.maximum(photos[own], 1), 0.0)


def _effective_people(cells: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many people each cell is of, by what share of their photos is read so (Kish 1965).

    Four people with one misread photo each do not hide a fifth whose photos are all read so.
    """
    pairs, photos = np.unique(np.column_stack([cells, own]), axis=0, return_counts=True)
    shares = photos / np.bincount(own)[pairs[:, 1]]
    squares = np.bincount(pairs[:, 0], shares**2)
    return np.bincount(pairs[:, 0], shares) ** 2 / np.where(squares > 0, squares, 1)


def in_training(n_retained: int, n_features: int) -> list[int]:
    """Numbers of features given back, each as often as it is in the list."""
    most = int(MOST_GIVEN_BACK * n_features)
    numbers = [*[n_retained] * _OFTEN, *_OTHERS]
    return [number for number in numbers if number <= most]


class _Drawer:
    """Draws for rows of what a draw is made of, all features but some given back."""

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
        self.n_retained = in_training(n_retained, count)
        # Spread as `given` has it by default: farther than in releases.
        self.draws = {
            back: prior.given(choose(order, 1 - back / count)) for back in set(self.n_retained)
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
