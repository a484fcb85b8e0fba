"""The k-same family: the average face of at least k people stands for all of them."""

from __future__ import annotations

import hashlib
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors

from .._labels import decode_attributes, encode_attributes, encode_labels
from .._validation import Interval, to_uint8
from ..exceptions import InvalidLabelsError
from ._filters import FaceAnonymizer, quantise


class KSamePixel(FaceAnonymizer):
    """Replace every face by the average of its cluster of at least k people.

    The method works on a gallery with one face per person. Fit builds it: the image of each
    person, or the mean image of those who have several. Then, while 2 k or more faces are left,
    the first of them (people in sorted order) and its k - 1 nearest form a cluster; what is left,
    at least k faces, forms the last. All images of a person that fit has seen become the average
    of that person's cluster. So an attacker who holds the originals is right about at most one
    person in k.

    Images that fit has not seen, also further ones of the same people, become the average of the
    k nearest faces of the gallery. This is our extension, and has no such guarantee: a new person
    has no cluster, and the choice of the k faces depends on the image.

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

    Notes
    -----
    Without ``identity`` every image counts as another person; if that is not so, the averages may
    hold one person twice and the bound of 1 / k does not hold. Images without a known person
    do not enter the gallery, and are treated as unseen.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images": k-Same.
    """

    _accepted: ClassVar = {"k": (Interval(Integral, 1),)}

    def __init__(self, k: int = 10, *, image_shape: tuple[int, int, int] | None = None):
        self.k = k
        self.image_shape = image_shape

    def _learn(self, images: NDArray, y: Any, identity: Any, attributes: Any) -> None:
        pictures = to_uint8(images)
        people = np.arange(len(pictures))
        if identity is not None:
            people = encode_labels(identity, name="identity", n_samples=len(pictures)).codes
        cells, names = self._cells(y, attributes, len(pictures))
        rows = np.flatnonzero((people >= 0) & (cells >= 0))
        # One face per person and cell: a person with images in two cells has a face in each.
        (self._cell_of_face, _), face_of_row = np.unique(
            np.stack([cells[rows], people[rows]]), axis=1, return_inverse=True
        )
        self._check_enough(names)
        faces = _means_of(pictures[rows].reshape(len(rows), -1), face_of_row).astype(np.float32)
        self._fit_space(faces)
        self.gallery_ = self._encode(faces)
        self.clusters_ = cluster(self.gallery_, self._cell_of_face, self.k)
        averages = self._decode(_means_of(self.gallery_, self.clusters_))
        self.averages_ = quantise(averages).reshape(-1, *pictures.shape[1:])
        self._cluster_of_picture = dict(
            zip(_digests(pictures[rows]), self.clusters_[face_of_row].tolist(), strict=True)
        )
        self._neighbours = [
            NearestNeighbors(n_neighbors=self.k, algorithm="brute").fit(
                self.gallery_[self._cell_of_face == cell]
            )
            for cell in range(len(names))
        ]

    def _cells(
        self, y: Any, attributes: Any, n_samples: int
    ) -> tuple[NDArray[np.int64], list[str]]:
        """Attribute cell of every image, -1 where unknown, and the names of the cells."""
        return np.zeros(n_samples, dtype=np.int64), ["the gallery"]

    def _check_enough(self, names: list[str]) -> None:
        counts = np.bincount(self._cell_of_face, minlength=len(names))
        small = [f"{name} has {n}" for name, n in zip(names, counts, strict=True) if n < self.k]
        if small:
            raise InvalidLabelsError(
                f"Too few people for k={self.k}: {', '.join(small)}; expected at least {self.k}. "
                f"Bring more people, or lower k."
            )

    def _fit_space(self, faces: NDArray[np.float32]) -> None:
        """Learn the space in which faces are compared and averaged; pixels need none."""

    def _encode(self, rows: NDArray[np.float32]) -> NDArray:
        return rows

    def _decode(self, features: NDArray) -> NDArray:
        return features

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
        """Averages of the k nearest faces in the cell of the nearest one."""
        features = self._encode(pictures.reshape(len(pictures), -1).astype(np.float32))
        cells = self._cell_of_face[pairwise_distances_argmin(features, self.gallery_)]
        averages = np.empty_like(features)
        for cell in np.unique(cells):
            rows = cells == cell
            # A sparse matrix with k ones in a row sums faces without gathering k copies of them.
            nearest = self._neighbours[cell].kneighbors_graph(features[rows])
            faces = self.gallery_[self._cell_of_face == cell]
            averages[rows] = nearest.astype(faces.dtype) @ faces / nearest.getnnz(axis=1)[:, None]
        return quantise(self._decode(averages)).reshape(pictures.shape)


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
        Number of components, at most as many as there are people; or, between 0 and 1, the fraction
        of the variance they must explain. None takes all.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    Attributes
    ----------
    components_ : sklearn.decomposition.PCA
    gallery_ : ndarray of shape (n_faces, n_components)
        Coefficients of one face per person. Confidential, as is the fitted model.
    clusters_, averages_
        As those of :class:`KSamePixel`.

    References
    ----------
    Newton, Sweeney and Malin (2005), "Preserving privacy by de-identifying face images":
    k-Same-Eigen.
    Turk and Pentland (1991), "Eigenfaces for recognition".
    """

    _accepted: ClassVar = {
        **KSamePixel._accepted,
        "n_components": (None, Interval(Integral, 1), Interval(Real, 0, 1, "neither")),
    }

    def __init__(
        self,
        k: int = 10,
        *,
        n_components: int | float | None = None,
        image_shape: tuple[int, int, int] | None = None,
    ):
        super().__init__(k, image_shape=image_shape)
        self.n_components = n_components

    def _fit_space(self, faces: NDArray[np.float32]) -> None:
        most = min(faces.shape)
        if len(faces) < 2 or (self.n_components or 0) > most:
            raise InvalidLabelsError(
                f"The gallery has {len(faces)} people of {faces.shape[1]} numbers each, for "
                f"n_components={self.n_components!r}; expected two people or more, and at most "
                f"{most} components. Bring more people, or lower n_components."
            )
        # Doubles, so that the other pictures of a batch do not change the rounding of one.
        self.components_ = PCA(self.n_components, random_state=0).fit(faces.astype(np.float64))

    def _encode(self, rows: NDArray[np.float32]) -> NDArray:
        return self.components_.transform(rows.astype(np.float64))

    def _decode(self, features: NDArray) -> NDArray:
        return self.components_.inverse_transform(features)


class KSameSelect(KSamePixel):
    """k-same inside each attribute cell, so that an average has the attributes of its people.

    As :class:`KSamePixel`, but people are clustered only with people of the same attribute cell:
    those who share every attribute (``attributes``, or else ``y``). A person with images in two
    cells, as happens with expressions, has a face in each. An observer who sees both averages and
    knows that they show one person can narrow it down to those who are in both clusters.

    An image that fit has not seen is assigned to the cell of its nearest face, and becomes the
    average of the k nearest faces of that cell. This is our extension, without a guarantee.

    Parameters
    ----------
    k : int, default=10
        Fewest people in an average; every cell needs so many.
    image_shape : tuple (height, width, 3), optional
        Needed for flat rows only.

    Attributes
    ----------
    gallery_, clusters_, averages_
        As those of :class:`KSamePixel`, with one face per person and cell.

    Notes
    -----
    Images without a known person, or with a missing attribute, do not enter the gallery.

    References
    ----------
    Gross, Airoldi, Malin and Sweeney (2005), "Integrating utility into face de-identification":
    k-Same-Select.
    """

    def _cells(
        self, y: Any, attributes: Any, n_samples: int
    ) -> tuple[NDArray[np.int64], list[str]]:
        targets = encode_attributes(y if attributes is None else attributes, n_samples)
        if targets is None:
            raise InvalidLabelsError(
                "KSameSelect got neither attributes nor y; expected at least one attribute, "
                "inside whose cells faces are averaged. Pass one, or use KSamePixel."
            )
        complete = np.all(targets.codes >= 0, axis=1)
        distinct, inverse = np.unique(targets.codes[complete], axis=0, return_inverse=True)
        cells = np.full(n_samples, -1, dtype=np.int64)
        cells[complete] = inverse.reshape(-1)
        names = [
            " and ".join(f"{name}={label}" for name, label in row.items())
            for row in decode_attributes(distinct, targets.classes).to_dict("records")
        ]
        return cells, names


def cluster(features: NDArray, cells: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Group faces (n, n_features) into clusters of at least k inside each cell.

    Returns codes 0, 1, ... of shape (n,). Every cluster has k faces, the last of a cell up to
    2 k - 1; every cell needs k faces.
    """
    centred = features - features.mean(axis=0)
    lengths = np.einsum("ij,ij->i", centred, centred)
    clusters = np.full(len(features), -1, dtype=np.int64)
    for cell in np.unique(cells):
        left = np.flatnonzero(cells == cell)
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


def _means_of(rows: NDArray, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the rows of each code 0, 1, ..., all of which occur; shape (n_codes, n_columns)."""
    counts = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    order = np.argsort(codes, kind="stable")
    return np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64) / counts[:, None]


def _digests(pictures: NDArray[np.uint8]) -> list[bytes]:
    """Hashes of the pixels, by which a picture is recognised in any order or dtype."""
    return [hashlib.blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures]
