"""Retention by a face detector: is a face found, and are the eyes where they were?

An optional extra: OpenCV's cascades of Viola and Jones, which come with ``opencv-python-headless``
before version 5. They find upright frontal faces and do not measure identity. They found nine in
ten of 200 made-up faces at 32, 64 and 128 pixels, and one face in 200 pictures of noise, at 32.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist

#: Note of a report without a detector.
NOT_INSTALLED = "detector not installed: pip install 'edials[detect]'"
# The cascades miss faces of few pixels and faces that fill the picture: the shorter side is
# enlarged to 192 pixels, with a border of 32.
_SIDE, _BORDER = 192, 32
# OpenCV's minNeighbors; the smallest face and eye, as shares of the picture and of the face.
_MIN_NEIGHBOURS, _MIN_FACE, _MIN_EYE = 3, 0.33, 0.12
_EYE_ROWS = 0.6  # upper share of a face that may hold eyes
_MAX_PAIRS = 500  # the detector looks at one picture at a time


#: Takes an image of shape (height, width, 3), dtype uint8, and gives None without a face, else the
#: left and right eye of the largest face, shape (2, 2): across and down in shares of the shorter
#: side, NaN if there is not one eye on each side.
Detector = Callable[[NDArray[np.uint8]], NDArray[np.float64] | None]


class CascadeDetector:
    """OpenCV's cascades for frontal faces, and for eyes within them.

    References
    ----------
    Viola and Jones (2001), "Rapid object detection using a boosted cascade of simple features".
    """

    def __init__(self, cv2: Any):
        folder = cv2.data.haarcascades
        self.faces = cv2.CascadeClassifier(f"{folder}haarcascade_frontalface_alt2.xml")
        self.eyes = cv2.CascadeClassifier(f"{folder}haarcascade_eye.xml")

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        grey = _enlarge(image)
        min_size = (round(_MIN_FACE * _SIDE),) * 2
        faces = self.faces.detectMultiScale(grey, 1.1, _MIN_NEIGHBOURS, minSize=min_size)
        if not len(faces):
            return None
        left, top, width, _ = _largest(faces)
        face = grey[top : top + round(_EYE_ROWS * width), left : left + width]
        min_size = (round(_MIN_EYE * width),) * 2
        boxes = self.eyes.detectMultiScale(face, 1.05, _MIN_NEIGHBOURS, minSize=min_size)
        eyes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        is_left = eyes[:, 0] + eyes[:, 2] / 2 < width / 2
        if is_left.all() or not is_left.any():
            return np.full((2, 2), np.nan)
        pair = np.array([_largest(eyes[is_left]), _largest(eyes[~is_left])])
        return (pair[:, :2] + pair[:, 2:] / 2 + [left, top] - _BORDER) / _SIDE


def _largest(boxes: NDArray) -> list[Any]:
    """Widest of the boxes (left, top, width, height)."""
    return max(boxes.tolist(), key=lambda box: (box[2], *box))


def _enlarge(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = Image.fromarray(image).convert("L")
    scale = _SIDE / min(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    grey = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    return np.pad(grey, _BORDER, mode="edge")


def face_detector() -> Detector | None:
    """The detector, or None if OpenCV is not installed or has no cascades (version 5)."""
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        return None
    # Version 5 has moved them out of the package.
    return CascadeDetector(cv2) if hasattr(cv2, "CascadeClassifier") else None


def detection_retention(
    original: NDArray[np.uint8], released: NDArray[np.uint8], *, detector: Detector | None = None
) -> dict[str, float]:
    """Share of pictures with a face, before and after, and how far the eyes have moved.

    Parameters
    ----------
    original, released : ndarray of shape (n_samples, height, width, 3), dtype uint8
        Pairs; of more than 500, as many are taken evenly.
    detector : Detector, optional
        None takes :func:`face_detector`.

    Returns
    -------
    dict
        Empty without a detector. ``detection_rate``, ``detection_rate_clear``: shares of released
        and of original pictures in which a face is found; ``detection_images``: number of pairs;
        ``landmark_distance``: mean distance of the two eyes' centres from where they were, in
        distances between the original's eyes, over the ``landmark_images`` pairs where both
        pictures have eyes; ``landmark_distance_chance``: the same over mismatched pairs, since
        pictures that are cropped alike have their eyes in nearly the same place. NaN below one
        pair, or two.
    """
    detector = face_detector() if detector is None else detector
    if detector is None or not len(original):
        return {}
    rows = np.unique(np.linspace(0, len(original) - 1, _MAX_PAIRS).round().astype(int))
    before, after = ([detector(image) for image in side[rows]] for side in (original, released))
    eyes = [
        (first, second)
        for first, second in zip(before, after, strict=True)
        if first is not None and second is not None and np.isfinite([first, second]).all()
    ]
    return {
        "detection_rate": float(np.mean([face is not None for face in after])),
        "detection_rate_clear": float(np.mean([face is not None for face in before])),
        "detection_images": float(len(rows)),
        **_eye_distances(*np.array(eyes).reshape(-1, 2, 2, 2).swapaxes(0, 1)),
    }


def _eye_distances(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, float]:
    """Distances of eyes of shape (n_pairs, 2, 2), in pairs and between pairs."""
    n = len(before)
    eye_distance = np.linalg.norm(before[:, 0] - before[:, 1], axis=1)[:, None]
    # Every original (rows) with every release (columns).
    distances = np.mean([cdist(before[:, eye], after[:, eye]) for eye in (0, 1)], axis=0)
    distances = distances / eye_distance
    paired, total = np.trace(distances), distances.sum()
    return {
        "landmark_distance": float(paired / n) if n else float("nan"),
        "landmark_distance_chance": (
            float((total - paired) / (n * (n - 1))) if n > 1 else float("nan")
        ),
        "landmark_images": float(n),
    }
