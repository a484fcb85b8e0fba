"""What the estimators share: parameters, one network in a skorch net, its training and its use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._random import forked_torch, stage_seeds, torch_defaults
from .._splits import split_rows
from .._validation import (
    Accepted,
    Interval,
    check_images,
    check_parameters,
    resolve_device,
    to_levels,
    to_pictures,
    to_tensor,
)
from ..networks.inference import PRECISIONS, inference_batch_size, map_in_batches
from ..networks.modules import PRESETS
from ..networks.training import FaceDataset, FaceNet, TrainingLength, train


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkEstimator(BaseEstimator):
    """Base class of the estimators that hold one trained network.

    A subclass is a dataclass, too, whose fields are its parameters. It gives the class attributes
    below and ``_build_module``, and fits inside ``with self._fitting(images)``.
    """

    _title: ClassVar[str]
    _default_length: ClassVar[TrainingLength]
    # Weights that start anew in a warm start.
    _fresh_weights: ClassVar[frozenset[str]] = frozenset()
    _constraints: ClassVar[dict[str, Accepted]] = {
        "size": tuple(PRESETS),
        "module": (None, callable),
        "max_epochs": (None, Interval(Integral, 1)),
        "learning_rate": (Interval(Real, 0, closed="right"),),
        "batch_size": (Interval(Integral, 1),),
        "validation_fraction": (Interval(Real, 0, 1, closed="left"),),
        "patience": (None, Interval(Integral, 1)),
        "image_shape": (None, tuple, list),
        "warm_start": (bool,),
        "precision": PRECISIONS,
        "verbose": (bool, Interval(Integral, 0)),
    }

    size: str = field(default="small", kw_only=False)
    module: Callable[..., nn.Module] | None = None
    max_epochs: int | None = None
    learning_rate: float = 1e-3
    batch_size: int = 64
    validation_fraction: float = 0.1
    patience: int | None = None
    image_shape: tuple[int, int, int] | None = None
    warm_start: bool = False
    device: str = "auto"
    precision: str = "auto"
    random_state: Any = None
    verbose: int = 0

    @property
    def module_(self) -> Any:
        # Not an attribute of its own: a fitted estimator would be stored with two networks.
        return self.net_.module_

    def _build_module(self) -> nn.Module:
        """An untrained network for the shape and classes seen in fit."""
        raise NotImplementedError

    def _new_module(self, seed: int) -> nn.Module:
        with forked_torch(seed):
            return self._build_module()

    # --- fit ---------------------------------------------------------------------------------

    def _check_input(self, X: ArrayLike) -> NDArray:
        """Checked images (n_samples, height, width, 3) to fit on."""
        check_parameters(self, self._constraints)
        resolve_device(self.device)
        return check_images(X, image_shape=self.image_shape, min_samples=2)[0]

    def _seeds(self, *stages: str) -> dict[str, int]:
        return stage_seeds(self.random_state, "weights", "split", "training", *stages)

    @contextlib.contextmanager
    def _fitting(self, images: NDArray) -> Iterator[nn.Module | None]:
        """Forget the fit before, and this one if it does not reach its end.

        So an estimator is either fitted as a whole or not at all. Yields the previous fit's
        network, for a warm start.
        """
        previous = self.module_ if hasattr(self, "net_") else None
        self._forget()
        self.image_shape_ = images.shape[1:]
        self.n_features_in_ = int(np.prod(self.image_shape_))
        try:
            with torch_defaults():
                yield previous
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _warm_start_from(self, module: nn.Module, previous: nn.Module | None) -> bool:
        """Start from a previous network's weights if asked to and if all of them fit."""
        if not self.warm_start or previous is None:
            return False
        start = {
            name: weight
            for name, weight in previous.state_dict().items()
            if name not in self._fresh_weights
        }
        shapes = {name: weight.shape for name, weight in module.state_dict().items()}
        if any(shapes.get(name) != weight.shape for name, weight in start.items()):
            return False
        module.load_state_dict(start, strict=False)
        return True

    def _train(
        self,
        module: nn.Module,
        data: FaceDataset,
        seeds: dict[str, int],
        *,
        groups: NDArray | None = None,
        net_class: type[FaceNet] = FaceNet,
        **settings: Any,
    ) -> NDArray[np.int64]:
        """Train ``net_`` on all rows but those held out, which are returned."""
        training, held_out = split_rows(
            len(data), self.validation_fraction, seeds["split"], groups=groups
        )
        length = self._default_length.epochs(len(training), self.batch_size)
        net = net_class(
            module,
            device=resolve_device(self.device),
            precision=self.precision,
            lr=self.learning_rate,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs or length,
            patience=self.patience,
            title=self._title,
            verbose=self.verbose,
            **settings,
        )
        validation = data.take(held_out) if len(held_out) else None
        self.net_ = train(net, data.take(training), validation, seeds["training"])
        return held_out

    def _hold(self, module: nn.Module, device: torch.device) -> None:
        """Hold a network that has its weights already."""
        self.net_ = FaceNet(module, device=device).initialize()
        self.module_.eval()

    # --- use ---------------------------------------------------------------------------------

    @property
    def _network(self) -> Any:
        """The fitted network as a copy for inference."""
        check_is_fitted(self, "module_")
        return self.net_.inference_copy(self.precision)

    @torch_defaults()
    def _map_images(self, function: Callable[[torch.Tensor], torch.Tensor], X: ArrayLike) -> Any:
        """What a function of image tensors gives for images, shape (n_samples, ...)."""
        check_is_fitted(self, "module_")
        images = check_images(X, image_shape=self.image_shape_)[0]
        return self._map_batches(function, images).numpy()

    def _map_batches(
        self, function: Callable[..., torch.Tensor], rows: NDArray, as_tensor: Any = to_tensor
    ) -> torch.Tensor:
        return map_in_batches(
            function,
            rows,
            device=torch.device(self.net_.device),
            batch_size=inference_batch_size(self.batch_size, self.image_shape_),
            precision=self.precision,
            as_tensor=as_tensor,
        )

    @torch_defaults()
    def _decode(self, decoder: Callable[[torch.Tensor], torch.Tensor], latents: Any) -> NDArray:
        """Pictures (n_samples, height, width, 3) of latents (n_samples, latent_dim_)."""
        rows = np.array(latents, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.latent_dim_:
            raise ValueError(
                f"latents have shape {rows.shape}; expected (n_samples, {self.latent_dim_})."
            )

        levels = self._map_batches(
            lambda batch: to_levels(decoder(batch)),
            rows,
            lambda part, device: torch.from_numpy(part).to(device),
        )
        return to_pictures(levels)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
