"""Networks without gradients: in which precision, how many images together, and all of them.

Whatever the number of images, a network sees them in batches of one size, so that an image's bytes
do not depend on the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from ._validation import to_levels, to_pictures, to_tensor

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


def rows_at_once(batch_size: int, image_shape: tuple[int, ...]) -> int:
    """How many pictures (height, width, channels) to look at together: at most ``batch_size``.

    Fewer of large ones, so that what is made of them stays in the processor's cache: at 256 pixels
    an anonymizer took a little over half the time per image with 16 that it took with 64.
    """
    return max(1, min(batch_size, max(_FEW, _PIXELS // (image_shape[0] * image_shape[1]))))


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
        At most; see :func:`rows_at_once`.
    precision : {"auto", "float32", "bfloat16"}

    Returns
    -------
    ndarray of shape (n_samples, ...), dtype float32
    """
    results = []
    batch_size = rows_at_once(batch_size, images.shape[1:])
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
        return to_levels(decoder(batch))

    at_once = rows_at_once(estimator.batch_size, estimator.image_shape_)
    return to_pictures(run_in_batches(levels, rows, at_once, estimator.precision))
