"""
Classical methods side by side
==============================

Blur, pixelation, a mask and k-same, with the same ``fit`` and ``transform`` as edials' own.
"""

import matplotlib.pyplot as plt

from edials.audit import FaceSheetDisplay
from edials.baselines import GaussianBlur, KSamePixel, MaskEyes, Pixelate
from edials.datasets import make_faces
from edials.metrics.retention import picture_retention

faces = make_faces(12, 4, size=64, random_state=0)
methods = [GaussianBlur(sigma=4.0), Pixelate(block=8), MaskEyes(), KSamePixel(k=4)]
releases = [m.fit(faces.images, identity=faces.identity).transform(faces.images) for m in methods]

# %%
# How much of the picture is left: structural similarity, 1 for the originals.
for method, released in zip(methods, releases, strict=True):
    print(f"{method}: SSIM {picture_retention(faces.images, released)['ssim']:.2f}")

# %%
# The originals, then one row per method.
FaceSheetDisplay.from_images(*(images[::4] for images in (faces.images, *releases)))
plt.show()
