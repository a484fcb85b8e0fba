"""How networks are trained: a skorch net, fed with batches that are uint8 up to the device."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from skorch.utils import noop
from torch import nn
from tqdm import tqdm

from .._random import forked_torch
from .._validation import to_tensor
from .inference import autocast, computes_in_bfloat16, inference_copy


@dataclass(eq=False)
class FaceDataset(torch.utils.data.Dataset):
    """Images (n, height, width, 3) with their targets (n, ...).

    Rows are drawn with replacement in proportion to ``row_weights`` (n,); None visits each once an
    epoch.
    """

    images: NDArray
    targets: NDArray
    row_weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> tuple[NDArray, NDArray]:
        return self.images[rows], self.targets[rows]

    def take(self, rows: NDArray[np.int64]) -> FaceDataset:
        """The data set of some rows."""
        weights = None if self.row_weights is None else self.row_weights[rows]
        return FaceDataset(self.images[rows], self.targets[rows], weights)


@dataclass
class _Batches:
    """Batches on the device: augmented and shuffled in training, in order otherwise."""

    dataset: FaceDataset
    batch_size: int
    device: torch.device
    training: bool
    augment: Callable[[torch.Tensor], torch.Tensor] | None

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

    def on_train_begin(self, net: NeuralNet, X: Any = None, **kwargs: Any) -> None:
        self.step_ = 0
        self.steps_ = max(1, len(net.get_iterator(X, training=True)) * net.max_epochs)

    def on_batch_begin(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
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

    def on_train_begin(self, net: NeuralNet, X: Any = None, **kwargs: Any) -> None:
        steps = len(net.get_iterator(X, training=True)) * net.max_epochs
        self.bar_ = tqdm(total=steps, desc=self.title)

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        if training:
            self.bar_.update()

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar_.close()
        del self.bar_  # a bar holds a stream, which does not pickle


class TrainingLength(NamedTuple):
    """Default length of a training: about ``steps`` steps, within bounds on the epochs."""

    steps: int
    min_epochs: int
    max_epochs: int

    def epochs(self, n_rows: int, batch_size: int) -> int:
        """Epochs for so many rows."""
        epochs = math.ceil(self.steps / max(1, n_rows // batch_size))
        return min(max(epochs, self.min_epochs), self.max_epochs)


class FaceNet(NeuralNet):
    """A skorch net over a :class:`FaceDataset`, with AdamW and one rise and fall of its rate.

    Network passes compute in ``precision``; weights and losses stay float32. After ``patience``
    epochs without a better validation loss (None: a third of ``max_epochs``) training stops and the
    best weights are restored. ``title`` is the progress bar's; ``lr`` is the peak of the rate.
    """

    module_: Any

    def __init__(
        self,
        module: nn.Module,
        augment: Callable[[torch.Tensor], torch.Tensor] | None = None,
        precision: str = "auto",
        patience: int | None = None,
        title: str = "",
        **settings: Any,
    ):
        self.augment, self.precision = augment, precision
        self.patience, self.title = patience, title
        self.inference_copies_: dict[bool, Any] = {}
        # On a CPU torch would not take a fused step by itself, which costs three times as long.
        fused = True if torch.device(settings.get("device", "cpu")).type == "cpu" else None
        defaults = {
            "criterion": nn.Identity,
            "optimizer": torch.optim.AdamW,
            "optimizer__fused": fused,
            "optimizer__weight_decay": 0.02,
            "train_split": None,
            "callbacks__print_log": None,
            "verbose": 0,
        }
        super().__init__(module, **(defaults | settings))

    def initialize_module(self) -> FaceNet:
        super().initialize_module()
        self.module_ = self.module_.to(memory_format=torch.channels_last)
        return self

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All optimisers whose learning rate follows the schedule."""
        return [self.optimizer_]

    def get_iterator(self, dataset: FaceDataset, training: bool = False) -> _Batches:
        return _Batches(dataset, self.batch_size, torch.device(self.device), training, self.augment)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> FaceNet:
        """Train; unlike skorch's own method, leave Ctrl-C to the caller."""
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, **fit_params)
        except KeyboardInterrupt:  # EarlyStopping ends training by it, too
            stops = [stop for _, stop in self.callbacks_ if isinstance(stop, EarlyStopping)]
            if not any(stop.misses_ == stop.patience for stop in stops):
                raise
        self.notify("on_train_end", X=X, y=y)
        return self

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Context in which network passes run in the net's precision."""
        return autocast(torch.device(self.device), self.precision)

    def infer(self, x: torch.Tensor, **fit_params: Any) -> torch.Tensor:
        with self.autocast():
            return super().infer(x, **fit_params).float()

    def inference_copy(self, precision: str) -> Any:
        """The fitted module's :func:`~edials.networks.inference.inference_copy`.

        Made anew if weights were loaded since, so that a certificate is never by older ones.
        """
        bfloat16 = computes_in_bfloat16(torch.device(self.device), precision)
        weights = [*self.module_.parameters(), *self.module_.buffers()]
        versions = [(w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights]
        made_of, copied = self.inference_copies_.get(bfloat16, (None, None))
        if made_of != versions:
            copied = inference_copy(self.module_, bfloat16=bfloat16)
            self.inference_copies_[bfloat16] = versions, copied
        return copied

    def __getstate__(self) -> dict[str, Any]:
        # A network is stored once. The module that a net was built from is the one it trained.
        state = super().__getstate__() | {"inference_copies_": {}}
        if state.get("module") is getattr(self, "module_", None):
            state["module"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if state["module"] is None:
            self.module = self.module_


def train(net: FaceNet, dataset: FaceDataset, validation: FaceDataset | None, seed: int) -> FaceNet:
    """Train a net under its own seed and return it in evaluation mode; Ctrl-C is raised.

    Without validation rows every epoch is run and the last weights stay.
    """
    callbacks: list[Any] = [("schedule", _WarmupThenCosine(net.lr))]
    if validation is not None:
        patience = net.patience or max(1, math.ceil(net.max_epochs / 3))
        callbacks.append(("stop", EarlyStopping(patience=patience, load_best=True, sink=noop)))
        net.train_split = predefined_split(validation)
    if net.verbose:
        callbacks.append(("progress", _Progress(net.title)))
    net.callbacks = callbacks
    with forked_torch(seed):
        net.fit(dataset, None)
    # A fitted net must not carry anybody's pictures, which the split holds; nor what only training
    # needs, which is three times the network: moments of the optimisers and the best weights.
    net.train_split = None
    for optimizer in net.optimizers():
        optimizer.state.clear()
    for _, callback in net.callbacks_:
        if isinstance(callback, EarlyStopping):
            callback.best_model_weights_ = None
    net.module_.eval()
    return net
