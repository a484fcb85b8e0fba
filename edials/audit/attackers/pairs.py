"""An attacker who learns from pairs how a release changes photos, and links back to clear ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from ..._discriminant import discriminant
from .base import PixelAttacker

_PENALTIES = np.logspace(-1, 4, 6)


class PairAttacker:
    """A linear map from released to clear features, then discriminant analysis on clear photos.

    Every prediction is shrunk towards the mean and has errors; the clear gallery is given the same
    shrinking and errors before the analysis, as far as the pairs show them.

    Needs no released image of anybody it names: the map is learned from pairs (photo, what was
    released for it), of other people if there are enough of them and else of the gallery; the
    audit says which as ``pairs_of``. Features are whitened principal components of the
    pixels, and with ``encode`` the latents as well.

    Parameters
    ----------
    encode : estimator with ``encode``, or callable images -> ndarray, optional
        As for :class:`~edials.metrics.linear_attack.LatentAttacker`.
    n_components : int, default=200
        Principal components of the pixels; at most a third of the images are used.
    shrinkage : float, default=0.05
        Share of the spherical part in the covariance, in [0, 1].
    random_state : int, default=0

    References
    ----------
    Hoerl and Kennard (1970), "Ridge regression: biased estimation for nonorthogonal problems".
    """

    name, gallery_kind, shown = "LDA on clear photos after a learned map", "clear", "released"
    kind = "adaptive"

    def __init__(
        self,
        encode: Any = None,
        *,
        n_components: int = 200,
        shrinkage: float = 0.05,
        random_state: int = 0,
    ):
        self.encode, self.n_components = encode, n_components
        self.shrinkage, self.random_state = shrinkage, random_state

    def fit_pairs(self, clear: NDArray, released: NDArray) -> PairAttacker:
        """Take the pairs; what is to be predicted from them waits for the gallery."""
        self.pairs_ = clear, released
        return self

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> PairAttacker:
        """Learn the clear gallery, and the map from the pairs."""
        clear, released = self.pairs_
        wanted = _Features(self, images)
        self.seen_ = _Features(self, released)
        # A penalty for each feature: most of the late components cannot be predicted at all.
        self.map_ = RidgeCV(_PENALTIES, alpha_per_target=True)
        self.map_.fit(self.seen_(released), wanted(clear))
        mapped, photos = self._map(released), wanted(clear)
        del self.pairs_
        rows, codes = self._as_if_mapped(wanted(images), people, photos, mapped)
        self.weights_, self.bias_ = discriminant(rows, codes, self.shrinkage)
        return self

    def _as_if_mapped(
        self, gallery: NDArray, people: NDArray[np.int64], photos: NDArray, mapped: NDArray
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The gallery as its releases would look after the map: shrunk to the mean, with errors."""
        centre = photos.mean(axis=0)
        deviation = photos - centre
        # Regression of what is predicted on what it predicts, feature by feature.
        slope = (deviation * (mapped - mapped.mean(axis=0))).sum(axis=0)
        slope = slope / np.maximum((deviation**2).sum(axis=0), 1e-12)
        errors = (mapped - mapped.mean(axis=0)) - slope * deviation
        generator = np.random.default_rng(self.random_state)
        drawn = errors[generator.integers(len(errors), size=len(gallery))]
        expected = mapped.mean(axis=0) + slope * (gallery - centre)
        # Either sign of every error, so that nobody's mean moves.
        rows = np.concatenate([expected + drawn, expected - drawn])
        return rows.astype(np.float32), np.concatenate([people, people])

    def scores(self, images: NDArray) -> NDArray[np.float32]:
        """Score every person of the gallery, shape (n_samples, n_people)."""
        return self._map(images) @ self.weights_.T + self.bias_

    def _map(self, images: NDArray) -> NDArray[np.float32]:
        # One target makes scikit-learn drop the axis.
        return self.map_.predict(self.seen_(images)).reshape(len(images), -1).astype(np.float32)


class _Features:
    """Components of one kind of images, and their standardised latents where there are any."""

    def __init__(self, settings: PairAttacker, images: NDArray):
        encode = settings.encode
        self.encode: Callable[[NDArray], NDArray] | None = getattr(encode, "encode", encode)
        self.pixels = PixelAttacker(settings.n_components, random_state=settings.random_state)
        self.pixels.fit_components(images)
        if self.encode is not None:
            self.scale = StandardScaler().fit(self.encode(images))

    def __call__(self, images: NDArray) -> NDArray[np.float32]:
        pixels = self.pixels.features(images)
        if self.encode is None:
            return pixels
        return np.hstack([pixels, self.scale.transform(self.encode(images))]).astype(np.float32)
