"""Retention as a detector sees it: is a face found at all, and are the eyes where they were?

An optional extra: OpenCV's cascades of Viola and Jones, which come with ``opencv-python-headless``
before version 5. They find upright frontal faces and are no measure of identity. Of 200 made-up
faces they found nine in ten at 32, 64 and 128 pixels; of as many pictures of noise one, at 32.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist

#: What a report says if there is no detector.
NOT_INSTALLED = "detector not installed: pip install 'edials[detect]'"
# Faces of few pixels are not found: the shorter side is brought to so many, with a border around,
# since a face that fills the picture is not found either.
_SIDE, _BORDER = 192, 32
# Detections that overlap, and the smallest face and eye in shares of the picture and of the face.
_NEIGHBOURS, _SMALLEST, _SMALLEST_EYE = 3, 0.33, 0.12
# Rows of a face where eyes are.
_EYES_ABOVE = 0.6
_MOST_PAIRS = 500


class Detector(Protocol):
    """What finds faces."""

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """The eyes of the largest face, None without a face.

        Parameters
        ----------
        image : ndarray of shape (height, width, 3), dtype uint8

        Returns
        -------
        ndarray of shape (2, 2), or None
            Left and right eye of the picture, across and down in shares of the shorter side; NaN
            if the face has not one on each side.
        """


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
        grey = _enlarged(image)
        smallest = (round(_SMALLEST * _SIDE),) * 2
        found = self.faces.detectMultiScale(grey, 1.1, _NEIGHBOURS, minSize=smallest)
        if not len(found):
            return None
        left, top, width, _ = max(found.tolist(), key=lambda box: (box[2], *box))
        face = grey[top : top + round(_EYES_ABOVE * width), left : left + width]
        size = (round(_SMALLEST_EYE * width),) * 2
        boxes = np.asarray(
            self.eyes.detectMultiScale(face, 1.05, _NEIGHBOURS, minSize=size), dtype=np.float64
        ).reshape(-1, 4)
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        sides = [boxes[(centres[:, 0] < width / 2) == side] for side in (True, False)]
        if not all(len(side) for side in sides):
            return np.full((2, 2), np.nan)
        largest = np.array([max(side.tolist(), key=lambda box: (box[2], *box)) for side in sides])
        return (largest[:, :2] + largest[:, 2:] / 2 + [left, top] - _BORDER) / _SIDE


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
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
    """In how many pictures a face is found, before and after, and how far the eyes have moved.

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
        and of original pictures in which a face is found; ``detection_images``: pairs looked at;
        ``landmark_distance``: mean distance of the two eyes' centres from where they were, in
        distances between the original's eyes, over the ``landmark_images`` pairs where both
        pictures have eyes; ``landmark_distance_chance``: the same with the pairs mixed up, since
        pictures that are cropped alike have their eyes in nearly the same place. NaN below one
        pair, or two.
    """
    detector = face_detector() if detector is None else detector
    if detector is None or not len(original):
        return {}
    rows = np.unique(np.linspace(0, len(original) - 1, _MOST_PAIRS).round().astype(int))
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
        **_eyes_moved(*np.array(eyes).reshape(-1, 2, 2, 2).swapaxes(0, 1)),
    }


def _eyes_moved(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, float]:
    """Distances of eyes of shape (n_pairs, 2, 2), in pairs and mixed up."""
    n = len(before)
    apart = np.linalg.norm(before[:, 0] - before[:, 1], axis=1)[:, None]
    # Every original (rows) with every release (columns).
    moved = np.mean([cdist(before[:, eye], after[:, eye]) for eye in (0, 1)], axis=0) / apart
    own = float(np.trace(moved) / n) if n else float("nan")
    return {
        "landmark_distance": own,
        "landmark_distance_chance": (
            float((moved.sum() - np.trace(moved)) / (n * (n - 1))) if n > 1 else float("nan")
        ),
        "landmark_images": float(n),
    }
