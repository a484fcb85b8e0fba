"""How every network here is trained: a skorch net fed with whole uint8 batches.

Pictures stay uint8 until their batch is on the device; augmentation works on tensors.
"""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from torch import nn
from tqdm import tqdm

from .._random import forked_torch
from .._validation import to_tensor
from .inference import autocast, forget_twins


class FaceDataset(torch.utils.data.Dataset):
    """Images with their targets, and how often each row is to be drawn in training.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width, 3), uint8 or float in [0, 1]
    targets : ndarray of shape (n_samples, ...)
    row_weights : ndarray of shape (n_samples,), optional
        Rows are drawn with replacement in proportion to these; None visits each once an epoch.
    """

    def __init__(
        self, images: NDArray, targets: NDArray, row_weights: NDArray[np.float64] | None = None
    ):
        self.images, self.targets, self.row_weights = images, targets, row_weights

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> tuple[NDArray, NDArray]:
        return self.images[rows], self.targets[rows]


class _Batches:
    """Batches on the device: augmented and shuffled in training, in order otherwise."""

    def __init__(
        self,
        dataset: FaceDataset,
        batch_size: int,
        device: torch.device,
        training: bool,
        augment: Callable[[torch.Tensor], torch.Tensor] | None,
    ):
        self.dataset, self.batch_size, self.device = dataset, batch_size, device
        self.training, self.augment = training, augment

    def __len__(self) -> int:
        count = len(self.dataset) / self.batch_size
        # Batch normalisation needs full batches; a data set smaller than one is one batch.
        return max(1, math.floor(count)) if self.training else math.ceil(count)

    def _order(self) -> torch.Tensor:
        n_rows = len(self.dataset)
        if not self.training:
            return torch.arange(n_rows)
        if self.dataset.row_weights is None:
            return torch.randperm(n_rows)
        weights = torch.from_numpy(self.dataset.row_weights)
        return torch.multinomial(weights, n_rows, replacement=True)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = self._order()
        for batch in range(len(self)):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images, targets = self.dataset[rows.numpy()]
            tensor = to_tensor(images, self.device)
            if self.training and self.augment is not None:
                tensor = self.augment(tensor)
            tensor = tensor.contiguous(memory_format=torch.channels_last)
            yield tensor, torch.as_tensor(targets, device=self.device)


class _WarmupThenCosine(Callback):
    """Set the learning rate for every step: a linear rise, then half a cosine down to zero.

    Used instead of skorch's LRScheduler because a net that holds one and was trained on an
    accelerator does not unpickle on a CPU in skorch 1.4 (skorch issue #1096); it may go then.
    """

    def __init__(self, peak: float, warmup: float = 0.15):
        self.peak, self.warmup = peak, warmup

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self.step_ = 0
        self.steps_ = max(1, len(net.get_iterator(X, training=True)) * net.max_epochs)

    def on_batch_begin(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        if not training:
            return
        progress = min(1.0, (self.step_ + 1) / self.steps_)
        if progress < self.warmup:
            share = progress / self.warmup
        else:
            share = 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))
        for optimizer in net.optimizers():
            for group in optimizer.param_groups:
                group["lr"] = self.peak * share
        self.step_ += 1


class _Progress(Callback):
    """One bar over all steps; skorch's own starts anew in every epoch."""

    def __init__(self, title: str):
        self.title = title

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self.bar_ = tqdm(
            total=len(net.get_iterator(X, training=True)) * net.max_epochs, desc=self.title
        )

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        if training:
            self.bar_.update()

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self.bar_.close()
        del self.bar_  # a bar holds a stream, which does not pickle


def use_fused_optimizer(device: torch.device) -> bool | None:
    """Whether an optimiser makes its step in one kernel; None leaves it to torch.

    On a CPU torch would not by itself, which takes three times as long.
    """
    return True if device.type == "cpu" else None


