"""The k-same family: the average face of at least k people stands for all of them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from .._labels import encode_attributes, encode_labels
from .._validation import to_uint8
from ..exceptions import InvalidLabelsError
from ._filters import FaceAnonymizer, fault, to_levels


class KSamePixel(FaceAnonymizer):
    """Replace every face by the average of its cluster of at least k people.

    The method works on a gallery with one face per person. Fit builds it: the image of each
    person, or the mean image of those who have several. Then, while 2 k or more faces are left,
    the first of them (people in sorted order) and its k - 1 nearest form a cluster; what is left,
    at least k faces, forms the last. All images of a person that fit has seen become the average
    of that person's cluster, so that an attacker with the originals in hand is right for at most
    one person in k.

    Images that fit has not seen, also further ones of the same people, become the average of the
    k nearest faces of the gallery. This is our extension, and has no such guarantee: a new person
    has no cluster, and which k faces were mixed tells about the image.

    Parameters
    ----------
    k : int, default=10
        Fewest people in an average. 1 gives everybody the person's own mean image.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    Attributes
    ----------
    gallery_ : ndarray of shape (n_faces, height * width * 3), dtype float32
        One face per person, in [0, 255]. Confidential, as is the fitted model.
    clusters_ : ndarray of shape (n_faces,)
        Cluster of every face.
    averages_ : ndarray of shape (n_clusters, height, width, 3), dtype uint8
    image_shape_ : tuple (height, width, 3)
    n_features_in_ : int
        Numbers per image.

    Notes
    -----
    Without ``identity`` every image counts as another person; if that is not so, the averages may
    hold one person twice and the bound of 1 / k does not hold. Images without a known person
    do not enter the gallery, and are treated as unseen.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images": k-Same.
    """

    def __init__(self, k: int = 10, *, image_shape: tuple[int, int, int] | None = None):
        self.k = k
        self.image_shape = image_shape

    def _faults(self) -> list[str]:
        return fault("k", self.k, least=1, whole=True)

    # --- fit ---------------------------------------------------------------------------------

    def _learn(self, images: NDArray, y: Any, identity: Any, attributes: Any) -> None:
        pictures = to_uint8(images)
        people = _people(identity, len(pictures))
        classes, names = self._classes(y, attributes, len(pictures))
        rows = np.flatnonzero((people >= 0) & (classes >= 0))
        # One face per person and class: a person seen in two classes has a face in each.
        keys, face_of_row = np.unique(
            classes[rows] * (people.max() + 1) + people[rows], return_inverse=True
        )
        self._classes_of_faces = keys // (people.max() + 1)
        self._check_enough(names)
        faces = _means(pictures[rows].reshape(len(rows), -1), face_of_row).astype(np.float32)
        self._fit_space(faces)
        self.gallery_ = self._encode(faces)
        self.clusters_ = cluster(self.gallery_, self._classes_of_faces, self.k)
        averages = self._decode(_means(self.gallery_, self.clusters_))
        self.averages_ = to_levels(averages).reshape(-1, *pictures.shape[1:])
        self._cluster_of_picture = dict(
            zip(_digests(pictures[rows]), self.clusters_[face_of_row].tolist(), strict=True)
        )
        self._neighbours = [
            NearestNeighbors(n_neighbors=self.k, algorithm="brute").fit(
                self.gallery_[self._classes_of_faces == code]
            )
            for code in range(len(names))
        ]

    def _classes(
        self, y: Any, attributes: Any, n_samples: int
    ) -> tuple[NDArray[np.int64], list[str]]:
        """Class of every image, -1 where unknown, and the names of the classes."""
        return np.zeros(n_samples, dtype=np.int64), ["the gallery"]

    def _check_enough(self, names: list[str]) -> None:
        counts = np.bincount(self._classes_of_faces, minlength=len(names))
        few = [
            f"{name} has {count}"
            for name, count in zip(names, counts, strict=True)
            if count < self.k
        ]
        if few:
            raise InvalidLabelsError(
                f"Too few people for k={self.k}: {', '.join(few)}; expected at least {self.k}, "
                f"since an average is of so many. Bring more people, or lower k."
            )

    def _fit_space(self, faces: NDArray[np.float32]) -> None:
        """Learn the space in which faces are compared and averaged; pixels need none."""

    def _encode(self, rows: NDArray[np.float32]) -> NDArray:
        return rows

    def _decode(self, features: NDArray) -> NDArray:
        return features

    # --- transform ---------------------------------------------------------------------------

    def _anonymize(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        clusters = np.array(
            [self._cluster_of_picture.get(digest, -1) for digest in _digests(pictures)]
        )
        released = self.averages_[clusters]
        unseen = clusters < 0
        if unseen.any():
            released[unseen] = self._average_of_nearest(pictures[unseen])
        return released

    def _average_of_nearest(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        features = self._encode(pictures.reshape(len(pictures), -1).astype(np.float32))
        classes = self._nearest_class(features)
        averages = np.empty_like(features)
        for code in np.unique(classes):
            rows = classes == code
            # A sparse matrix with k ones in a row sums faces without gathering k copies of them.
            chosen = self._neighbours[code].kneighbors_graph(features[rows])
            faces = self.gallery_[self._classes_of_faces == code]
            averages[rows] = chosen.astype(faces.dtype) @ faces / chosen.getnnz(axis=1)[:, None]
        return to_levels(self._decode(averages)).reshape(pictures.shape)

    def _nearest_class(self, features: NDArray) -> NDArray[np.int64]:
        if len(self._neighbours) == 1:
            return np.zeros(len(features), dtype=np.int64)
        distances = [
            neighbours.kneighbors(features, n_neighbors=1)[0][:, 0]
            for neighbours in self._neighbours
        ]
        return np.argmin(distances, axis=0)


class KSameEigen(KSamePixel):
    """k-same in the space of eigenfaces: clusters and averages of principal components.

    As :class:`KSamePixel`, but faces are compared and averaged by their coefficients on the
    principal components of the gallery. With all components the pictures of the gallery are those
    of :class:`KSamePixel`, since nothing is lost; with fewer, they are smoother.

    Parameters
    ----------
    k : int, default=10
        Fewest people in an average.
    n_components : int or float, optional
        Components kept, at most as many as there are people, or if between 0 and 1 the share of
        the variance they must explain. None keeps all.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    Attributes
    ----------
    components_ : sklearn.decomposition.PCA
    gallery_ : ndarray of shape (n_faces, n_components)
        Coefficients of one face per person. Confidential, as is the fitted model.
    clusters_ : ndarray of shape (n_faces,)
        Cluster of every face.
    averages_ : ndarray of shape (n_clusters, height, width, 3), dtype uint8
    image_shape_ : tuple (height, width, 3)
    n_features_in_ : int
        Numbers per image.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images":
    k-Same-Eigen.
    Turk and Pentland (1991), "Eigenfaces for recognition".
    """

    def __init__(
        self,
        k: int = 10,
        *,
        n_components: int | float | None = None,
        image_shape: tuple[int, int, int] | None = None,
    ):
        super().__init__(k, image_shape=image_shape)
        self.n_components = n_components

    def _faults(self) -> list[str]:
        count = self.n_components
        share = isinstance(count, (float, np.floating)) and 0 < count < 1
        if count is None or share or not fault("n_components", count, least=1, whole=True):
            return super()._faults()
        return [
            *super()._faults(),
            f"n_components={count!r}; expected an integer of at least 1, a share between 0 and 1, "
            f"or None.",
        ]

    def _fit_space(self, faces: NDArray[np.float32]) -> None:
        most = min(faces.shape)
        if len(faces) < 2 or (self.n_components or 0) > most:
            raise InvalidLabelsError(
                f"The gallery has {len(faces)} people of {faces.shape[1]} numbers each, for "
                f"n_components={self.n_components!r}; expected two people or more, and at most "
                f"{most} components. Bring more people, or lower n_components."
            )
        # Doubles, so that the company of a picture does not move its rounding.
        self.components_ = PCA(self.n_components, random_state=0).fit(faces.astype(np.float64))

    def _encode(self, rows: NDArray[np.float32]) -> NDArray:
        return self.components_.transform(rows.astype(np.float64))

    def _decode(self, features: NDArray) -> NDArray:
        return self.components_.inverse_transform(features)


class KSameSelect(KSamePixel):
    """k-same inside each class of the kept attributes, so that an average keeps its class.

    As :class:`KSamePixel`, but people are clustered only with people of the same attribute cell:
    those who share every kept attribute (``attributes``, or else ``y``). A person with images in
    two cells, as happens with expressions, has a face in each; whoever sees both averages and
    knows that they are of one person can narrow it down to those who are in both clusters.

    An image that fit has not seen is taken to be of the class of its nearest face, and becomes
    the average of the k nearest of that class. This is our extension, without a guarantee.

    Parameters
    ----------
    k : int, default=10
        Fewest people in an average; every cell needs so many.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    Attributes
    ----------
    gallery_ : ndarray of shape (n_faces, height * width * 3), dtype float32
        One face per person and cell, in [0, 255]. Confidential, as is the fitted model.
    clusters_ : ndarray of shape (n_faces,)
        Cluster of every face.
    averages_ : ndarray of shape (n_clusters, height, width, 3), dtype uint8
    image_shape_ : tuple (height, width, 3)
    n_features_in_ : int
        Numbers per image.

    Notes
    -----
    Images without a known person, or with a missing attribute, do not enter the gallery.

    References
    ----------
    Gross, Airoldi, Malin and Sweeney (2005), "Integrating utility into face de-identification":
    k-Same-Select.
    """

    def _classes(
        self, y: Any, attributes: Any, n_samples: int
    ) -> tuple[NDArray[np.int64], list[str]]:
        kept = encode_attributes(y if attributes is None else attributes, n_samples)
        if kept is None:
            raise InvalidLabelsError(
                "KSameSelect got neither attributes nor y; expected at least one kept attribute, "
                "inside whose classes faces are averaged. Give it, or use KSamePixel."
            )
        complete = np.all(kept.codes >= 0, axis=1)
        cells, of_rows = np.unique(kept.codes[complete], axis=0, return_inverse=True)
        classes = np.full(n_samples, -1, dtype=np.int64)
        classes[complete] = of_rows.reshape(-1)
        names = [
            " and ".join(
                f"{name}={labels[code]}"
                for code, (name, labels) in zip(cell, kept.classes.items(), strict=True)
            )
            for cell in cells
        ]
        return classes, names


def cluster(features: NDArray, classes: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Part faces into clusters of at least k, inside classes.

    Parameters
    ----------
    features : ndarray of shape (n_faces, n_features)
    classes : ndarray of shape (n_faces,)
        Each has at least k faces.
    k : int

    Returns
    -------
    ndarray of shape (n_faces,), dtype int64
        Codes 0, 1, ...; every cluster has k faces, the last of a class up to 2 k - 1.
    """
    centred = features - features.mean(axis=0)
    lengths = np.einsum("ij,ij->i", centred, centred)
    clusters = np.full(len(features), -1, dtype=np.int64)
    for code in np.unique(classes):
        left = np.flatnonzero(classes == code)
        while len(left):
            # Newton et al.: fewer than 2 k left could not give two clusters, so they are one.
            size = k if len(left) >= 2 * k else len(left)
            # |a - b|^2 without |b|^2, which is the same for all.
            distances = lengths[left] - 2 * (centred @ centred[left[0]])[left]
            distances[0] = -np.inf
            members = left[np.argsort(distances, kind="stable")[:size]]
            clusters[members] = clusters.max() + 1
            left = left[clusters[left] < 0]
    return clusters


def _people(identity: Any, n_samples: int) -> NDArray[np.int64]:
    if identity is None:
        return np.arange(n_samples, dtype=np.int64)
    return encode_labels(identity, name="identity", n_samples=n_samples).codes


def _means(rows: NDArray, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the rows of each code 0, 1, ..., all of which occur; shape (n_codes, n_columns)."""
    counts = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    order = np.argsort(codes, kind="stable")
    return np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64) / counts[:, None]


def _digests(pictures: NDArray[np.uint8]) -> list[bytes]:
    # A picture is known again by its pixels, in whatever order or dtype it comes.
    return [hashlib.blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures]
