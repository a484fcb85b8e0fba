"""Baselines that add noise: Gaussian noise, and pixelation and blur with differential privacy."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._random import KeyedMixin, image_keys, keyed_normal, new_secret
from .._validation import Interval
from ._filters import FaceAnonymizer, block_means, fill_blocks, gaussian_blur, quantise


class _KeyedAnonymizer(KeyedMixin, FaceAnonymizer):
    """Noise from a keyed hash of the pixels; the key is made in fit."""

    random_state: Any

    def _learn(self, images: NDArray, y: Any, identity: Any, attributes: Any) -> None:
        self._secret = new_secret(self.random_state)


class GaussianNoise(_KeyedAnonymizer):
    """Add independent Gaussian noise to every pixel and channel, and clip.

    An image's noise depends on a key and on its own pixels alone. So a second release of the same
    image repeats the first, and averaging releases does not remove the noise.

    Parameters
    ----------
    standard_deviation : float, default=0.2
        Of the noise before clipping, on the scale where the picture is in [0, 1].
    random_state : int, RandomState instance or None, default=None
        None draws the key from the operating system, as a release needs. Those who know an integer
        can draw the same noise and subtract it.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    """

    _accepted: ClassVar = {"standard_deviation": (Interval(Real, 0),)}

    def __init__(
        self,
        standard_deviation: float = 0.2,
        *,
        random_state: Any = None,
        image_shape: tuple[int, int, int] | None = None,
    ):
        self.standard_deviation = standard_deviation
        self.random_state = random_state
        self.image_shape = image_shape

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        draws = keyed_normal(image_keys(self._secret, pictures), pictures.shape[1:])
        return quantise(pictures + np.float32(255 * self.standard_deviation) * draws)


class DPPixelate(_KeyedAnonymizer):
    """Pixelate, and add Laplace noise to the blocks: differential privacy for a few pixels.

    Two pictures are neighbours if they differ in at most ``m`` pixels. In one colour channel such
    a change moves the means of ``block x block`` pixels by at most ``255 * m / block**2`` levels in
    sum: the sensitivity. So Laplace noise of scale ``255 * m / (block**2 * epsilon)`` makes a
    channel ``epsilon``-differentially private. A smaller block at the border gets noise for the
    pixels that it has. Clipping and rounding are post-processing and cost nothing.

    **What is protected** is ``m`` pixels of one picture, say a mole or a pair of glasses. It is not
    a person, whose face is on many more pixels and pictures. ``epsilon`` is spent once per colour
    channel, as published; where a changed pixel may change in all three, it is ``3 * epsilon``
    for the picture. It needs a secret key (``random_state=None``) and holds for one picture at a
    time: equal pictures under one key give equal releases, so that an observer sees that they were
    equal.

    Parameters
    ----------
    epsilon : float, default=0.5
        Above 0. Smaller is more noise; infinity is :class:`Pixelate`.
    block : int, default=16
        Side of a block in pixels.
    m : int, default=16
        Pixels in which neighbouring pictures may differ.
    random_state : int, RandomState instance or None, default=None
        None draws the key from the operating system. An integer gives no guarantee against those
        who know it.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    References
    ----------
    Fan (2018), "Image pixelization with differential privacy", DBSec.
    Dwork, McSherry, Nissim and Smith (2006), "Calibrating noise to sensitivity in private data
    analysis": Laplace noise.
    """

    _accepted: ClassVar = {
        "epsilon": (Interval(Real, 0, np.inf, "right"),),
        "block": (Interval(Integral, 1),),
        "m": (Interval(Integral, 1),),
    }

    def __init__(
        self,
        epsilon: float = 0.5,
        *,
        block: int = 16,
        m: int = 16,
        random_state: Any = None,
        image_shape: tuple[int, int, int] | None = None,
    ):
        self.epsilon = epsilon
        self.block = block
        self.m = m
        self.random_state = random_state
        self.image_shape = image_shape

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return quantise(self._noisy_blocks(pictures))

    def _noisy_blocks(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Pictures in [0, 255] whose blocks are private; all that follows is post-processing."""
        means, sizes = block_means(pictures, self.block)
        # b = 255 m / (pixels of the block * epsilon): with m_c changed pixels in block c the loss
        # is at most sum_c (255 m_c / pixels_c) / b_c = epsilon * sum_c m_c / m.
        scale = 255 * self.m / (sizes * self.epsilon)
        noise = scale * _keyed_laplace(self._secret, pictures, means.shape[1:])
        return fill_blocks(np.clip(means + noise, 0, 255), self.block, pictures.shape)


def _keyed_laplace(
    secret: bytes, pictures: NDArray[np.uint8], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Standard Laplace numbers (n, *shape) from a keyed hash of every picture."""
    squares = np.square(keyed_normal(image_keys(secret, pictures), (*shape, 4)), dtype=np.float64)
    # Half the sum of two squared normals is exponential, and the difference of two such Laplace.
    first, second, third, fourth = np.moveaxis(squares, -1, 0)
    return (first + second - third - fourth) / 2


class DPBlur(DPPixelate):
    """Pixelate with differential privacy in small blocks, then blur.

    The blur is post-processing: it hides the grid and costs nothing. So :class:`DPPixelate` says
    what is protected and what ``epsilon`` means. ``block`` is smaller by default, and the noise
    therefore larger. The kernel is our reading: published settings may differ.

    Parameters
    ----------
    epsilon : float, default=0.5
    block : int, default=8
    m : int, default=16
    random_state : int, RandomState instance or None, default=None
        As in :class:`DPPixelate`.
    sigma : float, default=5.0
        Standard deviation of the Gaussian in pixels; see :class:`GaussianBlur`. 0 is
        :class:`DPPixelate`.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    References
    ----------
    Fan (2018), "Image pixelization with differential privacy", DBSec: the noise.
    Fan (2019), "Differential privacy for image publication", TPDP: blur after it.
    """

    _accepted: ClassVar = {**DPPixelate._accepted, "sigma": (Interval(Real, 0),)}

    def __init__(
        self,
        epsilon: float = 0.5,
        *,
        block: int = 8,
        m: int = 16,
        sigma: float = 5.0,
        random_state: Any = None,
        image_shape: tuple[int, int, int] | None = None,
    ):
        super().__init__(
            epsilon, block=block, m=m, random_state=random_state, image_shape=image_shape
        )
        self.sigma = sigma

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return quantise(gaussian_blur(self._noisy_blocks(pictures).astype(np.float32), self.sigma))
