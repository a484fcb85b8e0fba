"""Fitted networks at work: in which precision, how many images together, and all of them.

Whatever the number of images, a network sees them in batches of one size, so that an image's bytes
do not depend on the others.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .._validation import to_levels, to_pictures, to_tensor
from .modules import AttributeNetwork, Backbone, Decoder, Encoder, Recogniser

#: What networks compute in: "auto" is bfloat16 where the device has it, which is as good (see the
#: guide) and several times as fast.
PRECISIONS = ("auto", "float32", "bfloat16")
# Pixels that networks are shown together, the number of images allowing: 64 images of 64 x 64; and
# the fewest images of any size. Gradients take four times as many.
_PIXELS, _FEW = 64**3, 16


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself; where it only imitates it, it is slower."""
    if device.type == "cpu":
        # Private in torch 2.13, and absent from older ones: then the answer is no.
        asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(asked is not None and asked())
    backend = getattr(torch, device.type, None)
    asked = getattr(backend, "is_bf16_supported", None)
    return bool(asked is not None and asked())


def check_precision(precision: Any) -> str:
    """Check a ``precision``.

    Raises
    ------
    ValueError
        If it is not one of :data:`PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}; expected one of {PRECISIONS}.")
    return precision


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Where network passes run in bfloat16, if this is asked for, or "auto" and worth it."""
    low = precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)


