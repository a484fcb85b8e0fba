"""Canvas, head sphere and face coordinates of a batch of made-up pictures.

The head is a sphere squeezed by a jaw profile. A pixel of the picture is mapped back onto that
sphere and the sphere is rotated by the pose. Features are drawn where the pixel lands, so a rotated
head shows them foreshortened. Everything has compact support: a feature is computed only in the
box of pixels it can reach, which is what makes this fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.ndimage import find_objects

Box = tuple[slice, slice, slice]
EVERYWHERE: Box = (slice(None), slice(None), slice(None))


def edge01(x: np.ndarray) -> np.ndarray:
    """Clip to [0, 1] in place: the edge of a shape, one or two subpixels wide."""
    return np.clip(x, 0, 1, out=x)


def bump(r2: np.ndarray) -> np.ndarray:
    """A smooth hill of height 1 that is exactly 0 where the squared radius exceeds 1."""
    hill = np.subtract(np.float32(1), r2, dtype=np.float32)
    np.maximum(hill, 0, out=hill)
    hill *= hill
    return hill


def wave_of(x: np.ndarray) -> np.ndarray:
    """A sine made of parabolas: faster than `numpy.sin`, and just as good for textures."""
    cycles = x * np.float32(0.5 / np.pi)
    cycles -= np.rint(cycles)
    arch = np.abs(cycles)
    arch *= -16
    arch += 8
    arch *= cycles
    return arch


def tinted(colour: np.ndarray, tint: tuple[float, float, float]) -> np.ndarray:
    """Multiply the three channels of a colour (3, ...) by three numbers."""
    return np.stack([channel * factor for channel, factor in zip(colour, tint, strict=True)])


class Canvas:
    """Three colour planes of shape (n, height, width) that layers are painted on."""

    def __init__(self, colour: np.ndarray | tuple, shape: tuple[int, int, int]) -> None:
        self.planes = np.empty((3, *shape), dtype=np.float32)
        for plane, value in zip(self.planes, colour, strict=True):
            plane[...] = value

    def paint(self, alpha: np.ndarray, colour: Iterable, box: Box = EVERYWHERE) -> None:
        """Cover the pixels of `box` by `colour` (three numbers or arrays) with opacity `alpha`."""
        for plane, value in zip(self.planes, colour, strict=True):
            target = plane[box]
            change = value - target
            change *= alpha
            target += change

    def shade(self, factor: np.ndarray, box: Box = EVERYWHERE) -> None:
        """Multiply the pixels of `box` by `factor`."""
        self.planes[(slice(None), *box)] *= factor


class Scene:
    """The geometry of a batch of pictures: pixel grid, head sphere and face coordinates.

    ``x``, ``y`` are head coordinates in the picture plane, ``u``, ``v`` coordinates on the face
    after rotating it to the front (right and down, 0 at the middle of the head). ``depth`` points
    towards the viewer before this rotation, ``front`` after it. All have shape (n, subpixels,
    subpixels), with three subpixels on two pixels.
    """

    def __init__(self, traits: Mapping[str, np.ndarray], nuisance, size: int) -> None:
        self.traits = {k: _columns(v) for k, v in traits.items()}
        self.nuisance = {k: _columns(v) for k, v in nuisance.items()}
        t, n = self.traits, self.nuisance
        # Edges are soft by themselves: nine subpixels on four pixels look like sixteen, at half
        # the time.
        subpixels = 3 * size // 2
        axis = (np.arange(subpixels, dtype=np.float32) + 0.5) * np.float32(2 / subpixels) - 1
        scale = n["scale"]
        # A bit more than half a pixel, in head units: the width of every edge.
        self.edge = (1.2 / size / scale).astype(np.float32)

        dx = axis[None, None, :] - n["shift_x"]
        dy = axis[None, :, None] - n["shift_y"]
        cos, sin = np.cos(n["roll"]) / scale, np.sin(n["roll"]) / scale
        self.x = cos * dx + sin * dy
        self.y = cos * dy - sin * dx

        self.sin_yaw, self.cos_yaw = np.sin(n["yaw"]), np.cos(n["yaw"])
        self.sin_pitch, self.cos_pitch = np.sin(n["pitch"]), np.cos(n["pitch"])
        self.length = t["face_length"] + 0.035 * n["mouth_open"]
        self.down = self.y / self.length
        self.profile = self._profile(self.down)
        self.across = self.x / self.profile
        self.inside = 1 - self.across**2 - self.down**2
        self.depth = np.sqrt(np.maximum(self.inside, 0))

        frontal_across = self.across * self.cos_yaw - self.depth * self.sin_yaw
        self.front = self.across * self.sin_yaw + self.depth * self.cos_yaw
        frontal_down = self.down * self.cos_pitch - self.front * self.sin_pitch
        self.u = frontal_across * self.profile
        self.v = frontal_down * self.length
        self.head = edge01(self.inside * (0.22 / self.edge) + 0.5)
        self.shape = self.x.shape
        # Hair, ears and everything else of the head lies in here.
        self.hair_box = self.frame(-0.80, -0.95, 0.80, 1.05)

    def _profile(self, down: np.ndarray) -> np.ndarray:
        """Half width of the head over the half width of its sphere, from skull to chin."""
        t = self.traits
        low = np.clip(down, 0, 1.2)
        low *= low
        high = np.clip(down, -1.2, 0)
        high *= high
        sag = 0.10 * t["sag"] * bump(((down - 0.62) / 0.35) ** 2)
        cheeks = t["cheekbones"] * bump(((down - 0.18) / 0.38) ** 2)
        profile = 1 + t["jaw_width"] * low + t["chin_width"] * low * low
        profile += t["forehead_width"] * high + cheeks + sag * 0.5
        return profile * t["face_width"]

    def box(self, v_low: float, v_high: float, u_high: float) -> Box:
        """The smallest box of pixels that holds every face point in the given range."""
        near = (self.v > v_low) & (self.v < v_high) & (np.abs(self.u) < u_high)
        near &= self.inside > -0.15
        return _bounds(near)

    def frame(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The smallest box of pixels that holds a rectangle of the picture plane."""
        return _bounds((self.x > left) & (self.x < right) & (self.y > top) & (self.y < bottom))


def _bounds(near: np.ndarray) -> Box:
    boxes = find_objects(near.any(axis=0).astype(np.int8))
    rows, columns = boxes[0] if boxes else (slice(0, 0), slice(0, 0))
    return slice(None), rows, columns


def _columns(values: np.ndarray) -> np.ndarray:
    """(n,) to (n, 1, 1); (n, 3) colours to (3, n, 1, 1); float32."""
    values = np.asarray(values, dtype=np.float32)
    return np.ascontiguousarray(values.T)[..., None, None]
