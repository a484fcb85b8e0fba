"""The identity classifier: who is it (closed set), and are these two the same (verification)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional

from .._discriminant import discriminant
from .._labels import encode_labels
from .._random import torch_defaults
from .._validation import Accepted, Interval, check_images, check_value, check_weights
from ..exceptions import InvalidLabelsError
from ..networks.augmentation import augment_faces
from ..networks.inference import autocast
from ..networks.losses import MarginLoss
from ..networks.modules import PRESETS, Recogniser, flip_pair
from ..networks.training import FaceDataset, TrainingLength
from ._base import NetworkEstimator

# Enough held-out pictures to estimate a false match rate of 1e-3 from their pairs.
_IMPOSTOR_ROWS = 1500


@dataclass(kw_only=True, eq=False, repr=False)
class IdentityClassifier(ClassifierMixin, NetworkEstimator):
    """Face recogniser: a residual network trained with a cosine margin, in a skorch net.

    The closed-set decision is a linear discriminant analysis of the unit embeddings. It uses every
    photo of a person at once, and :meth:`enrol` computes it for another gallery without training.
    An embedding is the mean of those of a picture and its mirror image.

    Parameters
    ----------
    size : {"tiny", "small", "base"}, default="small"
    depth : int, default=2
        Residual blocks in each halving stage.
    module : callable, optional
        Builds another network: ``module(image_shape=..., n_classes=..., width=...,
        embedding_dim=..., depth=...)`` returns an nn.Module whose ``forward`` gives cosines
        (n, n_classes) and whose ``embed`` gives unit embeddings.
    shrinkage : float, default=0.3
        Share of the spherical part in the discriminant analysis' covariance, in [0, 1].
    margin : float, default=0.1
        Margin of the training loss, in units of cosine.
    balance : float, default=0.5
        Images of a person with n images are drawn in proportion to ``n ** -balance``: 0 draws
        images evenly, 1 people. Ignored with ``sample_weight``.
    max_epochs : int, optional
        None makes about 1,500 optimisation steps, but 12 epochs at least and 80 at most.
    learning_rate : float, default=0.004
    batch_size : int, default=64
    validation_fraction : float, default=0.1
        Share of each person's images held out for early stopping and for the thresholds.
    patience : int, optional
        Epochs without a better held-out loss before training stops and restores the best weights;
        None waits for a third of ``max_epochs``.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    warm_start : bool, default=False
        Start from the previous fit's weights but those of the people, if all have the same shapes.
    device : str, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the network computes in, training and inference: bfloat16 where the device has it, by
        default.
    random_state : int, RandomState instance or None, default=None
    verbose : int, default=0

    Attributes
    ----------
    classes_ : ndarray of shape (n_people,)
    image_shape_ : tuple (height, width, 3)
    net_ : skorch net
    module_ : nn.Module
    head_ : nn.Linear
        From unit embeddings to one logit per person.
    n_trained_people_ : int
        People in ``fit``; :meth:`enrol` changes ``classes_`` and not this.
    impostor_similarities_ : ndarray, sorted
        Cosines of held-out pictures of different people.
    n_features_in_ : int

    References
    ----------
    Wang et al. (2018), "CosFace: large margin cosine loss for deep face recognition".
    Belhumeur, Hespanha and Kriegman (1997), "Eigenfaces vs. Fisherfaces".

    Examples
    --------
    >>> from edials.datasets import make_faces
    >>> from edials.models.identity_classifier import IdentityClassifier
    >>> faces = make_faces(4, 10, size=32, random_state=0)
    >>> recogniser = IdentityClassifier("tiny", max_epochs=2, random_state=0)
    >>> recogniser.fit(faces.images, faces.identity).embed(faces.images).shape
    (40, 32)
    """

    _title = "identity classifier"
    _default_length = TrainingLength(1500, min_epochs=12, max_epochs=80)
    _fresh_weights = frozenset({"directions"})
    _constraints: ClassVar[dict[str, Accepted]] = {
        **NetworkEstimator._constraints,
        "depth": (Interval(Integral, 1),),
        "shrinkage": (Interval(Real, 0, 1),),
        "margin": (Interval(Real, 0),),
        "balance": (Interval(Real, 0),),
    }

    depth: int = 2
    shrinkage: float = 0.3
    margin: float = 0.1
    balance: float = 0.5
    learning_rate: float = 4e-3

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> IdentityClassifier:
        """Learn to tell people apart.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : array-like of shape (n_samples,)
            Identities, none missing.
        sample_weight : array-like of shape (n_samples,), optional
            How often each image is drawn in training.

        Returns
        -------
        self

        Raises
        ------
        InvalidImageError, InvalidLabelsError
            If images or labels cannot be used, or fewer than two people are there.
        """
        images = self._check_input(X)
        codes, classes = _check_identity(y, len(images))
        seeds = self._seeds()
        if sample_weight is None:
            weights = (np.bincount(codes)[codes] ** -float(self.balance)).astype(np.float64)
        else:
            weights = check_weights(sample_weight, len(images))
        with self._fitting(images) as previous:
            self.n_trained_people_ = len(classes)
            module = self._new_module(seeds["weights"])
            self._warm_start_from(module, previous)
            held_out = self._train(
                module,
                FaceDataset(images, codes, weights),
                seeds,
                groups=codes,
                augment=augment_faces,
                criterion=MarginLoss,
                criterion__margin=self.margin,
                optimizer__weight_decay=0.05,
            )
            self._set_head(self.embed(images), codes, classes, self._directions())
            several = len(np.unique(codes[held_out])) > 1
            rows = held_out if several else np.arange(len(images))
            rows = np.random.default_rng(seeds["split"]).permutation(rows)[:_IMPOSTOR_ROWS]
            embeddings, people = self.embed(images[rows]), codes[rows]
            impostors = np.triu(people[:, None] != people, 1)
            self.impostor_similarities_ = np.sort((embeddings @ embeddings.T)[impostors])
        return self

    def enrol(self, X: ArrayLike, y: ArrayLike) -> IdentityClassifier:
        """Replace the gallery: keep the network, compute the closed-set decision for these people.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : array-like of shape (n_samples,)
            Identities of the gallery, none missing; they need not be those of ``fit``.

        Returns
        -------
        self
        """
        check_is_fitted(self, "module_")
        images, _ = check_images(X, image_shape=self.image_shape_, min_samples=2)
        codes, classes = _check_identity(y, len(images))
        self._set_head(self.embed(images), codes, classes, None)
        return self

    def embed(self, X: ArrayLike) -> NDArray[np.float32]:
        """Embed pictures on the unit sphere; the cosine of two is their similarity.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of shape (n_samples, embedding_dim), rows of norm 1
        """
        return self._map_images(self.embed_tensor, X)

    def embed_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """Embed a tensor (n, 3, height, width) in [0, 1]; differentiable in the pictures."""
        with autocast(images.device, self.precision):
            network = self._network
            first, second = (network.embed(view) for view in flip_pair(network, images))
            return functional.normalize((first + second).float())

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Logit of every person of the gallery.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of shape (n_samples, n_people), dtype float32
            Of shape (n_samples,) for two people: the second one's logit less the first one's.
        """
        logits = self.logits_of(self.embed(X))
        return logits if len(self.classes_) > 2 else logits[:, 1] - logits[:, 0]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predict the probability of every person of the gallery.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of shape (n_samples, n_people), dtype float64
        """
        return softmax(self.logits_of(self.embed(X)).astype(np.float64), axis=1)

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict the most likely person of the gallery.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of shape (n_samples,), of the dtype of ``classes_``
        """
        codes = self.logits_of(self.embed(X)).argmax(axis=1)
        return self.classes_[codes]

    def threshold(self, fmr: float = 1e-2) -> float:
        """Cosine above which two pictures of different people match with probability ``fmr``.

        Parameters
        ----------
        fmr : float, default=0.01
            False match rate, in (0, 1), on held-out pictures of known people.

        Returns
        -------
        float in [-1, 1]
        """
        check_is_fitted(self, "module_")
        check_value("fmr", fmr, Interval(Real, 0, 1, closed="neither"))
        return float(np.quantile(self.impostor_similarities_, 1 - fmr))

    def logits_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a tensor of pictures without the mirrored copy; differentiable."""
        return self.head_(self.module_.embed(images))

    def logits_of(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logit of every person from embeddings.

        Parameters
        ----------
        embeddings : ndarray of shape (n_samples, embedding_dim), dtype float32
            As :meth:`embed` gives them.

        Returns
        -------
        ndarray of shape (n_samples, n_people), dtype float32
        """
        with torch.inference_mode():
            rows = torch.from_numpy(embeddings).to(self.head_.weight.device)
            return self.head_(rows).cpu().numpy()

    def _build_module(self) -> nn.Module:
        dimensions = PRESETS[self.size]
        builder = Recogniser if self.module is None else self.module
        return builder(
            image_shape=self.image_shape_,
            n_classes=self.n_trained_people_,
            width=dimensions.width,
            embedding_dim=dimensions.embedding_dim,
            depth=self.depth,
        )

    def _directions(self) -> NDArray[np.float32] | None:
        directions = getattr(self.module_, "directions", None)
        if directions is None:
            return None
        return functional.normalize(directions.detach()).cpu().numpy()

    @torch_defaults()
    def _set_head(
        self,
        embeddings: NDArray[np.float32],
        codes: NDArray[np.int64],
        classes: NDArray,
        directions: NDArray[np.float32] | None,
    ) -> None:
        weights, bias = discriminant(embeddings, codes, self.shrinkage, directions)
        device = torch.device(self.net_.device)
        self.classes_ = classes
        # Built empty and filled: a fresh nn.Linear would draw from torch's global generator.
        self.head_ = nn.utils.skip_init(nn.Linear, weights.shape[1], len(classes)).to(device)
        with torch.no_grad():
            self.head_.weight.copy_(torch.from_numpy(weights))
            self.head_.bias.copy_(torch.from_numpy(bias))
        self.head_.requires_grad_(False)


def _check_identity(y: Any, n_samples: int) -> tuple[NDArray[np.int64], NDArray]:
    if y is None:
        raise InvalidLabelsError(
            "requires y to be passed, but the target y is None: give the identity of each image."
        )
    labels = encode_labels(y, name="identity", n_samples=n_samples)
    if not labels.known.all():
        raise InvalidLabelsError(
            f"{int((~labels.known).sum())} identities are missing; leave these images out here."
        )
    if len(labels.classes) < 2:
        raise InvalidLabelsError(
            f"identity holds 1 class, {labels.classes[0]!r}; expected at least two people."
        )
    return labels.codes, labels.classes
