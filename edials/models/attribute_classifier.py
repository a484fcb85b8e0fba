"""The attribute classifier: age, gender, race, or any labels, one network for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import recall_score
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._labels import AttributeTargets, decode_attributes, encode_attributes
from .._random import forked_torch, stage_seeds
from .._splits import split_rows
from .._validation import check_batch_size, check_images, resolve_device
from ..exceptions import InvalidLabelsError
from ..networks.augmentation import augment_faces
from ..networks.inference import check_precision, inference_copy, map_images
from ..networks.losses import attribute_loss
from ..networks.modules import AttributeNetwork, mirrored, preset
from ..networks.training import FaceDataset, FaceNet, TrainedMixin, TrainingLength
from ..networks.training import train as train_net

# How long training takes if nobody says so: steps, and the fewest and most epochs.
_TYPICAL = TrainingLength(1000, 6, 80)


class AttributeClassifier(TrainedMixin, ClassifierMixin, BaseEstimator):
    """Classifier of one or several face attributes at once, holding a skorch net.

    Classes are weighted by the inverse square root of their counts, and labels may be missing in
    any column.

    Parameters
    ----------
    size : {"tiny", "small", "base"}, default="small"
    depth : int, default=1
        Residual blocks in each halving stage.
    module : callable, optional
        Own network: called as ``module(image_shape=..., n_outputs=..., width=...,
        embedding_dim=..., depth=...)``, returns an nn.Module with logits (n, n_outputs).
    max_epochs : int, optional
        None makes about 1,000 optimisation steps, but 6 epochs at least and 80 at most.
    learning_rate : float, default=0.002
    batch_size : int, default=64
    validation_fraction : float, default=0.1
    patience : int, optional
        Epochs without a better held-out loss before training stops, the best weights kept; None
        waits for a third of ``max_epochs``.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    warm_start : bool, default=False
        Start from the previous fit's weights, if it had the same attributes and image size.
    device : str, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the network computes in, training and inference: bfloat16 where the device has it, by
        default.
    random_state : int, RandomState instance or None, default=None
    verbose : int, default=0

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of them
        A list when ``y`` had several columns.
    attribute_names_ : list of str
    classes_per_attribute_ : dict of str to ndarray
    image_shape_ : tuple (height, width, 3)
    net_ : skorch net
    module_ : nn.Module
    n_features_in_ : int

    Examples
    --------
    >>> from edials.models.attribute_classifier import AttributeClassifier
    >>> from edials.datasets import make_faces
    >>> faces = make_faces(8, 6, size=32, random_state=0)
    >>> classifier = AttributeClassifier("tiny", max_epochs=2, random_state=0)
    >>> classifier.fit(faces.images, faces.attributes).predict(faces.images).shape
    (48, 3)
    """

    def __init__(
        self,
        size: str = "small",
        *,
        depth: int = 1,
        module: Callable[..., nn.Module] | None = None,
        max_epochs: int | None = None,
        learning_rate: float = 2e-3,
        batch_size: int = 64,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        image_shape: tuple[int, int, int] | None = None,
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.size = size
        self.depth = depth
        self.module = module
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.image_shape = image_shape
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None
    ) -> AttributeClassifier:
        """Learn the attributes.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : array-like of shape (n_samples,), or table of shape (n_samples, n_attributes)
            None, NaN, and -1 among integers, are missing labels.
        sample_weight : array-like of shape (n_samples,), optional
            How often each image is drawn in training.

        Returns
        -------
        self
        """
        images, _ = check_images(X, image_shape=self.image_shape, min_samples=2)
        targets = self._check_targets(y, len(images))
        check_batch_size(self.batch_size)
        check_precision(self.precision)
        seeds = stage_seeds(self.random_state, "weights", "split", "training")
        device = resolve_device(self.device)

        training, held_out = split_rows(len(images), self.validation_fraction, seeds["split"])
        weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)[training]
        self.image_shape_ = images.shape[1:]
        self.n_features_in_ = int(np.prod(self.image_shape_))
        self.classes_per_attribute_ = targets.classes
        self.attribute_names_ = list(targets.classes)
        self.single_output_ = np.ndim(y) == 1
        self.classes_ = (
            next(iter(targets.classes.values()))
            if self.single_output_
            else list(targets.classes.values())
        )
        self.net_ = train_net(
            FaceNet,
            self._initial_module(seeds["weights"]),
            FaceDataset(images[training], targets.codes[training], weights),
            FaceDataset(images[held_out], targets.codes[held_out]) if len(held_out) else None,
            device=device,
            precision=self.precision,
            seed=seeds["training"],
            learning_rate=self.learning_rate,
            patience=self.patience,
            title="attribute classifier",
            verbose=self.verbose,
            weight_decay=0.05,
            max_epochs=self.max_epochs,
            typical=_TYPICAL,
            batch_size=self.batch_size,
            augment=augment_faces,
            objective=_AttributeObjective(targets.sizes, targets.class_weights(device)),
        )
        return self

    def logits(self, X: ArrayLike) -> list[NDArray[np.float32]]:
        """Logits of every attribute: a list of arrays of shape (n_samples, n_classes)."""
        check_is_fitted(self, "module_")
        images, _ = check_images(X, image_shape=self.image_shape_, min_samples=0)
        scores = map_images(
            self.logits_tensor,
            images,
            device=torch.device(self.net_.device),
            batch_size=self.batch_size,
            precision=self.precision,
        )
        ends = np.cumsum([len(classes) for classes in self.classes_per_attribute_.values()])
        return np.split(scores, ends[:-1], axis=1)

    def logits_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of all attributes side by side, averaged over the picture and its mirror image."""
        network = inference_copy(self.module_)
        first, second = (network(view) for view in mirrored(network, images))
        return (first + second) / 2

    def predict_codes(self, X: ArrayLike) -> NDArray[np.int64]:
        """Class codes of shape (n_samples, n_attributes)."""
        return np.stack([scores.argmax(axis=1) for scores in self.logits(X)], axis=1)

    def predict_table(self, X: ArrayLike) -> pd.DataFrame:
        """Labels as a DataFrame of shape (n_samples, n_attributes)."""
        return decode_attributes(self.predict_codes(X), self.classes_per_attribute_)

    def predict(self, X: ArrayLike) -> NDArray:
        """Labels of shape (n_samples,), or (n_samples, n_attributes) if ``y`` was a table."""
        table = self.predict_table(X)
        if not self.single_output_:
            return table.to_numpy(dtype=object)
        return next(iter(self.classes_per_attribute_.values()))[self.predict_codes(X)[:, 0]]

    def predict_proba(self, X: ArrayLike) -> NDArray | list[NDArray]:
        """Class probabilities, (n_samples, n_classes); a list of them if ``y`` was a table."""
        probabilities = [softmax(s.astype(np.float64), axis=1) for s in self.logits(X)]
        return probabilities[0] if self.single_output_ else probabilities

    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Balanced accuracy, averaged over attributes, on the rows that have the label.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : labels as in :meth:`fit`
        sample_weight : array-like of shape (n_samples,), optional
        """
        check_is_fitted(self, "module_")
        codes = self.predict_codes(X)
        targets = encode_attributes(_as_column(y), len(codes))
        assert targets is not None
        scores = []
        for column, (name, true) in enumerate(
            zip(self.attribute_names_, targets.codes.T, strict=True)
        ):
            known = true >= 0
            labels = list(targets.classes.values())[column][true[known]]
            predicted = self.classes_per_attribute_[name][codes[known, column]]
            weights = None if sample_weight is None else np.asarray(sample_weight)[known]
            # Recall averaged over the classes present: a prediction outside them is just wrong.
            scores.append(
                recall_score(
                    labels,
                    predicted,
                    labels=np.unique(labels),
                    average="macro",
                    sample_weight=weights,
                )
            )
        return float(np.mean(scores))

    def _check_targets(self, y: Any, n_samples: int) -> AttributeTargets:
        if y is None:
            raise InvalidLabelsError(
                "requires y to be passed, but the target y is None: give the labels to learn."
            )
        targets = encode_attributes(_as_column(y), n_samples)
        if targets is None:
            raise InvalidLabelsError("y has no columns; expected at least one.")
        lonely = [name for name, classes in targets.classes.items() if len(classes) < 2]
        if lonely:
            raise InvalidLabelsError(
                f"Attributes {lonely!r} have 1 class each; expected at least two classes."
            )
        return targets

    def _initial_module(self, seed: int) -> nn.Module:
        learned = (
            self.image_shape_,
            {name: classes.tolist() for name, classes in self.classes_per_attribute_.items()},
        )
        fits = getattr(self, "_learned", None) == learned
        self._learned = learned
        return self.module_ if self.warm_start and fits else self._new_module(seed)

    def _new_module(self, seed: int) -> nn.Module:
        """An untrained network for the shape and classes seen in fit."""
        dimensions = preset(self.size)
        builder = AttributeNetwork if self.module is None else self.module
        with forked_torch(seed):
            return builder(
                image_shape=self.image_shape_,
                n_outputs=sum(len(classes) for classes in self.classes_per_attribute_.values()),
                width=dimensions.width,
                embedding_dim=dimensions.embedding_dim // 2,
                depth=self.depth,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags


class _AttributeObjective:
    """The attribute loss with its constants bound, as a class so that nets can be pickled."""

    def __init__(self, sizes: list[int], class_weights: list[torch.Tensor]):
        self.sizes, self.class_weights = sizes, class_weights

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return attribute_loss(logits, targets, self.sizes, self.class_weights)


def _as_column(y: Any) -> Any:
    """Lists of labels as an array; tables and arrays as they are."""
    return np.asarray(y, dtype=object) if isinstance(y, (list, tuple)) else y
