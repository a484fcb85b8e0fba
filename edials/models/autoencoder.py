"""The adversarial autoencoder: pictures to latents that pass as N(0, I), and back."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._labels import AttributeTargets, encode_attributes
from .._validation import Accepted, Interval, check_images, resolve_device, to_tensor
from ..networks.adversarial import AdversarialNet, LossWeights, frozen_backbone
from ..networks.augmentation import mirror_faces
from ..networks.losses import AttributeLoss
from ..networks.modules import PRESETS, AutoencoderNetwork, Encoder
from ..networks.training import FaceDataset, TrainingLength
from ._base import NetworkEstimator

# More pictures than this no longer move the leading principal components.
_PCA_ROWS = 10_000


@dataclass(kw_only=True, eq=False, repr=False)
class AdversarialAutoencoder(TransformerMixin, NetworkEstimator):
    """Adversarial autoencoder of face images (Makhzani et al. 2015), in a skorch net.

    The objective of encoder and decoder is one sum::

        reconstruction_weight * mean squared error
        + perceptual_weight * (1 - SSIM)
        + adversarial_weight * (the latents should pass as draws of N(0, I))
        + attribute_weight * (attributes should be linear in the latents; with ``y``)
        + feature_weight * (features of a picture should stay; with ``feature_classifier``)

    while the latent discriminator learns to separate latents and draws of N(0, I). The linear paths
    of encoder and decoder start at the whitened principal components of the training images, so
    that training refines a good code instead of searching for one.

    Parameters
    ----------
    size : {"tiny", "small", "base"}, default="small"
        Preset of the networks: tiny for tests, small for 64 px, base for 128 px.
    latent_dim : int, optional
        Number of latent features; None takes the preset's (48, 512 or 768).
    module : callable, optional
        Builds another network: ``module(image_shape=..., width=..., latent_dim=...,
        n_outputs=...)`` returns an nn.Module with ``encoder``, ``decoder``, ``discriminator`` and
        ``attribute_head`` (may be None).
    reconstruction_weight : float, default=10.0
    perceptual_weight : float, default=0.2
    adversarial_weight : float, default=0.01
    attribute_weight : float, default=0.05
    feature_weight : float, default=0.2
    feature_classifier : AttributeClassifier, optional
        Fitted, best in a FrozenEstimator. Its features of a picture and of the reconstruction
        should agree, so that what the attributes are predicted from is not smoothed away.
    max_epochs : int, optional
        None makes about 400 optimisation steps, but 3 epochs at least and 80 at most.
    learning_rate : float, default=0.0003
        Peak of a schedule that rises linearly and falls as a cosine. Three times as much undoes the
        principal components that training starts from: on 2,000 faces of LFW similarity to unseen
        photos was 0.84 to 0.85 with 0.0002 and 0.0004, and 0.81 to 0.82 with 0.001.
    batch_size : int, default=64
    validation_fraction : float, default=0.05
        Share of the images held out for early stopping; 0 switches it off.
    patience : int, optional
        Epochs without a better held-out loss before training stops and restores the best weights;
        None waits for a third of ``max_epochs``.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    warm_start : bool, default=False
        Start from the previous fit's weights, if all have the same shapes.
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
    classes_per_attribute_ : dict of str to ndarray
        Empty without ``y``.
    net_ : skorch net
    module_ : nn.Module
    n_features_in_ : int
        Numbers per image, ``height * width * 3``.

    References
    ----------
    Makhzani, Shlens, Jaitly, Goodfellow and Frey (2015), "Adversarial autoencoders".

    Examples
    --------
    >>> from edials.models.autoencoder import AdversarialAutoencoder
    >>> from edials.datasets import make_faces
    >>> images = make_faces(4, 10, size=32, random_state=0).images
    >>> autoencoder = AdversarialAutoencoder("tiny", max_epochs=1, random_state=0).fit(images)
    >>> autoencoder.encode(images).shape
    (40, 48)
    """

    _title = "autoencoder"
    _default_length = TrainingLength(400, min_epochs=3, max_epochs=80)
    _constraints: ClassVar[dict[str, Accepted]] = {
        **NetworkEstimator._constraints,
        "latent_dim": (None, Interval(Integral, 1)),
        "reconstruction_weight": (Interval(Real, 0),),
        "perceptual_weight": (Interval(Real, 0),),
        "adversarial_weight": (Interval(Real, 0),),
        "attribute_weight": (Interval(Real, 0),),
        "feature_weight": (Interval(Real, 0),),
        "feature_classifier": (None, BaseEstimator),
    }

    latent_dim: int | None = None
    reconstruction_weight: float = 10.0
    perceptual_weight: float = 0.2
    adversarial_weight: float = 0.01
    attribute_weight: float = 0.05
    feature_weight: float = 0.2
    feature_classifier: Any = None
    learning_rate: float = 3e-4
    validation_fraction: float = 0.05

    def fit(self, X: ArrayLike, y: Any = None) -> AdversarialAutoencoder:
        """Learn to encode and decode.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
            uint8 or float in [0, 1].
        y : array-like of shape (n_samples,) or DataFrame (n_samples, n_attributes), optional
            Attributes to make linear in the latents; missing entries are allowed.

        Returns
        -------
        self

        Raises
        ------
        InvalidImageError, InvalidLabelsError
            If images or labels cannot be used.
        """
        images = self._check_input(X)
        no_attributes = AttributeTargets(np.empty((len(images), 0), dtype=np.int64), {})
        targets = encode_attributes(y, len(images)) or no_attributes
        seeds, device = self._seeds("components"), resolve_device(self.device)
        features = frozen_backbone(self.feature_classifier, device)
        with self._fitting(images) as previous:
            self.classes_per_attribute_ = targets.classes
            module = self._new_module(seeds["weights"])
            warm = self._warm_start_from(module, previous)
            if isinstance(module, AutoencoderNetwork) and not warm:
                _start_at_principal_components(module, images, seeds["components"])
            self._train(
                module,
                FaceDataset(images, targets.codes),
                seeds,
                net_class=AdversarialNet,
                augment=mirror_faces,
                loss_weights=LossWeights(
                    reconstruction=self.reconstruction_weight,
                    perceptual=self.perceptual_weight,
                    adversarial=self.adversarial_weight,
                    attribute=self.attribute_weight,
                    feature=self.feature_weight,
                ),
                features=features,
                criterion=AttributeLoss,
                criterion__sizes=targets.sizes,
                criterion__class_weights=targets.class_weights(device),
            )
            self.net_.features = None
            self.latent_dim_ = self.encode(images[:1]).shape[1]
        return self

    def _build_module(self) -> nn.Module:
        dimensions = PRESETS[self.size]
        builder = AutoencoderNetwork if self.module is None else self.module
        return builder(
            image_shape=self.image_shape_,
            width=dimensions.width,
            latent_dim=self.latent_dim or dimensions.latent_dim,
            n_outputs=sum(len(classes) for classes in self.classes_per_attribute_.values()),
        )

    def encode(self, X: ArrayLike) -> NDArray[np.float32]:
        """Encode images.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of shape (n_samples, latent_dim_), dtype float32
        """
        return self._map_images(self._network.encoder, X)

    transform = encode

    def decode(self, latents: ArrayLike) -> NDArray[np.uint8]:
        """Decode latents to pictures.

        Parameters
        ----------
        latents : array-like of shape (n_samples, latent_dim_)

        Returns
        -------
        ndarray of shape (n_samples, height, width, 3), dtype uint8
        """
        return self._decode(self._network.decoder, latents)

    def inverse_transform(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Decode latents; the same as :meth:`decode`.

        Parameters
        ----------
        X : array-like of shape (n_samples, latent_dim_)

        Returns
        -------
        ndarray of shape (n_samples, height, width, 3), dtype uint8
        """
        return self.decode(X)

    def reconstruct(self, X: ArrayLike) -> NDArray:
        """Encode and decode images.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of the shape and dtype of ``X``
        """
        check_is_fitted(self, "module_")
        _, image_format = check_images(X, image_shape=self.image_shape_)
        return image_format.restore(self.decode(self.encode(X)))

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean peak signal-to-noise ratio of the reconstructions; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : Ignored.

        Returns
        -------
        float, in dB
        """
        check_is_fitted(self, "module_")
        images, _ = check_images(X, image_shape=self.image_shape_)
        total = 0.0
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            error = to_tensor(self.reconstruct(batch)) - to_tensor(batch)
            mse = (error**2).flatten(1).mean(1).clamp_min(1e-10)
            total += float((-10 * torch.log10(mse)).sum())
        return total / len(images)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def _start_at_principal_components(module: AutoencoderNetwork, images: NDArray, seed: int) -> None:
    """Set the linear paths to whitened principal components and their inverse.

    A third as many components as images at most: the smallest of more would be noise of this
    sample, with a variance that other images exceed.
    """
    rows = np.random.default_rng(seed).permutation(len(images))[:_PCA_ROWS]
    encoder: Encoder = module.encoder
    with torch.inference_mode():
        pixels = np.concatenate(
            [
                encoder.shrink(to_tensor(images[part])).contiguous().flatten(1).numpy()
                for part in np.array_split(rows, max(1, len(rows) // 512))
            ]
        )
    latent_dim = encoder.linear.out_features
    count = max(1, min(latent_dim, len(rows) // 3, pixels.shape[1]))
    # Symmetric solvers are exact and quick when one side is short; the randomized one otherwise.
    pca = PCA(count, svd_solver="randomized", iterated_power=2, random_state=seed)
    with np.errstate(invalid="ignore"):  # identical pictures have no variance, of which PCA warns
        pca.fit(pixels)
    spread = np.sqrt(np.maximum(pca.explained_variance_, 1e-10))
    components = pca.components_ / spread[:, None]
    with torch.no_grad():
        encoder.linear.weight.mul_(0.1)
        encoder.linear.weight[:count] = torch.from_numpy(components)
        encoder.linear.bias[:count] = torch.from_numpy(-components @ pca.mean_)
        module.decoder.linear.weight.zero_()
        module.decoder.linear.weight[:, :count] = torch.from_numpy(pca.components_.T * spread)
        module.decoder.linear.bias.copy_(torch.from_numpy(pca.mean_))
