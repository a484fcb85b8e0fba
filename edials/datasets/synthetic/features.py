"""Draw the face of a made-up person: skin, beard, eyes, brows, nose, mouth, wrinkles and light."""

from __future__ import annotations

import numpy as np

from .scene import Box, Canvas, Scene, bump, edge01, tinted, wave_of


def paint_face(scene: Scene) -> np.ndarray:
    """Colours of the lit face, shape (3, n, height, width), also where the head does not reach."""
    face = Canvas(scene.traits["skin"], scene.shape)
    for paint in (_paint_skin, _paint_beard, _paint_eyes, _paint_brows, _paint_nose, _paint_mouth):
        paint(face, scene)
    _paint_wrinkles(face, scene)
    _light_face(face, scene)
    return face.planes


def _paint_skin(face: Canvas, scene: Scene) -> None:
    """Blush, blotches, freckles and a mole: what make-up covers."""
    t = scene.traits
    box = scene.box(-1.00, 1.00, 0.80)
    u, v = scene.u[box], scene.v[box]
    w = np.abs(u)
    phase = 9 * t["mole_across"] + 5 * t["mole_down"]
    blotch = wave_of(11 * u + phase) * wave_of(9 * v - phase)
    face.shade(1 + 0.025 * blotch, box)
    blush = bump(((w - 0.24) / 0.20) ** 2 + ((v - 0.20) / 0.17) ** 2)
    blush *= np.clip(t["cheek_colour"], 0, 1) * 0.45
    face.paint(blush, tinted(t["skin"], (0.98, 0.72, 0.70)), box)

    box = scene.box(-0.06, 0.66, 0.47)
    u, v = scene.u[box], scene.v[box]
    spots = wave_of(61 * u + 3 * wave_of(23 * v + phase))
    spots *= wave_of(57 * v + 3 * wave_of(27 * u - phase))
    spots = edge01(3 * spots - 1.4)
    spots *= bump((u / 0.42) ** 2 + ((v - 0.15) / 0.19) ** 2) * np.clip(t["freckles"], 0, 1) * 1.2
    face.paint(spots, tinted(t["skin"], (0.74, 0.62, 0.55)), box)

    r2 = (u - t["mole_across"] * 1.2) ** 2 + (v - t["mole_down"]) ** 2
    mole = bump(r2 / 0.020**2) * np.clip(t["mole_darkness"], 0, 1)
    face.paint(mole, (0.20, 0.12, 0.09), box)


def _paint_beard(face: Canvas, scene: Scene) -> None:
    t = scene.traits
    density = np.clip(t["beard"], 0, 1) * t["male"]
    whiskers = np.clip(t["moustache"], 0, 1) * t["male"]
    if not (density.any() or whiskers.any()):
        return
    box = scene.box(0.02, 1.00, 0.80)
    u, v = scene.u[box], scene.v[box]
    w = np.abs(u)
    # Down the jaw from the sideburns, clear of the cheeks.
    region = edge01((v - 0.16 - 0.9 * np.maximum(0.36 - w, 0)) * 9)
    chin = bump(((v - 0.60) / 0.20) ** 2 + (u / 0.26) ** 2)
    region = np.maximum(region, np.minimum(chin * 2, 1))
    grain = 0.85 + 0.15 * wave_of(70 * u + 4 * wave_of(31 * v)) * wave_of(60 * v)
    region *= density * grain * 1.15
    above_lip = (v - t["mouth_height"] + 0.072) / 0.042
    lip = edge01((1 - ((w - 0.02) / 0.15) ** 2 - above_lip**2) * 4)
    lip *= whiskers * grain * 1.5
    hair = np.minimum(np.maximum(region, lip), 0.92)
    face.paint(hair, 0.85 * t["hair"], box)


