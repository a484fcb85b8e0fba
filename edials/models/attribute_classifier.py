"""The attribute classifier: age, gender, race, or any labels, one network for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import recall_score
from torch import nn

from .._labels import AttributeTargets, decode_attributes, encode_attributes
from .._validation import Accepted, Interval, check_weights, resolve_device
from ..exceptions import InvalidLabelsError
from ..networks.augmentation import augment_faces
from ..networks.inference import autocast
from ..networks.losses import AttributeLoss
from ..networks.modules import PRESETS, AttributeNetwork, flip_pair
from ..networks.training import FaceDataset, TrainingLength
from ._base import NetworkEstimator


@dataclass(kw_only=True, eq=False, repr=False)
class AttributeClassifier(ClassifierMixin, NetworkEstimator):
    """Classifier of one or several face attributes at once, in a skorch net.

    Classes are weighted by the inverse square root of their counts, and labels may be missing in
    any column.

    Parameters
    ----------
    size : {"tiny", "small", "base"}, default="small"
    depth : int, default=1
        Residual blocks in each halving stage.
    module : callable, optional
        Builds another network: ``module(image_shape=..., n_outputs=..., width=...,
        embedding_dim=..., depth=...)`` returns an nn.Module with logits (n, n_outputs).
    max_epochs : int, optional
        None makes about 1,000 optimisation steps, but 6 epochs at least and 80 at most.
    learning_rate : float, default=0.002
    batch_size : int, default=64
    validation_fraction : float, default=0.1
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

    _title = "attribute classifier"
    _default_length = TrainingLength(1000, min_epochs=6, max_epochs=80)
    _constraints: ClassVar[dict[str, Accepted]] = {
        **NetworkEstimator._constraints,
        "depth": (Interval(Integral, 1),),
    }

    depth: int = 1
    learning_rate: float = 2e-3

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
        images = self._check_input(X)
        targets = self._check_targets(y, len(images))
        seeds = self._seeds()
        weights = None if sample_weight is None else check_weights(sample_weight, len(images))
        with self._fitting(images) as previous:
            self.classes_per_attribute_ = targets.classes
            self.attribute_names_ = list(targets.classes)
            self.single_output_ = np.asarray(y, dtype=object).ndim == 1
            classes = list(targets.classes.values())
            self.classes_ = classes[0] if self.single_output_ else classes
            module = self._new_module(seeds["weights"])
            self._warm_start_from(module, previous)
            self._train(
                module,
                FaceDataset(images, targets.codes, weights),
                seeds,
                augment=augment_faces,
                criterion=AttributeLoss,
                criterion__sizes=targets.sizes,
                criterion__class_weights=targets.class_weights(resolve_device(self.device)),
                optimizer__weight_decay=0.05,
            )
        return self

    def logits(self, X: ArrayLike) -> list[NDArray[np.float32]]:
        """Logits of every attribute.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        list of ndarray of shape (n_samples, n_classes), dtype float32
        """
        scores = self._map_images(self.logits_tensor, X)
        ends = np.cumsum([len(classes) for classes in self.classes_per_attribute_.values()])
        return np.split(scores, ends[:-1], axis=1)

    def logits_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of all attributes side by side, averaged over the picture and its mirror image."""
        with autocast(images.device, self.precision):
            network = self._network
            first, second = (network(view) for view in flip_pair(network, images))
            return (first + second) / 2

    def predict_codes(self, X: ArrayLike) -> NDArray[np.int64]:
        """Predict the index of each attribute's class in ``classes_per_attribute_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of shape (n_samples, n_attributes), dtype int64
        """
        return np.stack([scores.argmax(axis=1) for scores in self.logits(X)], axis=1)

    def predict_table(self, X: ArrayLike) -> pd.DataFrame:
        """Predict the labels with the attributes' names.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        DataFrame of shape (n_samples, n_attributes)
        """
        return decode_attributes(self.predict_codes(X), self.classes_per_attribute_)

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict the labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_attributes) if ``y`` was a table
            Of dtype object if some attributes are numbers and others strings.
        """
        codes = self.predict_codes(X)
        if self.single_output_:
            return self.classes_[codes[:, 0]]
        columns = [classes[codes[:, i]] for i, classes in enumerate(self.classes_)]
        kinds = {column.dtype.kind for column in columns}
        return np.stack(columns, axis=1, dtype=None if len(kinds) == 1 else object)

    def predict_proba(self, X: ArrayLike) -> NDArray | list[NDArray]:
        """Predict the probability of every class.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), dtype float64
            A list of them, one per attribute, if ``y`` was a table.
        """
        probabilities = [softmax(s.astype(np.float64), axis=1) for s in self.logits(X)]
        return probabilities[0] if self.single_output_ else probabilities

    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Balanced accuracy, averaged over attributes, on the rows that have the label.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
        y : labels as in :meth:`fit`
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float in [0, 1]
        """
        predicted = self.predict_codes(X)
        targets = self._encode(y, len(predicted))
        weights = np.ones(len(predicted)) if sample_weight is None else sample_weight
        weights = check_weights(weights, len(predicted))
        fitted, present = self.classes_per_attribute_.values(), targets.classes.values()
        recalls = []
        columns = zip(fitted, predicted.T, present, targets.codes.T, strict=True)
        for fitted_classes, predicted_codes, classes, codes in columns:
            has_label = codes >= 0
            # Recall averaged over the classes present: a prediction outside them is just wrong.
            recall = recall_score(
                classes[codes[has_label]],
                fitted_classes[predicted_codes[has_label]],
                labels=np.unique(classes[codes[has_label]]),
                average="macro",
                sample_weight=weights[has_label],
            )
            recalls.append(recall)
        return float(np.mean(recalls))

    @staticmethod
    def _encode(y: Any, n_samples: int) -> AttributeTargets:
        if y is None:
            raise InvalidLabelsError(
                "requires y to be passed, but the target y is None: give the labels to learn."
            )
        labels = np.asarray(y, dtype=object) if isinstance(y, (list, tuple)) else y
        targets = encode_attributes(labels, n_samples)
        if targets is None:
            raise InvalidLabelsError("y has no columns; expected at least one.")
        return targets

    def _check_targets(self, y: Any, n_samples: int) -> AttributeTargets:
        targets = self._encode(y, n_samples)
        constant = [name for name, classes in targets.classes.items() if len(classes) < 2]
        if constant:
            raise InvalidLabelsError(
                f"Attributes {constant!r} have 1 class each; expected at least two classes."
            )
        return targets

    def _build_module(self) -> nn.Module:
        dimensions = PRESETS[self.size]
        builder = AttributeNetwork if self.module is None else self.module
        return builder(
            image_shape=self.image_shape_,
            n_outputs=sum(len(classes) for classes in self.classes_per_attribute_.values()),
            width=dimensions.width,
            embedding_dim=dimensions.embedding_dim // 2,
            depth=self.depth,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
