"""The border: images, identity and attributes are checked here once, then trusted.

Inside, pictures are float32 tensors of shape (n, 3, height, width) in [0, 1]; outside they are
what the caller holds. This module is where torch and NumPy meet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite

from .exceptions import InvalidImageError

#: Networks halve the picture four times, so both sides must be a multiple of this.
SIZE_MULTIPLE = 16


@dataclass(frozen=True)
class ImageFormat:
    """What the caller's images look like, so that the answer can look the same.

    ``shape`` is (height, width, 3), ``dtype`` uint8, float32 or float64; ``flat`` images came as
    rows of ``height * width * 3`` numbers.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    flat: bool

    def restore(self, pictures: NDArray[np.uint8]) -> NDArray:
        """Give uint8 pictures the caller's dtype and layout."""
        images: NDArray = pictures
        if self.dtype != np.uint8:
            images = np.divide(pictures, self.dtype.type(255), dtype=self.dtype)
        return images.reshape(len(images), -1) if self.flat else images


def check_images(
    X: ArrayLike, *, image_shape: tuple[int, int, int] | None = None, min_samples: int = 1
) -> tuple[NDArray, ImageFormat]:
    """View images as (n_samples, height, width, 3), checked, without copying the caller's data.

    uint8 in [0, 255] or float in [0, 1]; flat rows need ``image_shape``. Anything else raises
    :class:`InvalidImageError`.
    """
    if hasattr(X, "to_numpy") and not isinstance(X, np.ndarray):
        X = X.to_numpy()
    try:
        images = X if isinstance(X, np.ndarray) else np.asarray(X)
    except ValueError as error:  # NumPy refuses ragged nested sequences
        raise InvalidImageError(
            f"The images cannot be put into one array ({error}). Expected pictures of one size: "
            f"resize them, for example with ImageReader(size=64)."
        ) from error
    if images.dtype == object or images.dtype.kind in "US":
        raise InvalidImageError(
            f"The images have dtype {images.dtype}; expected numbers. For paths put an ImageReader "
            f"in front; for pictures of several sizes resize them to one."
        )
    if images.dtype.kind == "c":
        raise InvalidImageError("Complex data not supported: pictures are real numbers.")
    if images.dtype.kind == "b" or (images.dtype.kind in "iu" and images.dtype != np.uint8):
        raise InvalidImageError(
            f"The images have dtype {images.dtype}; expected uint8 in [0, 255] or float in [0, 1]."
        )
    if images.dtype == np.float16 or (images.dtype.kind == "f" and images.dtype.itemsize > 8):
        images = images.astype(np.float32)
    flat = images.ndim == 2
    if flat:
        if image_shape is None:
            raise InvalidImageError(
                f"Got flat rows of shape {images.shape}; give image_shape=(height, width, 3), or "
                f"images of shape (n_samples, height, width, 3)."
            )
        height, width, channels = _check_image_shape(image_shape)
        if images.shape[1] != height * width * channels:
            raise InvalidImageError(
                f"X has {images.shape[1]} features, but image_shape={image_shape!r} is expecting "
                f"{height * width * channels} features as input."
            )
        images = images.reshape(-1, height, width, channels)
    if images.ndim != 4 or images.shape[3] != 3:
        raise InvalidImageError(
            f"Got an array of shape {images.shape}; expected (n_samples, height, width, 3), RGB "
            f"with channels last. Reshape your data; for one image add an axis, images[None]."
        )
    if image_shape is not None and images.shape[1:] != tuple(image_shape):
        raise InvalidImageError(
            f"Images have shape {images.shape[1:]}; expected {tuple(image_shape)}, the shape seen "
            f"in fit or given as image_shape. Resize them, or fit again on this size."
        )
    _check_image_shape(images.shape[1:])
    if len(images) < min_samples:
        raise InvalidImageError(
            f"Found array with {len(images)} sample(s) while a minimum of {min_samples} is "
            f"required."
        )
    if images.dtype.kind == "f" and len(images):
        _check_range(images)
    return images, ImageFormat(images.shape[1:], images.dtype, flat)


def _check_image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[2] != 3:
        raise InvalidImageError(f"image_shape={shape!r}; expected (height, width, 3).")
    height, width, channels = shape
    if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE or height < 1 or width < 1:
        raise InvalidImageError(
            f"Images are {height} x {width} pixels; expected both sides to be a multiple of "
            f"{SIZE_MULTIPLE}. Resize them, for example with ImageReader(size=64)."
        )
    return height, width, channels


def _check_range(images: NDArray) -> None:
    # Row by row, so that a memory map of many images is never held at once.
    low, high = np.inf, -np.inf
    for start in range(0, len(images), 1024):
        chunk = images[start : start + 1024]
        assert_all_finite(chunk, input_name="X")
        low, high = min(low, chunk.min()), max(high, chunk.max())
    if low < 0 or high > 1:
        hint = " Divide by 255, or pass uint8." if high > 1 and high <= 255 and low >= 0 else ""
        raise InvalidImageError(
            f"Float images range from {low:.4g} to {high:.4g}; expected [0, 1].{hint}"
        )


