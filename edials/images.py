"""Image files: reading, and writing without a trace of where a picture came from."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import ExifTags, Image, ImageOps
from sklearn.base import BaseEstimator, TransformerMixin

from .exceptions import InvalidImageError, UnreadableImageError, first_few

#: File name endings that a folder is searched for, in lower case.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")

PictureFile = str | os.PathLike[str] | zipfile.Path

_ARCHIVE_LOCK = threading.Lock()


def read_image(source: PictureFile, size: int | None = None) -> NDArray[np.uint8]:
    """Read one picture as RGB (height, width, 3), upright as its orientation tag says.

    ``size`` crops it to its central square and resizes this (bicubic), so that faces keep their
    proportions.
    """
    with _naming(source), Image.open(_opened(source)) as opened:
        picture = _as_rgb(ImageOps.exif_transpose(opened))
        if size is not None:
            picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
        return np.asarray(picture)


def picture_size(source: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of a picture as it is read, upright; its pixels are not decoded."""
    with _naming(source), Image.open(source) as opened:
        width, height = opened.size
        on_its_side = opened.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (height, width) if on_its_side else (width, height)


def _opened(source: Any) -> Any:
    if not isinstance(source, zipfile.Path):
        return source
    # An archive has one file position; only decoding runs side by side.
    with _ARCHIVE_LOCK:
        return io.BytesIO(source.read_bytes())


@contextlib.contextmanager
def _naming(source: Any) -> Iterator[None]:
    """Turn whatever goes wrong with a file into one error that names it."""
    try:
        yield
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        zipfile.BadZipFile,
        zlib.error,
        Warning,  # Pillow's, of a damaged file, where the caller has made warnings errors
    ) as error:
        name = source if isinstance(source, zipfile.Path) else getattr(source, "name", source)
        raise UnreadableImageError(
            f"{str(name)!r} could not be read as a picture ({error}). Expected a file that Pillow "
            f"can decode, such as PNG or JPEG; remove or repair it."
        ) from error


def _as_rgb(picture: Image.Image) -> Image.Image:
    """Any mode as RGB: deep greys are scaled, not cut off; what was transparent turns white."""
    if picture.mode.startswith(("I", "F")):
        levels = np.asarray(picture, dtype=np.float64)
        top = 65535 if levels.max(initial=0) > 255 else 255
        picture = Image.fromarray(np.uint8(np.clip(levels / top, 0, 1) * 255 + 0.5))
    if picture.has_transparency_data:
        # The colours under a transparent pixel are not part of the picture.
        layers = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return picture.convert("RGB")


def read_each(
    sources: Sequence[PictureFile], size: int | None = None
) -> Iterator[NDArray[np.uint8] | UnreadableImageError]:
    """As :func:`read_images`, one by one; an error is yielded in place of an unreadable picture."""

    def attempt(source: PictureFile) -> NDArray[np.uint8] | UnreadableImageError:
        try:
            return read_image(source, size)
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(attempt, sources)


def are_paths(X: Any) -> bool:
    """Whether these are file paths; the first entry that is not None decides."""
    if isinstance(X, (str, bytes, Mapping)) or not isinstance(X, Iterable):
        return False
    if getattr(X, "ndim", 1) != 1:  # iterating over a table gives its columns' names
        return False
    first = next((entry for entry in X if entry is not None), None)
    return isinstance(first, (str, os.PathLike))


def read_images(sources: Sequence[PictureFile], size: int | None = None) -> NDArray[np.uint8]:
    """Read pictures into an array (n, height, width, 3), on a few threads; all faults at once.

    Without ``size``, as in :func:`read_image`, all files must have one size already.
    """
    images = np.empty((len(sources), size or 0, size or 0, 3), dtype=np.uint8)
    faults: dict[str, UnreadableImageError] = {}
    shapes: set[tuple[int, ...]] = set()
    for row, picture in enumerate(read_each(sources, size)):
        if isinstance(picture, UnreadableImageError):
            faults[str(sources[row])] = picture
            continue
        if not shapes:
            images = np.empty((len(sources), *picture.shape), dtype=np.uint8)
        shapes.add(picture.shape)
        if len(shapes) == 1:
            images[row] = picture
    if faults:
        raise UnreadableImageError(
            f"{len(faults)} of {len(sources)} pictures could not be read: "
            f"{first_few(list(faults))}. The first: {next(iter(faults.values()))}"
        )
    if len(shapes) > 1:
        raise InvalidImageError(
            f"The pictures have {len(shapes)} different sizes, such as {sorted(shapes)[:3]}; "
            f"expected one. Give size= to resize them all."
        )
    return images


def write_image(picture: NDArray[np.uint8], folder: str | os.PathLike[str]) -> Path:
    """Write one picture as PNG, without metadata and under a random name.

    The file is written under a temporary name and moved into place, so that a crash leaves no
    half picture.
    """
    target = Path(folder) / f"{secrets.token_hex(8)}.png"
    partial = target.with_suffix(".part")
    # A fresh Image holds pixels only: no EXIF, ICC profile, text chunk or thumbnail can follow.
    Image.fromarray(np.ascontiguousarray(picture)).save(partial, format="PNG")
    # The order of modification times would reveal the order of the inputs.
    os.utime(partial, (0, 0))
    partial.replace(target)
    return target


class ImageReader(TransformerMixin, BaseEstimator):
    """Turn paths into an image array, as the first step of a Pipeline.

    Parameters
    ----------
    size : int, default=64
        Pictures are cropped to a centred square and resized to ``(size, size)`` pixels.
    """

    def __init__(self, size: int = 64):
        self.size = size

    def fit(self, X: ArrayLike, y: Any = None) -> ImageReader:
        """Check the parameters; nothing is read."""
        if not isinstance(self.size, (int, np.integer)) or self.size < 1:
            raise InvalidImageError(f"size={self.size!r}; expected a positive number of pixels.")
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Read the files.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Paths.

        Returns
        -------
        ndarray of shape (n_samples, size, size, 3), dtype uint8

        Raises
        ------
        UnreadableImageError
            If any file cannot be read; all such files are counted, and ten are named.
        """
        return read_images(np.asarray(X, dtype=object).ravel().tolist(), self.size)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.no_validation = True
        tags.requires_fit = False
        return tags