def inference_batch_size(batch_size: int, image_shape: tuple[int, ...]) -> int:
    """How many pictures (height, width, channels) to look at together: at most ``batch_size``.

    Fewer of large ones, so that what is made of them stays in the processor's cache: at 256 pixels
    an anonymizer took a little over half the time per image with 16 that it took with 64.
    """
    return max(1, min(batch_size, max(_FEW, _PIXELS // (image_shape[0] * image_shape[1]))))


# --- networks as they evaluate --------------------------------------------------------------------

# By network, as long as that is in use, and by precision: the state of its weights, and its twin.
_TWINS: WeakKeyDictionary[nn.Module, dict[bool, tuple[list[Any], nn.Module]]] = WeakKeyDictionary()


def inference_copy(network: Any) -> Any:
    """One of our networks as it evaluates, only quicker: see :func:`fuse_for_inference`.

    Under autocast its weights are bfloat16 already, which else every batch would make them anew.
    What is no network of ours, or is in training, comes back as it is. The twin is made once, and
    again when a weight has changed, as far as torch counts changes: it does not count those of a
    fused optimiser, nor of ``weight.data``, so whoever makes them calls :func:`forget_twins`.
    Gradients reach what it is given, and no weights.
    """
    # Not subclasses of them, which may use a layer otherwise.
    if type(network) not in (Recogniser, AttributeNetwork, Encoder, Decoder):
        return network
    parts = list(network.modules())
    # Not network.parameters(), which walks through the network once more, and names them.
    weights = [
        weight
        for part in parts
        for weight in (*part._parameters.values(), *part._buffers.values())
        if weight is not None
    ]
    if any(part.training for part in parts) or any(weight.is_inference() for weight in weights):
        return network
    low = _is_low(weights[0].device)
    state = [(weight.data_ptr(), weight.device, weight._version) for weight in weights]
    twins = _TWINS.setdefault(network, {})
    made_of, twin = twins.get(low, (None, network))
    if made_of != state:
        with torch.inference_mode(False), torch.no_grad():  # gradients may go through it later
            twin = fuse_for_inference(network)
            if low:
                _cast(twin)
        twins[low] = state, twin
    return twin


def forget_twins(network: nn.Module) -> None:
    """Have the twins of a network, and of the networks in it, made anew."""
    for part in network.modules():
        _TWINS.pop(part, None)


def fuse_for_inference(network: nn.Module) -> nn.Module:
    """A copy as it evaluates, with fewer passes over what lies between its layers.

    Every batch normalisation is in the convolution before it, every average over squares in the
    1 x 1 convolution after it, and activations overwrite what they are given. All other weights
    are shared with the network.
    """
    shared = {id(weight): weight for weight in [*network.parameters(), *network.buffers()]}
    twin = copy.deepcopy(network, shared)
    for sequence in [part for part in twin.modules() if isinstance(part, nn.Sequential)]:
        for place in range(1, len(sequence)):
            before, here = sequence[place - 1], sequence[place]
            if isinstance(here, nn.BatchNorm2d):
                if isinstance(before, (nn.Conv2d, nn.ConvTranspose2d)):
                    turned = isinstance(before, nn.ConvTranspose2d)
                    sequence[place - 1] = fuse_conv_bn_eval(before, here, transpose=turned)
                    sequence[place] = nn.Identity()
            elif isinstance(before, nn.AvgPool2d) and isinstance(here, nn.Conv2d):
                sequence[place - 1] = nn.Identity()
                sequence[place] = _averaging(before, here.weight.detach())
    for part in twin.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = True
        elif isinstance(part, Backbone) and isinstance(part.pool, nn.AvgPool2d):
            as_is = torch.eye(3, device=part.project.weight.device)[:, :, None, None]
            part.pool = _averaging(part.pool, as_is)
    return twin


def for_input_gradients(network: nn.Module) -> nn.Module:
    """A network for gradients to what it is given: ours as it evaluates, others as a copy.

    The copy shares its network's weights but asks for no gradients of them, so that less of what
    lies between its layers is kept. What cannot be copied stays as it is.
    """
    twin = inference_copy(network)
    if twin is not network:
        return twin
    shared: dict[int, Any] = {id(buffer): buffer for buffer in network.buffers()}
    for weight in network.parameters():
        shared[id(weight)] = nn.Parameter(weight.detach(), requires_grad=False)
    try:
        return copy.deepcopy(network, shared)
    except (TypeError, RuntimeError):  # it holds a lock, say, or what it saw last
        return network


def _averaging(pool: nn.AvgPool2d, weight: torch.Tensor) -> nn.Conv2d:
    """A 1 x 1 convolution of averages over squares, as one of the squares."""
    side = int(pool.kernel_size)  # type: ignore[arg-type]
    n_out, n_in = weight.shape[:2]
    whole = nn.utils.skip_init(nn.Conv2d, n_in, n_out, side, side, bias=False)
    spread = weight.expand(-1, -1, side, side) / side**2
    whole.weight = nn.Parameter(spread.contiguous(memory_format=torch.channels_last))
    return whole.eval()


def _is_low(device: torch.device) -> bool:
    """Whether autocast would convert weights to bfloat16 here."""
    if not torch.amp.is_autocast_available(device.type):
        return False
    low = torch.get_autocast_dtype(device.type) == torch.bfloat16
    return torch.is_autocast_enabled(device.type) and low


def _cast(network: nn.Module) -> None:
    """Give layers that autocast computes in bfloat16 weights of it."""
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            for name, weight in list(part.named_parameters(recurse=False)):
                setattr(part, name, nn.Parameter(weight.bfloat16(), requires_grad=False))


# --- all rows, in batches -------------------------------------------------------------------------


def run_in_batches(
    function: Callable[[torch.Tensor], torch.Tensor],
    rows: torch.Tensor,
    batch_size: int,
    precision: str,
) -> torch.Tensor:
    """Apply a network without gradients to constant-size batches; results on the CPU.

    They are float32, or uint8 if the function gives that. The last batch is padded by repeating its
    first row: matrix kernels may sum in another order for another batch size, and an image's bytes
    must not depend on its neighbours.
    """
    results = []
    with torch.inference_mode(), autocast(rows.device, precision):
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            n = len(batch)
            if n < batch_size:
                batch = torch.cat([batch, batch[:1].expand(batch_size - n, *batch.shape[1:])])
            result = function(batch)[:n]
            results.append((result if result.dtype == torch.uint8 else result.float()).cpu())
    return torch.cat(results) if results else torch.empty(0)


def map_images(
    function: Callable[[torch.Tensor], torch.Tensor],
    images: NDArray,
    *,
    device: torch.device,
    batch_size: int,
    precision: str,
) -> NDArray[np.float32]:
    """Apply a network to images in constant-size batches, as :func:`run_in_batches` does.

    Parameters
    ----------
    function : callable Tensor (batch_size, 3, height, width) -> Tensor (batch_size, ...)
    images : ndarray of shape (n_samples, height, width, 3)
    device : torch.device
    batch_size : int
        At most; see :func:`inference_batch_size`.
    precision : {"auto", "float32", "bfloat16"}

    Returns
    -------
    ndarray of shape (n_samples, ...), dtype float32
    """
    results = []
    batch_size = inference_batch_size(batch_size, images.shape[1:])
    with autocast(device, precision):  # around all batches: weights are converted once
        for start in range(0, len(images), batch_size):
            tensor = to_tensor(images[start : start + batch_size], device)
            results.append(run_in_batches(function, tensor, batch_size, precision).numpy())
    return np.concatenate(results)


def decode_latents(estimator: Any, decoder: nn.Module, latents: ArrayLike) -> NDArray[np.uint8]:
    """Pictures of latents, on the device and in the batches of a fitted estimator.

    Parameters
    ----------
    estimator : fitted estimator
        With ``net_``, ``latent_dim_``, ``image_shape_``, ``batch_size`` and ``precision``.
    decoder : nn.Module
    latents : array-like of shape (n_samples, latent_dim)

    Returns
    -------
    ndarray of shape (n_samples, height, width, 3), dtype uint8

    Raises
    ------
    ValueError
        If latents have another length.
    """
    rows = torch.as_tensor(
        np.array(latents, dtype=np.float32), device=torch.device(estimator.net_.device)
    )
    if rows.ndim != 2 or rows.shape[1] != estimator.latent_dim_:
        raise ValueError(
            f"latents have shape {tuple(rows.shape)}; expected "
            f"(n_samples, {estimator.latent_dim_})."
        )

    def levels(batch: torch.Tensor) -> torch.Tensor:
        return to_levels(inference_copy(decoder)(batch))

    at_once = inference_batch_size(estimator.batch_size, estimator.image_shape_)
    return to_pictures(run_in_batches(levels, rows, at_once, estimator.precision))