def _paint_eyes(face: Canvas, scene: Scene) -> None:
    t, n = scene.traits, scene.nuisance
    box = scene.box(-0.22, 0.20, 0.46)
    u, v = scene.u[box], scene.v[box]
    side = np.sign(u)
    # Both eyes at once: the outer side of either is positive.
    out = np.abs(u) - t["eye_spacing"]
    d = out / t["eye_width"]
    c = 1 - d * d
    dv = v - t["eye_height"] - t["eye_asymmetry"] * side + t["eye_tilt"] * out
    opening = t["eye_opening"] * np.clip(1 + 0.12 * n["brow_raise"] - n["blink"], 0.08, 1.3)
    upper = dv + opening * c
    lower = opening * (0.62 - 0.18 * n["smile"]) * c - dv
    socket = bump((out / (1.75 * t["eye_width"])) ** 2 + ((dv + 0.02) / 0.115) ** 2)
    face.shade(1 - (0.20 + 0.10 * t["age"]) * socket, box)
    inside = edge01(np.minimum(upper, lower) / scene.edge)
    face.paint(inside, (0.90, 0.89, 0.87), box)
    # The upper lid shades the eyeball.
    face.shade(1 - 0.38 * inside * bump((upper / (1.1 * opening)) ** 2), box)

    ix = (out - side * n["gaze_x"]) / t["iris_size"]
    iy = (dv - n["gaze_y"] + 0.006) / t["iris_size"]
    r2 = ix * ix + iy * iy
    iris = edge01((1 - r2) * (0.5 * t["iris_size"] / scene.edge)) * inside
    tone = 1.25 - 0.75 * np.minimum(r2, 1)
    face.paint(iris, t["iris"] * tone, box)
    face.paint(edge01((0.20 - r2) * 6) * inside, (0.02, 0.02, 0.03), box)
    glint = bump(((ix * side + 0.35) ** 2 + (iy + 0.38) ** 2) / 0.14)
    face.paint(glint * inside, (1.0, 1.0, 1.0), box)

    lash = (0.009 + 0.006 * (1 - t["male"])) * (1.05 + 0.25 * d)
    line = bump((upper / lash) ** 2) * edge01((c + 0.22) * 5)
    face.paint(np.minimum(1.5 * line, 1) * 0.92, (0.09, 0.06, 0.05), box)
    rim = bump((lower / 0.009) ** 2) * edge01(c * 4) * 0.45
    face.paint(rim, 0.45 * t["skin"], box)
    crease = bump(((upper + 0.020 + 0.01 * t["male"]) / 0.011) ** 2) * edge01((c + 0.1) * 3)
    face.paint(0.42 * crease, 0.50 * t["skin"], box)


def _paint_brows(face: Canvas, scene: Scene) -> None:
    t, n = scene.traits, scene.nuisance
    box = scene.box(-0.42, 0.05, 0.42)
    u, v = scene.u[box], scene.v[box]
    out = np.abs(u) - t["eye_spacing"] - 0.006
    d = out / t["brow_length"]
    middle = t["eye_height"] - t["brow_height"] - 0.025 * n["brow_raise"]
    curve = middle - t["brow_arch"] * (1 - d * d) - t["brow_tilt"] * d + 0.012 * d * d
    thick = np.maximum(t["brow_thickness"], 0.009) * (1.05 - 0.42 * np.clip(d, -1, 1))
    r2 = ((v - curve) / thick) ** 2
    alpha = np.minimum(bump(r2) * 2.0, 1) * edge01((1 - d * d) * 3.5)
    strokes = 0.92 + 0.08 * wave_of(90 * out + 40 * v)
    # Brows are darker than fair hair and grey later than it.
    face.paint(0.88 * alpha * strokes, 0.62 * t["hair"], box)


def _paint_nose(face: Canvas, scene: Scene) -> None:
    t = scene.traits
    box = scene.box(-0.12, 0.46, 0.26)
    u, v = _nose_coordinates(scene, box)
    w = np.abs(u)
    tip, wing = t["nose_length"], t["nose_width"]
    nostril = bump(((w - 0.50 * wing) / (0.36 * wing)) ** 2 + ((v - tip - 0.004) / 0.017) ** 2)
    under = bump((u / (1.1 * wing)) ** 2 + ((v - tip - 0.022) / 0.030) ** 2)
    crease = bump(((w - wing) / 0.014) ** 2 + ((v - tip + 0.022) / 0.040) ** 2)
    side = ((w - t["nose_bridge"] - 0.012) / 0.030) ** 2
    side = bump(side + ((v - 0.5 * tip + 0.03) / (0.6 * tip)) ** 2)
    shade = (1 - 0.06 * side) * (1 - 0.17 * under) * (1 - 0.18 * crease)
    face.shade(shade * (1 - 0.75 * np.minimum(1.1 * nostril, 0.85)), box)


