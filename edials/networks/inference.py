"""Fitted networks at work: their precision, their batches, and the copies that evaluate.

Networks evaluate batches of one size, whatever the number of images, so that the bytes of an image
do not depend on the others.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .._random import torch_defaults
from .._validation import to_tensor
from .modules import AttributeNetwork, AutoencoderNetwork, Backbone, Decoder, Recogniser

#: What networks compute in: "auto" is bfloat16 where the device has it, which is as good (see the
#: guide) and several times as fast.
PRECISIONS = ("auto", "float32", "bfloat16")
# A batch holds about the pixels of 64 images of 64 x 64, and 16 images of any size at least.
_BATCH_PIXELS, _MIN_BATCH_SIZE = 64**3, 16
# Not their subclasses, which may use a layer otherwise.
_FUSIBLE = (Recogniser, AttributeNetwork, AutoencoderNetwork, Decoder, Backbone)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself; where it only imitates it, it is slower."""
    if device.type == "cpu":
        # Private in torch 2.13, and absent from older ones: then the answer is no.
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    else:
        supported = getattr(getattr(torch, device.type, None), "is_bf16_supported", None)
    return bool(supported is not None and supported())


def computes_in_bfloat16(device: torch.device, precision: str) -> bool:
    """Whether network passes run in bfloat16: if asked for, or if "auto" and worth it."""
    if not torch.amp.is_autocast_available(device.type):
        return False
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Context in which network passes run in a precision of :data:`PRECISIONS`."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    enabled = computes_in_bfloat16(device, precision)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


# --- copies that evaluate -------------------------------------------------------------------------


@torch_defaults()
def inference_copy(network: nn.Module, *, bfloat16: bool = False) -> Any:
    """A copy of a network for evaluation, and for gradients to its input.

    It shares the network's weights but asks for no gradients of them, so that less of what lies
    between its layers is stored. In edials' own networks batch normalisation is part of the
    convolution before it, averages over squares are part of the 1 x 1 convolution after it, and
    activations overwrite their input; for ``bfloat16`` passes, their weights are converted once.
    What cannot be copied is returned itself.
    """
    shared: dict[int, Any] = {id(buffer): buffer for buffer in network.buffers()}
    for weight in network.parameters():
        shared[id(weight)] = nn.Parameter(weight.detach(), requires_grad=False)
    try:
        copied = copy.deepcopy(network, shared).eval()
    except (TypeError, RuntimeError):  # it holds a lock, say, or its last output
        return network
    if type(network) in _FUSIBLE:
        _fuse(copied)
        if bfloat16:
            _convert(copied)
    return copied


def _fuse(network: nn.Module) -> None:
    """Join layers of a network in evaluation mode, in place."""
    for sequence in [part for part in network.modules() if isinstance(part, nn.Sequential)]:
        for place in range(1, len(sequence)):
            before, here = sequence[place - 1], sequence[place]
            if isinstance(here, nn.BatchNorm2d):
                if isinstance(before, (nn.Conv2d, nn.ConvTranspose2d)):
                    transpose = isinstance(before, nn.ConvTranspose2d)
                    sequence[place - 1] = fuse_conv_bn_eval(before, here, transpose=transpose)
                    sequence[place] = nn.Identity()
            elif isinstance(before, nn.AvgPool2d) and isinstance(here, nn.Conv2d):
                sequence[place - 1] = nn.Identity()
                sequence[place] = _averaging(before, here.weight)
    for part in network.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = True
        elif isinstance(part, Backbone) and isinstance(part.pool, nn.AvgPool2d):
            identity = torch.eye(3, device=part.project.weight.device)[:, :, None, None]
            part.pool = _averaging(part.pool, identity)


def _averaging(pool: nn.AvgPool2d, weight: torch.Tensor) -> nn.Conv2d:
    """A 1 x 1 convolution of averages over squares, as one of the squares."""
    side = int(pool.kernel_size)  # type: ignore[arg-type]
    n_out, n_in = weight.shape[:2]
    whole = nn.utils.skip_init(nn.Conv2d, n_in, n_out, side, side, bias=False)
    spread = weight.expand(-1, -1, side, side) / side**2
    spread = spread.contiguous(memory_format=torch.channels_last)
    whole.weight = nn.Parameter(spread, requires_grad=False)
    return whole.eval()


def _convert(network: nn.Module) -> None:
    """Give the layers that autocast computes in bfloat16 weights of that type."""
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            for name, weight in list(part.named_parameters(recurse=False)):
                setattr(part, name, nn.Parameter(weight.bfloat16(), requires_grad=False))


# --- all rows, in batches -------------------------------------------------------------------------


def inference_batch_size(batch_size: int, image_shape: tuple[int, ...]) -> int:
    """How many pictures (height, width, channels) form a batch: at most ``batch_size``.

    Fewer of large ones, so that what is made of them stays in the processor's cache: at 256 pixels
    an anonymizer took a little over half the time per image with 16 that it took with 64.
    """
    fitting = max(_MIN_BATCH_SIZE, _BATCH_PIXELS // (image_shape[0] * image_shape[1]))
    return max(1, min(batch_size, fitting))


def map_in_batches(
    function: Callable[[torch.Tensor], torch.Tensor],
    rows: NDArray,
    *,
    device: torch.device,
    batch_size: int,
    precision: str,
    as_tensor: Callable[[NDArray, torch.device], torch.Tensor] = to_tensor,
) -> torch.Tensor:
    """Apply a network without gradients to batches of one size; float32 or uint8 rows on CPU."""
    results = []
    with torch.inference_mode(), autocast(device, precision):
        for start in range(0, len(rows), batch_size):
            batch = as_tensor(rows[start : start + batch_size], device)
            n = len(batch)
            if n < batch_size:
                # Matrix kernels may sum in another order for another batch size.
                batch = torch.cat([batch, batch[:1].expand(batch_size - n, *batch.shape[1:])])
            result = function(batch)[:n]
            results.append((result if result.dtype == torch.uint8 else result.float()).cpu())
    return torch.cat(results)
