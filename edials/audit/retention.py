"""Retention: how much of the picture is left, attribute or not."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .._validation import to_tensor
from ..losses import structural_similarity


def picture_retention(
    original: NDArray[np.uint8], released: NDArray[np.uint8], *, batch_size: int = 256
) -> dict[str, float]:
    """Mean structural similarity and mean peak signal-to-noise ratio (dB) of pairs of pictures.

    Parameters
    ----------
    original, released : ndarray of shape (n_samples, height, width, 3), dtype uint8
    batch_size : int, default=256
    """
    similarity, ratio = [], []
    for start in range(0, len(original), batch_size):
        first = to_tensor(original[start : start + batch_size])
        second = to_tensor(released[start : start + batch_size])
        error = ((first - second) ** 2).flatten(1).mean(1).clamp_min(1e-10)
        similarity.append(structural_similarity(first, second))
        ratio.append(-10 * torch.log10(error))
    return {"ssim": float(torch.cat(similarity).mean()), "psnr": float(torch.cat(ratio).mean())}
