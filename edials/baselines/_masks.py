"""Baselines that cover a part of the face with a bar."""

from __future__ import annotations

import math
from numbers import Real
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .._validation import Interval
from ._filters import FaceAnonymizer


class MaskEyes(FaceAnonymizer):
    """Cover the eyes and brows with a black bar, at the same place in every picture.

    Nothing is detected: the bar lies where the eyes are when the face fills the picture, as in
    the central crops of LFW and in :func:`edials.datasets.make_faces`. For other crops give its
    place, and look at a few pictures.

    Parameters
    ----------
    top : float in [0, 1], default=0.26
    bottom : float in [0, 1], default=0.58
        Edges of the bar as fractions of the picture's height.
    left : float in [0, 1], default=0.1
    right : float in [0, 1], default=0.9
        Edges of the bar as fractions of the picture's width.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images", find
    that covered eyes do not stop recognition.
    """

    _accepted: ClassVar = dict.fromkeys(("top", "bottom", "left", "right"), (Interval(Real, 0, 1),))

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

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not (self.top < self.bottom and self.left < self.right):
            raise ValueError(
                f"top={self.top!r}, bottom={self.bottom!r}, left={self.left!r}, "
                f"right={self.right!r}; expected top < bottom and left < right."
            )

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pictures.shape[1:3]
        covered = pictures.copy()
        rows = _whole_pixels(self.top, self.bottom, height)
        covered[:, rows, _whole_pixels(self.left, self.right, width)] = 0
        return covered


def _whole_pixels(start: float, end: float, length: int) -> slice:
    # Outwards, so that a bar never covers less than was asked for; the tiny shift keeps
    # 0.7 * 10 = 7.000000000000001 from covering an eighth pixel.
    return slice(math.floor(start * length + 1e-9), math.ceil(end * length - 1e-9))


class MaskMouth(MaskEyes):
    """Cover the mouth with a black bar, at the same place in every picture.

    Nothing is detected; see :class:`MaskEyes` for which pictures the place fits.

    Parameters
    ----------
    top : float in [0, 1], default=0.64
    bottom : float in [0, 1], default=0.88
        Edges of the bar as fractions of the picture's height.
    left : float in [0, 1], default=0.2
    right : float in [0, 1], default=0.8
        Edges of the bar as fractions of the picture's width.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
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
        super().__init__(top, bottom=bottom, left=left, right=right, image_shape=image_shape)