def _nose_coordinates(scene: Scene, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Face coordinates with the nose raised above the sphere: yaw moves it more than the face."""
    u, v = scene.u[box], scene.v[box]
    reach = scene.traits["nose_height"] * edge01(v * 4 + 0.1)
    return u - reach * scene.sin_yaw, v - reach * scene.sin_pitch


def _mouth_lines(scene: Scene, box: Box) -> tuple[np.ndarray, ...]:
    """Position along the mouth (-1 to 1), its height profile and the distance below its line."""
    t, n = scene.traits, scene.nuisance
    d = scene.u[box] / (t["mouth_width"] * (1 + 0.16 * n["smile"] - 0.08 * n["mouth_open"]))
    c = 1 - d * d
    middle = t["mouth_height"] + 0.034 * n["smile"] * (c - 0.45) + 0.012 * t["age"] * (d * d)
    return d, c, scene.v[box] - middle


def _paint_mouth(face: Canvas, scene: Scene) -> None:
    t, n = scene.traits, scene.nuisance
    box = scene.box(0.20, 0.76, 0.36)
    d, c, dv = _mouth_lines(scene, box)
    gap = 0.075 * n["mouth_open"] * np.maximum(c, 0)
    top, bottom = np.maximum(t["upper_lip"], 0.006), np.maximum(t["lower_lip"], 0.010)
    bow = 1 - np.clip(t["cupid_bow"], 0, 0.8) * bump((d / 0.30) ** 2)
    above = dv + 0.35 * gap + top * c * bow
    below = 0.65 * gap + bottom * c * (0.55 + 0.45 * c) - dv
    on = edge01(c * 8)
    lips = edge01(np.minimum(above, below) / (1.6 * scene.edge)) * on
    # The upper lip looks down and is darker; the lower one catches the light.
    tone = 0.86 + 0.16 * edge01(dv / 0.02 + 0.5)
    tone += 0.10 * bump((d / 0.6) ** 2 + ((dv - 0.5 * bottom - 0.65 * gap) / 0.02) ** 2)
    face.paint(0.90 * lips, t["lips"] * tone, box)
    hole = np.minimum(dv + 0.35 * gap, 0.65 * gap - dv)
    face.paint(edge01(hole / scene.edge) * on, (0.20, 0.06, 0.06), box)
    teeth = np.minimum(hole, 0.035 - dv - 0.35 * gap)
    face.paint(edge01(teeth / scene.edge) * edge01(c * 3 - 0.4), (0.90, 0.88, 0.84), box)
    line = bump((dv / 0.012) ** 2) * on * np.clip(1 - 4 * n["mouth_open"], 0, 1)
    face.paint(0.75 * line, 0.36 * t["lips"], box)
    corner = bump(((np.abs(d) - 1) / 0.16) ** 2 + (dv / 0.022) ** 2)
    shadow = bump((d / 0.75) ** 2 + ((dv - bottom - 0.65 * gap - 0.022) / 0.028) ** 2)
    face.shade((1 - 0.22 * corner) * (1 - 0.11 * shadow), box)


def _paint_wrinkles(face: Canvas, scene: Scene) -> None:
    t, n = scene.traits, scene.nuisance
    depth = np.clip(t["wrinkles"], 0, 1)
    box = scene.box(-0.42, -0.12, 0.36)
    u, v = scene.u[box], scene.v[box]
    lines = wave_of(76 * (v + 0.25 * u * u) + 2.0 * t["mole_across"] * u * 9)
    lines = edge01(3 * lines - 1.7) * bump((u / 0.34) ** 2 + ((v + 0.27) / 0.125) ** 2)
    face.shade(1 - 0.44 * lines * depth * (1 + 0.4 * n["brow_raise"]), box)

    box = scene.box(-0.14, 0.64, 0.47)
    w, v = np.abs(scene.u[box]), scene.v[box]
    out = w - t["eye_spacing"]
    # From the wing of the nose past the corner of the mouth.
    fold = w - (t["nose_width"] + 0.028 + 0.42 * (v - t["nose_length"] + 0.05))
    fold = bump((fold / 0.017) ** 2 + ((v - 0.335) / 0.125) ** 2)
    shade = 1 - 0.52 * fold * np.clip(0.10 + 0.65 * depth + 0.22 * n["smile"], 0, 0.8)
    bag = v - t["eye_height"] - 0.068 + 0.020 * (out / 0.07) ** 2
    bag = bump((bag / 0.016) ** 2 + (out / 0.10) ** 2)
    shade *= 1 - 0.52 * bag * np.clip(0.12 + 0.62 * depth, 0, 0.8)
    rays = out - t["eye_width"] - 0.030
    feet = edge01(2.6 * wave_of((v - t["eye_height"]) * 95 / (1 + 4 * np.abs(rays))) - 1.2)
    feet *= bump((rays / 0.055) ** 2 + ((v - t["eye_height"]) / 0.07) ** 2)
    shade *= 1 - 0.52 * feet * np.clip(depth + 0.12 * n["smile"], 0, 1)
    jowl = w - 0.215 - 0.12 * (v - 0.45)
    jowl = bump((jowl / 0.022) ** 2 + ((v - 0.50) / 0.10) ** 2)
    shade *= 1 - 0.52 * jowl * np.clip(0.55 * t["sag"], 0, 0.8)
    face.shade(shade, box)


def _light_face(face: Canvas, scene: Scene) -> None:
    """Lambert's law on the sphere's normals, bent by the relief of the face."""
    t, n = scene.traits, scene.nuisance
    box = scene.box(-0.45, 0.78, 0.52)
    relief = _relief(scene, box)
    step = 1 / (scene.shape[1] / 2) / n["scale"]
    slope_x = np.zeros(scene.shape, dtype=np.float32)
    slope_y = np.zeros(scene.shape, dtype=np.float32)
    slope_x[box][:, :, 1:-1] = (relief[:, :, 2:] - relief[:, :, :-2]) / (2 * step)
    slope_y[box][:, 1:-1] = (relief[:, 2:] - relief[:, :-2]) / (2 * step)
    lx, ly = n["light_x"], n["light_y"]
    lz = 1 / np.sqrt(1 + lx * lx + ly * ly)
    # (across, down, depth) is the unit normal of the sphere; n . l of the tilted normal:
    dot = (scene.across - slope_x) * (lx * lz) + (scene.down - slope_y) * (ly * lz)
    dot += scene.depth * lz
    dot /= np.sqrt(1 + slope_x**2 + slope_y**2)
    np.clip(dot, 0, 1.2, out=dot)
    ambient = n["ambient"]
    shade = ambient + (1.12 - ambient) * dot
    # Less light reaches the underside of the jaw and the rim that faces away.
    shade *= 0.72 + 0.28 * np.minimum(scene.depth * 2.2, 1)
    face.shade(shade)
    shine = np.clip(dot - 0.93, 0, 0.2) * (0.5 + 0.5 * np.clip(0.7 - t["skin_tone"], 0, 1))
    face.planes += shine


def _relief(scene: Scene, box: Box) -> np.ndarray:
    """Height above the sphere, in head units."""
    t, n = scene.traits, scene.nuisance
    u, v = _nose_coordinates(scene, box)
    w = np.abs(u)
    tip, wing, high = t["nose_length"], t["nose_width"], t["nose_height"]
    along = edge01((v + 0.06) / (tip + 0.02)) * edge01((tip + 0.035 - v) / 0.05)
    width = t["nose_bridge"] + 0.035 + 0.35 * wing * edge01(v / tip)
    relief = 0.95 * high * along * bump((u / width) ** 2)
    relief += 0.55 * high * bump((u / (0.75 * wing)) ** 2 + ((v - tip + 0.025) / 0.055) ** 2)
    nostril = ((w - 0.72 * wing) / (0.42 * wing)) ** 2
    relief += 0.40 * high * bump(nostril + ((v - tip + 0.018) / 0.045) ** 2)
    u, v = scene.u[box], scene.v[box]
    w = np.abs(u)
    eye = (w - t["eye_spacing"]) ** 2
    relief -= 0.040 * bump(eye / 0.17**2 + ((v - t["eye_height"] + 0.01) / 0.10) ** 2)
    relief += 0.020 * bump(eye / 0.085**2 + ((v - t["eye_height"]) / 0.055) ** 2)
    relief += (0.012 + 0.018 * t["male"]) * bump(eye / 0.16**2 + ((v + 0.15) / 0.08) ** 2)
    puff = 0.030 + 0.020 * n["smile"] + 0.3 * t["cheekbones"]
    relief += puff * bump(((w - 0.25) / 0.17) ** 2 + ((v - 0.17 + 0.03 * n["smile"]) / 0.16) ** 2)
    relief += 0.020 * t["sag"] * bump(((w - 0.27) / 0.13) ** 2 + ((v - 0.44) / 0.13) ** 2)
    d, _, dv = _mouth_lines(scene, box)
    relief += 0.022 * bump((d / 1.05) ** 2 + ((dv + 0.020) / 0.045) ** 2)
    relief += 0.026 * bump((d / 0.85) ** 2 + ((dv - 0.030 - 0.05 * n["mouth_open"]) / 0.045) ** 2)
    relief += (0.035 + 0.012 * t["male"]) * bump((u / 0.15) ** 2 + ((v - 0.575) / 0.10) ** 2)
    return relief