class TrainingLength(NamedTuple):
    """How long to train when nobody says: about ``steps`` steps, within bounds on the epochs."""

    steps: int
    fewest: int
    most: int

    def epochs(self, n_rows: int, batch_size: int) -> int:
        """Epochs for so many rows."""
        wanted = math.ceil(self.steps / max(1, n_rows // batch_size))
        return min(max(wanted, self.fewest), self.most)


class FaceNet(NeuralNet):
    """A skorch net over a :class:`FaceDataset`, with AdamW and a rising, then falling rate.

    Parameters
    ----------
    module : nn.Module
    objective : callable (net, predictions, targets) -> loss Tensor
    augment : callable Tensor -> Tensor, optional
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What network passes compute in; weights and losses stay float32.
    learning_rate, weight_decay, batch_size, max_epochs, patience, verbose
        As their names say; ``patience`` counts epochs without a better validation loss, after
        which training stops; the best epoch's weights are kept.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        augment: Callable[[torch.Tensor], torch.Tensor] | None = None,
        precision: str = "auto",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.02,
        patience: int | None = None,
        **kwargs: Any,
    ):
        self.objective = objective
        self.augment = augment
        self.precision = precision
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        kwargs.setdefault("criterion", nn.Identity)
        kwargs.setdefault("optimizer", torch.optim.AdamW)
        super().__init__(module, **kwargs)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All optimisers whose learning rate follows the schedule."""
        return [self.optimizer_]

    def get_iterator(self, dataset: FaceDataset, training: bool = False) -> _Batches:
        return _Batches(dataset, self.batch_size, torch.device(self.device), training, self.augment)

    def __getstate__(self) -> dict[str, Any]:
        # The module a net was built from is the one it trained; skorch would store it twice.
        state = super().__getstate__()
        if state.get("module") is getattr(self, "module_", None):
            state["module"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if state["module"] is None:
            self.module = self.module_

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Where network passes run in the net's precision."""
        return autocast(torch.device(self.device), self.precision)

    def infer(self, x: torch.Tensor, **fit_params: Any) -> torch.Tensor:
        with self.autocast():
            return super().infer(x, **fit_params).float()

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        assert self.objective is not None
        return self.objective(y_pred, y_true)


class TrainedMixin:
    """An estimator with a trained network.

    Attributes
    ----------
    net_ : FaceNet
    module_ : nn.Module
        The network in it.
    """

    net_: FaceNet

    @property
    def module_(self) -> Any:
        # Not an attribute of its own: a fitted estimator would be stored with two networks.
        return self.net_.module_


def train(
    net_class: type[FaceNet],
    module: nn.Module,
    dataset: FaceDataset,
    validation: FaceDataset | None,
    *,
    device: torch.device,
    seed: int,
    learning_rate: float,
    max_epochs: int | None,
    typical: TrainingLength,
    patience: int | None,
    title: str,
    verbose: int,
    **settings: Any,
) -> FaceNet:
    """Train a module under its own seed and return the fitted skorch net, in evaluation mode.

    Parameters
    ----------
    net_class : FaceNet or a subclass
    module : nn.Module
    dataset : FaceDataset
    validation : FaceDataset or None
        Held-out rows; without them every epoch is run and the last weights are kept.
    max_epochs, patience : int or None
        None takes what is ``typical`` for so many rows, and a third of the epochs.
    typical : TrainingLength
    title : str
        What the progress bar says is learning.
    device, seed, learning_rate, verbose, **settings
        Passed to the net.
    """
    if max_epochs is not None and (not isinstance(max_epochs, numbers.Integral) or max_epochs < 1):
        raise ValueError(f"max_epochs={max_epochs!r}; expected None or an integer of at least 1.")
    if max_epochs is None:
        max_epochs = typical.epochs(len(dataset), settings["batch_size"])
    patience = max(1, math.ceil(max_epochs / 3)) if patience is None else patience
    callbacks: list[Any] = [("schedule", _WarmupThenCosine(learning_rate))]
    if validation is not None:
        callbacks.append(("stop", EarlyStopping(patience=patience, load_best=True, sink=_discard)))
    if verbose:
        callbacks.append(("progress", _Progress(title)))
    net = net_class(
        module.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        device=device,
        learning_rate=learning_rate,
        patience=patience,
        max_epochs=max_epochs,
        lr=learning_rate,
        optimizer__weight_decay=settings.pop("weight_decay", 0.02),
        optimizer__fused=use_fused_optimizer(device),
        callbacks=callbacks,
        callbacks__print_log=None,
        train_split=None if validation is None else predefined_split(validation),
        verbose=verbose,
        **settings,
    )
    with forked_torch(seed):
        net.fit(dataset, None)
    # A fitted net must not carry anybody's pictures, which the split holds; nor what only training
    # needs, which is three times the network: moments of the optimisers and the best weights.
    net.set_params(train_split=None)
    for optimizer in net.optimizers():
        optimizer.state.clear()
    for _, callback in net.callbacks_:
        if isinstance(callback, EarlyStopping):
            callback.best_model_weights_ = None
    net.module_.eval()
    forget_twins(net.module_)
    return net


def _discard(*_: Any) -> None:
    """Where EarlyStopping reports to: the progress bar says enough."""
