"""An attacker who learns from pairs how a release changes photos, and names clear photos."""

from __future__ import annotations

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

    Every mapped feature is shrunk to the mean and has errors. The clear gallery is shrunk alike and
    given the same errors before the analysis, as far as the pairs show them.

    It learns from pairs (photo, its release) of other people if there are enough of them, else of
    the gallery; ``pairs_of`` in the report says which. Features are whitened principal components
    of the pixels, and with ``encode`` the latents as well.

    Parameters
    ----------
    encode : object with ``encode``, or callable images -> ndarray, optional
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

    name, gallery_kind, probe_kind = "LDA on clear photos after a learned map", "clear", "released"
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
        """Hold the pairs: the features that they are mapped to depend on the gallery."""
        self.pairs_ = clear, released
        return self

    def fit(self, images: NDArray, people: NDArray[np.int64]) -> PairAttacker:
        """Learn the map from the pairs, then the clear gallery."""
        clear, released = self.pairs_
        del self.pairs_
        clear_features = self._features(images)
        self.released_features_ = self._features(released)
        photos = clear_features(clear)
        # A penalty for each feature: most of the late components cannot be predicted at all.
        self.map_ = RidgeCV(_PENALTIES, alpha_per_target=True)
        self.map_.fit(self.released_features_(released), photos)
        gallery = self._degrade(clear_features(images), photos, self._map(released))
        self.weights_, self.bias_ = discriminant(gallery, np.tile(people, 2), self.shrinkage)
        return self

    def _features(self, images: NDArray) -> _Features:
        pixels = PixelAttacker(self.n_components, random_state=self.random_state)
        return _Features(pixels, getattr(self.encode, "encode", self.encode), images)

    def _degrade(self, gallery: NDArray, photos: NDArray, mapped: NDArray) -> NDArray[np.float32]:
        """The gallery twice, shrunk and with errors of either sign, like mapped releases."""
        centre = photos.mean(axis=0)
        deviation = photos - centre
        # Regression of the mapped features on the true ones, feature by feature.
        slope = (deviation * (mapped - mapped.mean(axis=0))).sum(axis=0)
        slope = slope / np.maximum((deviation**2).sum(axis=0), 1e-12)
        errors = (mapped - mapped.mean(axis=0)) - slope * deviation
        generator = np.random.default_rng(self.random_state)
        noise = errors[generator.integers(len(errors), size=len(gallery))]
        expected = mapped.mean(axis=0) + slope * (gallery - centre)
        # Errors of either sign leave everybody's mean in place.
        return np.concatenate([expected + noise, expected - noise]).astype(np.float32)

    def scores(self, images: NDArray) -> NDArray[np.float32]:
        """Score every person of the gallery, shape (n_samples, n_people)."""
        return self._map(images) @ self.weights_.T + self.bias_

    def _map(self, images: NDArray) -> NDArray[np.float32]:
        # scikit-learn drops the axis of a single target.
        mapped = self.map_.predict(self.released_features_(images))
        return mapped.reshape(len(images), -1).astype(np.float32)


class _Features:
    """Components of one kind of images, and their standardized latents if there is an encoder."""

    def __init__(self, pixels: PixelAttacker, encode: Any, images: NDArray):
        self.pixels, self.encode = pixels.fit_components(images), encode
        if encode is not None:
            self.scaler = StandardScaler().fit(encode(images))

    def __call__(self, images: NDArray) -> NDArray[np.float32]:
        pixels = self.pixels.features(images)
        if self.encode is None:
            return pixels
        latents = self.scaler.transform(self.encode(images))
        return np.hstack([pixels, latents]).astype(np.float32)