def check_weights(sample_weight: ArrayLike, n_samples: int) -> NDArray[np.float64]:
    """Check one finite weight of at least 0 for every image, not all of them 0."""
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}; expected ({n_samples},), one per image."
        )
    faulty = weights[~np.isfinite(weights) | (weights < 0)]
    if len(faulty) or not weights.any():
        entry = faulty[0] if len(faulty) else "only zeros"
        raise ValueError(
            f"sample_weight holds {entry}; expected finite numbers of at least 0, and one above it."
        )
    return weights


def to_uint8(images: NDArray) -> NDArray[np.uint8]:
    """Bring checked images to uint8, rounding floats to the nearest of 256 levels."""
    if images.dtype == np.uint8:
        return images
    return np.rint(images * 255).astype(np.uint8)


def to_rows(images: NDArray) -> NDArray[np.float32]:
    """Bring checked images to flat rows (n, height * width * 3) of uint8 levels over 255."""
    images = to_uint8(images)
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def to_tensor(images: NDArray, device: torch.device | str = "cpu") -> torch.Tensor:
    """Bring checked images to a float32 tensor (n, 3, height, width) in [0, 1], channels-last."""
    # A copy only when the array is read-only: torch refuses to promise it would not write.
    source = np.array(images) if not images.flags.writeable else np.ascontiguousarray(images)
    tensor = torch.from_numpy(source).to(device).permute(0, 3, 1, 2)
    scale = 255.0 if tensor.dtype == torch.uint8 else 1.0
    tensor = tensor.to(torch.float32, copy=True).div_(scale)
    return tensor.contiguous(memory_format=torch.channels_last)


def to_levels(tensor: torch.Tensor) -> torch.Tensor:
    """Bring values of pictures to uint8 levels, clipped to [0, 1]."""
    return tensor.detach().float().clamp(0, 1).mul_(255).round_().to(torch.uint8)


def to_pictures(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """Bring a tensor (n, 3, height, width) to uint8 pictures (n, height, width, 3), clipped."""
    levels = tensor if tensor.dtype == torch.uint8 else to_levels(tensor)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def matmul(first: NDArray, second: NDArray) -> NDArray:
    """Matrix product on the threads of the networks.

    NumPy's own threads would go on waiting for more and keep the processor from them.
    """
    return (torch.from_numpy(first) @ torch.from_numpy(second)).numpy()


def resolve_device(device: str | torch.device) -> torch.device:
    """Resolve ``"auto"`` to torch's accelerator or the CPU; refuse a device that is not there."""
    if device == "auto":
        accelerator = getattr(torch, "accelerator", None)
        if accelerator is not None and accelerator.is_available():
            return accelerator.current_accelerator()
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(1, device=resolved)  # a build without it says so only now
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} is not a device that torch can use here ({error}); expected "
            f"'auto', 'cpu' or the name of an accelerator that is there."
        ) from error
    return resolved


# --- parameters -----------------------------------------------------------------------------------


class Interval(NamedTuple):
    """Numbers that a parameter may be.

    ``high=None`` is for any finite number; infinity accepts that, too.
    """

    kind: type
    low: float
    high: float | None = None
    closed: Literal["both", "left", "right", "neither"] = "both"

    def accepts(self, value: Any) -> bool:
        """Whether a value is such a number; True and False are none."""
        if not isinstance(value, self.kind) or isinstance(value, bool):
            return False
        number: Any = value
        return number in self._limits and (self.high is not None or math.isfinite(number))

    @property
    def _limits(self) -> pd.Interval:
        return pd.Interval(self.low, math.inf if self.high is None else self.high, self.closed)

    def __str__(self) -> str:
        kind = "an integer" if self.kind is Integral else "a number"
        if self.high is not None:
            return f"{kind} in {self._limits}"
        finite = kind.replace("a number", "a finite number")
        return f"{finite} {'of at least' if self._limits.closed_left else 'above'} {self.low:g}"


#: What a parameter may be: values, types and intervals; "a callable" where ``callable`` stands.
Accepted = tuple[Any, ...]


def check_value(name: str, value: Any, *accepted: Any) -> None:
    """Check one value against alternatives: values, types, intervals, or ``callable``."""
    check_parameters({name: value}, {name: accepted})


def check_parameters(parameters: Any, table: Mapping[str, Accepted]) -> None:
    """Check an estimator's parameters, or a mapping of them, and name all faults at once.

    The table has a tuple of alternatives for each, as :func:`check_value` takes them.
    """
    if not isinstance(parameters, Mapping):
        parameters = {name: getattr(parameters, name) for name in table}
    faults = [
        f"{name}={parameters[name]!r}; expected {_in_words(accepted)}."
        for name, accepted in table.items()
        if not any(_is_accepted(parameters[name], alternative) for alternative in accepted)
    ]
    if faults:
        raise ValueError(" ".join(faults))


def _is_accepted(value: Any, alternative: Any) -> bool:
    if isinstance(alternative, Interval):
        return alternative.accepts(value)
    if isinstance(alternative, type):
        return isinstance(value, alternative)
    if alternative is callable:
        return callable(value)
    # Types first: an array compared with a string is no truth value.
    return value is alternative or (isinstance(value, str) and value == alternative)


def _in_words(accepted: Accepted) -> str:
    """As ``'a', 'b' or an integer of at least 1``."""
    words = [_word(alternative) for alternative in accepted]
    return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _word(alternative: Any) -> str:
    if alternative is callable:
        return "a callable"
    if isinstance(alternative, type):
        return f"a {alternative.__name__}"
    return str(alternative) if isinstance(alternative, Interval) else repr(alternative)
