"""Draw made-up faces: traits and nuisance in, pixels out; NumPy only, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .features import paint_face
from .scene import Canvas, Scene, bump, edge01, tinted, wave_of


def render(traits: Mapping[str, np.ndarray], nuisance, size: int) -> np.ndarray:
    """Draw a batch (n, size, size, 3) in [0, 1], without sensor noise; arrays have n rows."""
    scene = Scene(traits, nuisance, size)
    strands = _strands(scene)
    canvas = Canvas((0, 0, 0), scene.shape)
    _paint_background(canvas, scene)
    _paint_back_hair(canvas, scene, strands)
    _paint_body(canvas, scene)
    _paint_ears(canvas, scene, in_front=False)
    canvas.paint(scene.head, paint_face(scene))
    _paint_ears(canvas, scene, in_front=True)
    _paint_hair(canvas, scene, strands)
    _paint_glasses(canvas, scene)
    return _develop(canvas, scene, size)


def _paint_background(canvas: Canvas, scene: Scene) -> None:
    n = scene.nuisance
    axis = np.linspace(-1, 1, scene.shape[1], dtype=np.float32)
    across, down = axis[None, None, :], axis[None, :, None]
    cos, sin = np.cos(n["back_angle"]), np.sin(n["back_angle"])
    slope = 0.5 + 0.4 * (cos * across + sin * down)
    # Two soft discs (something out of focus) and a coarse weave.
    for k in ("1", "2"):
        r2 = (across - n[f"blob_x{k}"]) ** 2 + (down - n[f"blob_y{k}"]) ** 2
        slope += n[f"blob_strength{k}"] * bump(r2 / n[f"blob_size{k}"])
    weave = wave_of(n["weave_frequency"] * across + n["weave_phase"])
    weave = weave * wave_of(n["weave_frequency"] * 0.7 * down - n["weave_phase"])
    slope += n["weave_strength"] * weave
    near, far = (_desaturate(n, f"back_{{}}{k}", 0.45) for k in "12")
    np.add(near, (far - near) * slope, out=canvas.planes)
    np.clip(canvas.planes, 0.02, 1, out=canvas.planes)


def _desaturate(nuisance, pattern: str, saturation: float) -> np.ndarray:
    """A colour drawn evenly from the cube, pulled towards its grey: even draws look garish."""
    colour = np.stack([nuisance[pattern.format(c)] for c in ("red", "green", "blue")])
    grey = colour.sum(axis=0) / 3
    return grey + saturation * (colour - grey)


def _strands(scene: Scene) -> np.ndarray:
    """Hair texture around 1: streaks that run away from the parting, or curls."""
    t, x, y = scene.traits, scene.x[scene.hair_box], scene.y[scene.hair_box]
    wave = np.clip(t["hair_wave"], 0, 1)
    curly = np.clip(wave * 2.5 - 1.1, 0, 1)
    angle = (x - t["hair_parting"] * 0.5) / (np.abs(y + 0.8) + 0.35)
    sway = wave_of(13 * y + 5 * x)
    streak = wave_of(24 * angle + 1.6 * wave * sway)
    curls = wave_of(31 * x + 2.2 * wave_of(17 * y)) * wave_of(29 * y + 2 * wave_of(19 * x))
    return 1 + 0.13 * (1 - curly) * streak + 0.30 * curly * curls


def _paint_back_hair(canvas: Canvas, scene: Scene, strands: np.ndarray) -> None:
    """Long hair behind the neck; shifted against the yaw of the head."""
    t, box = scene.traits, scene.hair_box
    length = np.clip(t["hair_length"], 0, 1)
    x, y = scene.x[box] + 0.12 * scene.sin_yaw, scene.y[box]
    end = 0.05 + 0.95 * length
    width = t["face_width"] + t["hair_volume"] * (0.75 + 0.5 * np.clip(t["hair_wave"], 0, 1))
    # Widens a little downwards, rounded at its lower end.
    fall = np.clip(y / end, 0, 1)
    late = fall * fall * fall
    half = width * (1 + 0.10 * fall - 0.35 * late * late)
    alpha = edge01((half - np.abs(x)) / scene.edge * 0.6)
    alpha *= edge01((end - y) / (2 * scene.edge))
    alpha *= edge01((y + 0.15) / 0.1)
    alpha *= np.clip(length * 8 - 0.6, 0, 1)
    canvas.paint(alpha, t["hair"] * (0.62 * strands), box)


def _paint_body(canvas: Canvas, scene: Scene) -> None:
    t, n = scene.traits, scene.nuisance
    # From the first row that reaches below the mouth; none does if the head is far down.
    below = np.append((scene.y > 0.25).any(axis=(0, 2)), True)
    box = (slice(None), slice(int(below.argmax()), None), slice(None))
    x, y = scene.x[box], scene.y[box]
    width = 0.235 + 0.055 * t["male"] + 0.25 * (t["face_width"] - 0.465)
    width = width + 0.25 * np.maximum(y - 0.72, 0)
    neck = edge01((width - np.abs(x + 0.03 * scene.sin_yaw)) / scene.edge)
    # The chin shades the neck; the sides turn away from the viewer.
    shade = 0.50 + 0.75 * np.clip(y - 0.60, 0, 0.45)
    shade -= 0.9 * (x * (0.6 + 0.5 * n["light_x"] * -np.sign(x))) ** 2
    canvas.paint(neck, t["skin"] * shade, box)

    broad = 0.78 + 0.10 * t["male"]
    shoulder = y - (0.80 + 0.30 * np.maximum(np.abs(x) / broad - 0.25, 0) ** 2 * 1.4)
    shoulder = shoulder - np.maximum(n["neckline"] * (1 - np.abs(x) / 0.42), 0)
    cloth = edge01(shoulder / scene.edge)
    stripes = 1 + n["stripes"] * wave_of(n["stripe_frequency"] * (y + 0.25 * np.abs(x)))
    fold = (0.80 - 0.25 * np.abs(x) - 0.18 * x * -n["light_x"]) * stripes
    rim = 1 - 0.35 * bump(((shoulder - 0.02) / 0.03) ** 2)
    canvas.paint(cloth, _desaturate(n, "cloth_{}", 0.7) * (fold * rim), box)


def _paint_ears(canvas: Canvas, scene: Scene, *, in_front: bool) -> None:
    t = scene.traits
    cover = 1 - np.clip((t["hair_length"] - 0.18) * 6, 0, 1)
    if not cover.any():
        return
    ear_colour = tinted(t["skin"], (1.0, 0.93, 0.92))
    for side in (-1.0, 1.0):
        facing = -side * scene.sin_yaw
        x0 = side * (t["face_width"] * scene.cos_yaw * 0.99 + t["ear_angle"])
        y0 = 0.06 - 0.09 * scene.sin_pitch
        half = 0.045 + 0.10 * np.clip(facing, 0, 1) + t["ear_angle"] * 0.5
        box = scene.frame(x0.min() - 0.25, -0.15, x0.max() + 0.25, 0.30)
        dx = (scene.x[box] - x0) / half
        dy = (scene.y[box] - y0) / t["ear_size"]
        # Narrower at the lobe.
        r2 = (dx * (1 + 0.25 * dy)) ** 2 + dy**2
        alpha = edge01((1 - r2) * (0.03 / scene.edge))
        visible = np.clip(facing * 12, 0, 1)
        alpha *= cover * (visible if in_front else 1 - visible)
        canvas.paint(alpha, ear_colour * (0.86 - 0.34 * bump(r2 / 0.45)), box)


def _paint_hair(canvas: Canvas, scene: Scene, strands: np.ndarray) -> None:
    t, n, box = scene.traits, scene.nuisance, scene.hair_box
    volume = np.maximum(t["hair_volume"], 0.012)
    length = np.clip(t["hair_length"], 0, 1)
    x, y = scene.x[box] + 0.05 * scene.sin_yaw, scene.y[box]
    lock = np.clip(length * 3 - 0.7, 0, 1)
    # Short hair lies closer and closer to the head towards the sideburns.
    fuller = 1 - (1 - np.clip(length * 8 - 0.6, 0, 1)) * edge01((y + 0.38) / 0.36)
    wide = t["face_width"] * (1 + 0.25 * t["forehead_width"])
    wide = wide + volume * (0.55 + 0.6 * length) * fuller
    across2 = (x / wide) ** 2
    up2 = (np.minimum(y, 0) / (scene.length + volume)) ** 2
    # The last term squares the crown, which a plain ellipse leaves pointed.
    r2 = across2 + up2 - 0.32 * across2 * up2
    raggedness = 0.05 * np.clip(t["hair_wave"], 0, 1) * wave_of(21 * x + 9 * y) * wave_of(19 * y)
    outer = edge01((1 - r2 + raggedness) * (0.25 / scene.edge))
    # Short hair ends at the sideburns, long hair runs down beside the face.
    end = 0.06 + np.maximum(length - 0.15, 0) * 1.05
    outer *= edge01((end - y) / (2.5 * scene.edge) + 0.5)
    u, v = scene.u[box], scene.v[box]
    rel = u / t["face_width"]
    q = rel * rel
    temples = t["hair_temples"] * bump(((np.abs(rel) - 0.55) / 0.3) ** 2)
    from_parting = rel - t["hair_parting"] * 1.5 - np.sign(t["hair_parting"]) * 0.35
    sweep = np.clip(t["hair_fringe"], -0.08, 0.20) * bump((from_parting / 1.1) ** 2) * 1.2
    edge_of_hair = t["hairline"] + sweep - temples + 0.42 * q * q * q
    edge_of_hair = edge_of_hair + 0.9 * np.maximum(0.30 - scene.front[box], 0) * (1 + 1.5 * length)
    on = edge01((edge_of_hair - v) / (3 * scene.edge) + 0.5)
    # Long hair lies over the cheeks' outer rim.
    beside = edge01((np.abs(x) / t["face_width"] - 0.86 - 0.14 * (1 - lock)) * (0.35 / scene.edge))
    beside *= lock * edge01((y + 0.3) * 6)
    alpha = np.maximum(on, beside) * outer
    light = 0.55 + 0.35 * (1 - np.minimum(r2, 1)) + 0.28 * (x * n["light_x"] + y * n["light_y"])
    band = bump(((v + 0.50 - 0.08 * q) / 0.10) ** 2) * 0.30
    band *= 1 - 0.7 * np.clip(t["hair_wave"], 0, 1)
    shade = strands * np.clip(light, 0.3, 1.3) + band
    canvas.paint(alpha * 0.97, t["hair"] * shade, box)


def _paint_glasses(canvas: Canvas, scene: Scene) -> None:
    t = scene.traits
    strength = np.clip(t["glasses"] * 4, 0, 1)
    if not strength.any():
        return
    box = scene.box(-0.24, 0.28, 0.80)
    u, v = scene.u[box], scene.v[box]
    w = np.abs(u)
    size = t["glasses_size"]
    dx = (w - t["eye_spacing"] - 0.004) / size
    dy = (v - t["eye_height"] - 0.016) / (0.80 * size)
    r2 = dx * dx * (1 + 0.5 * dy * dy) + dy * dy
    rim = bump(((r2 - 1) / 0.34) ** 2)
    bridge = bump(((v - t["eye_height"] + 0.015) / 0.016) ** 2)
    bridge *= edge01((t["eye_spacing"] - size - w) * 60 + 0.8)
    arm = bump(((v - t["eye_height"] + 0.02) / 0.016) ** 2)
    arm *= edge01((w - t["eye_spacing"] - size) * 60)
    frame = np.maximum(np.maximum(rim, bridge), arm) * scene.head[box]
    canvas.paint(np.minimum(frame * 1.6, 1) * strength * 0.95, (0.07, 0.06, 0.07), box)
    glass = edge01((1 - r2) * 5) * (0.04 + 0.16 * bump(((dx + dy + 0.5) / 0.5) ** 2))
    canvas.paint(glass * strength, (0.95, 0.97, 1.0), box)


def _develop(canvas: Canvas, scene: Scene, size: int) -> np.ndarray:
    """Average the subpixels of every pixel, then exposure, contrast and white balance."""
    n = scene.nuisance
    rows = np.empty((3, len(canvas.planes[0]), size, scene.shape[2]), dtype=np.float32)
    small = np.empty((3, len(canvas.planes[0]), size, size), dtype=np.float32)
    for full, half in ((canvas.planes.swapaxes(2, 3), rows.swapaxes(2, 3)), (rows, small)):
        # A pixel covers one subpixel and half of the next, which it shares with its neighbour.
        middle = full[..., 1::3] * np.float32(1 / 3)
        np.multiply(full[..., 0::3], np.float32(2 / 3), out=half[..., 0::2])
        np.multiply(full[..., 2::3], np.float32(2 / 3), out=half[..., 1::2])
        half[..., 0::2] += middle
        half[..., 1::2] += middle
    small -= np.float32(0.5)
    small *= n["contrast"]
    small += np.float32(0.5) + n["brightness"]
    small[0] *= 1 + n["warmth"]
    small[2] *= 1 - n["warmth"]
    return np.moveaxis(small, 0, -1)
