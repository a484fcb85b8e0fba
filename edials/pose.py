"""Which way a head is turned, as far as plain picture geometry tells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
# Half widths, as shares of the picture, of what lies around the symmetry axis: eyes, nose and
# mouth; and the whole head. Rows from the brows to the chin; axes searched on both sides.
_FEATURES, _HEAD, _BROWS, _CHIN, _REACH = 0.25, 0.40, 0.3, 0.8, 0.15


def yaw_proxy(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far the features lie beside the middle of the head, which they do when it turns.

    The symmetry axis of eyes, nose and mouth less that of the whole head, each where the
    picture and its mirror image correlate best. It is no angle: a lopsided haircut moves it, a
    tilt or a strong side light blurs it, and it presumes a centred face. On made-up faces its
    correlation with the true angle is 0.50 to 0.58 at 64 pixels, 0.31 to 0.42 at 32.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width, 3), dtype uint8

    Returns
    -------
    ndarray of shape (n_samples,)
        In shares of the width, positive to the right of the picture.
    """
    flat = _without_light(luminance(images))
    return _mirror_axis(flat, _FEATURES) - _mirror_axis(flat, _HEAD)


def _without_light(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Detail at an even contrast: shading is smooth, so it goes with the local mean and spread."""
    width = grey.shape[2]
    detail = grey - gaussian_filter(grey, (0, 0.06 * width, 0.06 * width))
    spread = gaussian_filter(detail**2, (0, 0.08 * width, 0.08 * width))
    return detail / np.sqrt(spread + 1e-3)


def _mirror_axis(detail: NDArray[np.float32], half_width: float) -> NDArray[np.float64]:
    """Place of the axis around which each picture is most like its mirror image."""
    n, height, width = detail.shape
    rows = detail[:, round(_BROWS * height) : round(_CHIN * height)]
    # Every correlation of two sets of columns is made of what any two columns have in common.
    common = np.matmul(rows.transpose(0, 2, 1), rows).astype(np.float64)
    level = rows.sum(axis=1, dtype=np.float64)
    # Pixel j and pixel sum - 1 - j mirror each other around the axis at sum / 2.
    sums = np.arange(round(width * (1 - 2 * _REACH)), round(width * (1 + 2 * _REACH)) + 1)
    likeness = np.empty((n, len(sums)))
    for place, total in enumerate(sums):
        right = (total + 1) // 2 + np.arange(max(1, round(half_width * width)))
        left = total - 1 - right
        seen = (right < width) & (left >= 0)
        sides = [side[seen] for side in (left, right)]
        count = rows.shape[1] * seen.sum()
        mean_1, mean_2 = (level[:, side].sum(axis=1) / count for side in sides)
        square_1, square_2 = (common[:, side, side].sum(axis=1) for side in sides)
        product = common[:, sides[0], sides[1]].sum(axis=1) - count * mean_1 * mean_2
        norms = (square_1 - count * mean_1**2) * (square_2 - count * mean_2**2)
        likeness[:, place] = product / np.sqrt(np.maximum(norms, 0) + 1e-9)
    # A soft maximum, so that the axis lies between pixels, too.
    weights = np.exp(10 * likeness)
    return (weights * (sums / 2 / width - 0.5)).sum(axis=1) / weights.sum(axis=1)


def luminance(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness of every pixel, in [0, 1], shape (n, height, width)."""
    return images.astype(np.float32) @ _LUMINANCE / np.float32(255)
