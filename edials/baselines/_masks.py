"""Baselines that cover a part of the face with a bar."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ._filters import FaceAnonymizer, fault


class _Mask(FaceAnonymizer):
    top: float
    bottom: float
    left: float
    right: float

    def _faults(self) -> list[str]:
        faults = []
        for low, high in (("top", "bottom"), ("left", "right")):
            start, end = getattr(self, low), getattr(self, high)
            unfit = fault(low, start) + fault(high, end)
            if unfit or not start < end <= 1:
                faults.append(
                    f"{low}={start!r}, {high}={end!r}; expected shares of the picture with "
                    f"0 <= {low} < {high} <= 1."
                )
        return faults

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pictures.shape[1:3]
        covered = pictures.copy()
        rows = _covered(self.top, self.bottom, height)
        covered[:, rows, _covered(self.left, self.right, width)] = 0
        return covered


def _covered(start: float, end: float, length: int) -> slice:
    # Outwards to whole pixels, so that a bar never covers less than was asked for; the tiny
    # shift keeps 0.7 * 10 = 7.000000000000001 from covering an eighth pixel.
    return slice(math.floor(start * length + 1e-9), math.ceil(end * length - 1e-9))


class MaskEyes(_Mask):
    """Cover the eyes and brows with a black bar, at the same place in every picture.

    Nothing is detected: the bar lies where the eyes are when the face fills the picture, as in
    the central crops of LFW and in :func:`edials.datasets.make_faces`. For other crops give its
    place, and look at a few pictures.

    Parameters
    ----------
    top : float in [0, 1], default=0.26
        Upper edge of the bar as a share of the picture's height.
    bottom : float in [0, 1], default=0.58
        Lower edge.
    left : float in [0, 1], default=0.1
        Left edge as a share of the picture's width.
    right : float in [0, 1], default=0.9
        Right edge.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    Attributes
    ----------
    image_shape_ : tuple (height, width, 3)
    n_features_in_ : int
        Numbers per image.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images", find
    that covered eyes do not stop recognition.
    """

    def __init__(
        self,
        top: float = 0.26,
        *,
        bottom: float = 0.58,
        left: float = 0.1,
        right: float = 0.9,
        image_shape: tuple[int, int, int] | None = None,
    ):
        self.top = top
        self.bottom = bottom
        self.left = left
        self.right = right
        self.image_shape = image_shape


class MaskMouth(_Mask):
    """Cover the mouth with a black bar, at the same place in every picture.

    Nothing is detected; see :class:`MaskEyes` for which pictures the place fits.

    Parameters
    ----------
    top : float in [0, 1], default=0.64
        Upper edge of the bar as a share of the picture's height.
    bottom : float in [0, 1], default=0.88
        Lower edge.
    left : float in [0, 1], default=0.2
        Left edge as a share of the picture's width.
    right : float in [0, 1], default=0.8
        Right edge.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    Attributes
    ----------
    image_shape_ : tuple (height, width, 3)
    n_features_in_ : int
        Numbers per image.
    """

    def __init__(
        self,
        top: float = 0.64,
        *,
        bottom: float = 0.88,
        left: float = 0.2,
        right: float = 0.8,
        image_shape: tuple[int, int, int] | None = None,
    ):
        self.top = top
        self.bottom = bottom
        self.left = left
        self.right = right
        self.image_shape = image_shape
