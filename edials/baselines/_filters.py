"""What every baseline shares, and those that average inside one picture: blur and pixelate."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from .._validation import Accepted, Interval, check_images, check_parameters, to_uint8

# Array elements of one step of a transform, so that floats of many pictures are not held together.
_STEP_ELEMENTS = 2**22


def quantise(values: NDArray) -> NDArray[np.uint8]:
    """Clip values to [0, 255] and round them to the nearest level."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


class FaceAnonymizer(TransformerMixin, BaseEstimator):
    """Images in, as many out, of the same shape and dtype; a subclass changes uint8 pictures.

    A subclass defines ``_anonymize`` and, where there is something to check or to learn,
    ``_accepted`` and ``_learn``.
    """

    _accepted: ClassVar[Mapping[str, Accepted]] = {}
    # Requested by default, so that routing brings them without set_fit_request.
    __metadata_request__fit = {"identity": True, "attributes": True}  # noqa: RUF012

    image_shape: tuple[int, int, int] | None

    def fit(
        self, X: ArrayLike, y: Any = None, *, identity: Any = None, attributes: Any = None
    ) -> FaceAnonymizer:
        """Check the parameters, take the size of the images, and learn what the method needs.

        Only the k-same family uses labels; the others accept them, so that anonymizers can be
        exchanged in a Pipeline.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
            uint8 or float in [0, 1].
        y : array-like of shape (n_samples,), optional
            The only attribute if ``attributes`` is None.
        identity : array-like of shape (n_samples,), optional
            Person of each image; None, NaN, or -1 among integers, where unknown.
        attributes : DataFrame, or array-like of shape (n_samples,) or (n_samples, n_attributes)
            Labels that must stay predictable; entries may be missing.

        Returns
        -------
        self

        Raises
        ------
        InvalidImageError, InvalidLabelsError
            If images or labels cannot be used.
        ValueError
            If a parameter is out of range; all such parameters are named at once.
        """
        images, _ = check_images(X, image_shape=self.image_shape)
        self._check_parameters()
        self._learn(images, y, identity, attributes)
        self.image_shape_ = images.shape[1:]
        self.n_features_in_ = int(np.prod(self.image_shape_))
        return self

    def transform(self, X: ArrayLike) -> NDArray:
        """Anonymize images, one out for one in and in order.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, 3) or (n_samples, height * width * 3)
            uint8 or float in [0, 1]; floats are rounded to 256 levels.

        Returns
        -------
        ndarray of the shape and dtype of ``X``

        Raises
        ------
        InvalidImageError
            If the images are not of the size seen in fit.
        """
        check_is_fitted(self)
        self._check_parameters()
        images, image_format = check_images(X, image_shape=self.image_shape_)
        released = np.empty(images.shape, dtype=np.uint8)
        step = max(1, _STEP_ELEMENTS // self.n_features_in_)
        for rows in gen_batches(len(images), step):
            released[rows] = self._anonymize(to_uint8(images[rows]))
        return image_format.restore(released)

    def _check_parameters(self) -> None:
        check_parameters(self, self._accepted)

    def _learn(self, images: NDArray, y: Any, identity: Any, attributes: Any) -> None:
        """Learn from checked images; most methods learn nothing."""

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Make new pictures (n, height, width, 3); the checked ones must not be written to."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class DoNothing(FaceAnonymizer):
    """Return a copy of the images: a check that attackers work.

    An attacker who does not recognise people here is broken, and its results on other
    anonymizers say nothing about privacy.

    Parameters
    ----------
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    """

    def __init__(self, *, image_shape: tuple[int, int, int] | None = None):
        self.image_shape = image_shape

    def transform(self, X: ArrayLike) -> NDArray:
        """Copy the images; floats keep all their digits."""
        check_is_fitted(self)
        images, image_format = check_images(X, image_shape=self.image_shape_)
        copies = images.copy()
        return copies.reshape(len(copies), -1) if image_format.flat else copies


class GaussianBlur(FaceAnonymizer):
    """Blur with a Gaussian.

    ``sigma`` is the standard deviation of the kernel, not its reach. The kernel reaches
    ``radius = round(4 * sigma)`` pixels to each side, and a point becomes a spot ``2.355 * sigma``
    pixels wide at half its height. Pillow calls the standard deviation itself "radius", so that
    ``ImageFilter.GaussianBlur(radius=5)`` corresponds to ``sigma=5`` here.

    Parameters
    ----------
    sigma : float, default=5.0
        Pixels, so the same value is a weaker blur on a larger picture. 0 changes nothing.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images", show
    that an attacker who blurs the gallery as well recognises people on blurred pictures.
    """

    _accepted: ClassVar = {"sigma": (Interval(Real, 0),)}

    def __init__(self, sigma: float = 5.0, *, image_shape: tuple[int, int, int] | None = None):
        self.sigma = sigma
        self.image_shape = image_shape

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return quantise(gaussian_blur(pictures.astype(np.float32), self.sigma))


def gaussian_blur(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur pictures (n, height, width, channels), mirrored at their borders."""
    # Cut off at four standard deviations, beyond which 0.006 % of a Gaussian lies.
    return gaussian_filter(values, sigma, axes=(1, 2), mode="reflect", truncate=4.0)


class BoxBlur(FaceAnonymizer):
    """Replace every pixel by the mean of the square around it.

    Parameters
    ----------
    radius : int, default=4
        The square has sides of ``2 * radius + 1`` pixels; the picture is mirrored at its borders.
        0 changes nothing.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    """

    _accepted: ClassVar = {"radius": (Interval(Integral, 0),)}

    def __init__(self, radius: int = 4, *, image_shape: tuple[int, int, int] | None = None):
        self.radius = radius
        self.image_shape = image_shape

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = 2 * self.radius + 1
        # Running sums: doubles keep them exact.
        values = pictures.astype(np.float64)
        return quantise(uniform_filter(values, side, axes=(1, 2), mode="reflect"))


class Pixelate(FaceAnonymizer):
    """Replace every block of pixels by its mean colour.

    Parameters
    ----------
    block : int, default=8
        Side of a block in pixels, counted from the top left. Where it does not divide the
        picture, the last blocks are smaller, and a block larger than the picture is the picture.
        1 changes nothing.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.
    """

    _accepted: ClassVar = {"block": (Interval(Integral, 1),)}

    def __init__(self, block: int = 8, *, image_shape: tuple[int, int, int] | None = None):
        self.block = block
        self.image_shape = image_shape

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        means, _ = block_means(pictures, self.block)
        return fill_blocks(quantise(means), self.block, pictures.shape)


def block_means(
    pictures: NDArray[np.uint8], block: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of every block (n, n_rows, n_columns, 3), and its pixels (n_rows, n_columns, 1)."""
    height, width = pictures.shape[1:3]
    tops, lefts = np.arange(0, height, block), np.arange(0, width, block)
    sums = np.add.reduceat(pictures, tops, axis=1, dtype=np.int64)
    sums = np.add.reduceat(sums, lefts, axis=2)
    sizes = np.outer(np.diff(tops, append=height), np.diff(lefts, append=width))[..., None]
    return sums / sizes, sizes


def fill_blocks(values: NDArray, block: int, shape: tuple[int, ...]) -> NDArray:
    """Fill every block of pictures of that shape with its value; undoes :func:`block_means`."""
    height, width = shape[1:3]
    return values[:, np.arange(height)[:, None] // block, np.arange(width) // block]
