"""Classical face anonymizers with the contract of edials' own, for the same audit.

Every fitted one has ``image_shape_``, a tuple (height, width, 3), and ``n_features_in_``, the
numbers per image.
"""

from ._filters import BoxBlur, DoNothing, GaussianBlur, Pixelate
from ._k_same import KSameEigen, KSamePixel, KSameSelect
from ._masks import MaskEyes, MaskMouth
from ._noise import DPBlur, DPPixelate, GaussianNoise

__all__ = [
    "BoxBlur",
    "DPBlur",
    "DPPixelate",
    "DoNothing",
    "GaussianBlur",
    "GaussianNoise",
    "KSameEigen",
    "KSamePixel",
    "KSameSelect",
    "MaskEyes",
    "MaskMouth",
    "Pixelate",
]
