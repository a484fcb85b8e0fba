"""What a made-up person looks like: from identity factors and attributes to drawable traits.

Every trait is one visible sum,

    trait = base + spread * factor + male * g + old * a + group_b * b + group_c * c

with ``g`` = -1 (female) or 1 (male), ``a`` = 0, 0.5 or 1 (young, middle, older) and ``b``, ``c``
= 1 for people of that group. The factors are standard normal and independent of the attributes, so
the attributes move the mean of a trait and nothing else: fresh factors under the same attributes
are a fresh person of the same cell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

ATTRIBUTE_VALUES = {
    "age": ("young", "middle", "older"),
    "gender": ("female", "male"),
    "race": ("group_a", "group_b", "group_c"),
}

# Lengths are in half image heights at scale 1: the head is about 0.9 wide and 1.35 high.
# fmt: off
TRAITS: dict[str, tuple[float, float, float, float, float, float]] = {
    # name               base  spread   male    old  group_b  group_c
    "face_width":      (0.465,  .022,   .006,  .006,   .016,   .000),
    "face_length":     (0.665,  .026,   .012,  .012,  -.016,   .000),
    "jaw_width":       (-.090,  .060,   .055,  .030,   .010,   .010),
    "chin_width":      (-.060,  .065,   .045,  .020,   .000,   .000),
    "cheekbones":      (0.030,  .018,  -.004, -.012,   .022,   .006),
    "forehead_width":  (-.030,  .050,   .000,  .000,   .000,   .000),
    "ear_size":        (0.100,  .014,   .008,  .014,   .000,  -.004),
    "ear_angle":       (0.022,  .014,   .006,  .004,   .000,   .000),
    "eye_spacing":     (0.190,  .013,   .000,  .000,   .004,   .006),
    "eye_height":      (-.010,  .018,   .000,  .004,   .004,   .000),
    "eye_width":       (0.088,  .007,  -.004, -.004,   .000,   .002),
    "eye_opening":     (0.047,  .006,  -.003, -.007,  -.003,   .000),
    "eye_tilt":        (0.020,  .080,  -.025, -.080,   .035,   .000),
    "eye_asymmetry":   (0.000,  .007,   .000,  .000,   .000,   .000),
    "iris_tone":       (0.560,  .260,   .000,  .000,  -.420,  -.480),
    "iris_size":       (0.039,  .003,   .000,  .000,   .001,   .001),
    "brow_height":     (0.128,  .014,  -.010, -.006,   .006,   .000),
    "brow_thickness":  (0.025,  .006,   .008,  .003,  -.002,   .002),
    "brow_tilt":       (0.008,  .014,   .002,  .004,   .000,   .000),
    "brow_arch":       (0.022,  .011,  -.010, -.004,   .000,   .002),
    "brow_length":     (0.115,  .010,   .005,  .000,   .000,   .000),
    "nose_length":     (0.255,  .020,   .008,  .016,  -.008,   .000),
    "nose_width":      (0.078,  .010,   .007,  .008,   .006,   .024),
    "nose_bridge":     (0.035,  .007,   .005,  .004,  -.003,   .005),
    "nose_height":     (0.080,  .015,   .008,  .006,  -.014,  -.008),
    "mouth_width":     (0.155,  .015,   .006,  .000,   .000,   .010),
    "mouth_height":    (0.400,  .016,   .004,  .010,   .000,   .000),
    "upper_lip":       (0.040,  .008,  -.006, -.012,   .000,   .012),
    "lower_lip":       (0.050,  .009,  -.005, -.012,   .000,   .012),
    "cupid_bow":       (0.300,  .180,  -.050, -.080,   .000,   .000),
    "lip_colour":      (0.560,  .170,  -.190, -.100,   .000,   .000),
    "skin_tone":       (0.820,  .060,  -.015, -.010,  -.180,  -.460),
    "skin_warmth":     (0.000,  .420,   .000,  .000,   .450,   .150),
    "cheek_colour":    (0.300,  .180,  -.080, -.030,   .000,  -.100),
    "freckles":        (-.450,  .600,   .000, -.100,  -.300,  -.600),
    "mole_across":     (0.000,  .140,   .000,  .000,   .000,   .000),
    "mole_down":       (0.300,  .130,   .000,  .000,   .000,   .000),
    "mole_darkness":   (0.000,  .700,   .000,  .000,   .000,   .000),
    "hair_tone":       (0.480,  .260,  -.040,  .000,  -.400,  -.420),
    "hair_redness":    (0.100,  .500,   .000,  .000,   .000,   .000),
    "hair_length":     (0.300,  .290,  -.520, -.060,   .060,  -.080),
    "hair_volume":     (0.080,  .024,  -.014, -.014,  -.006,   .018),
    "hairline":        (-.385,  .040,   .000, -.035,   .010,  -.004),
    "hair_temples":    (0.000,  .060,   .030,  .060,   .000,   .000),
    "hair_parting":    (0.000,  .200,   .000,  .000,   .000,   .000),
    "hair_fringe":     (-.010,  .090,  -.010, -.030,   .030,  -.070),
    "hair_wave":       (0.350,  .280,  -.050,  .000,  -.350,   .700),
    "hair_grey":       (-.250,  .150,   .040,  .980,   .000,   .000),
    "beard":           (-.550,  .500,   .480,  .020,  -.150,   .050),
    "moustache":       (-.500,  .450,   .400,  .040,  -.100,   .050),
    "glasses":         (-.850,  .850,   .000,  .250,   .000,   .000),
    "glasses_size":    (0.125,  .012,   .004,  .000,   .000,   .000),
    "wrinkles":        (-.060,  .060,   .020,  .880,   .000,   .000),
    "sag":             (0.000,  .050,   .000,  .850,   .000,   .000),
}
# fmt: on

FACTOR_NAMES = tuple(TRAITS)

# Colour ramps: stops in [0, 1] and their RGB values.
_SKIN = ((0.0, 0.35, 0.65, 1.0), ((58, 36, 26), (122, 80, 56), (202, 148, 110), (246, 208, 184)))
_HAIR = (
    (0.0, 0.25, 0.55, 0.8, 1.0),
    ((16, 13, 14), (42, 27, 20), (98, 64, 38), (176, 130, 76), (226, 194, 134)),
)
_IRIS = (
    (0.0, 0.3, 0.55, 0.8, 1.0),
    ((44, 26, 15), (94, 60, 30), (104, 112, 66), (84, 126, 166), (126, 160, 182)),
)


def _ramp(stops: tuple, value: np.ndarray) -> np.ndarray:
    """Colours of shape (n, 3) in [0, 1] at ``value`` on a ramp; clipped at its ends."""
    places, colours = stops
    table = np.asarray(colours, dtype=float) / 255
    return np.stack([np.interp(value, places, table[:, c]) for c in range(3)], axis=1)


def traits_from_factors(factors: pd.DataFrame, attributes: pd.DataFrame) -> dict[str, np.ndarray]:
    """Turn factors and attributes into traits (n,), and colours (n, 3) in [0, 1], to draw."""
    years = dict(zip(ATTRIBUTE_VALUES["age"], (0.0, 0.5, 1.0), strict=True))
    age = attributes["age"].map(years).to_numpy(dtype=float)
    male = np.where(attributes["gender"] == "male", 1.0, -1.0)
    group_b = (attributes["race"] == "group_b").to_numpy(dtype=float)
    group_c = (attributes["race"] == "group_c").to_numpy(dtype=float)

    traits = {}
    for name, (base, spread, of_male, of_old, of_b, of_c) in TRAITS.items():
        # Beyond 2.4 standard deviations features would collide; one draw in sixty is clipped.
        factor = np.clip(factors[name].to_numpy(dtype=float), -2.4, 2.4)
        shift = of_male * male + of_old * age + of_b * group_b + of_c * group_c
        traits[name] = base + spread * factor + shift
    traits["male"] = (male + 1) / 2
    traits["age"] = age

    warmth = 0.028 * traits["skin_warmth"][:, None] * np.array([0.2, 0.25, -1.0])
    skin = _ramp(_SKIN, traits["skin_tone"]) * (1 + warmth * 3)
    hair = _ramp(_HAIR, traits["hair_tone"])
    hair = hair * (1 + traits["hair_redness"][:, None] * np.array([0.22, -0.06, -0.22]))
    grey = np.clip(traits["hair_grey"], 0.0, 0.92)[:, None]
    hair = hair + grey * (np.array([0.74, 0.73, 0.73]) - hair)
    red = np.clip(traits["lip_colour"], 0.08, 0.9)[:, None]
    lips = skin * (1 - red) + red * (0.45 * skin + 0.55 * np.array([0.76, 0.20, 0.25]))
    lips = lips * np.array([0.95, 0.82, 0.82])
    traits["skin"] = np.clip(skin, 0.03, 1)
    traits["hair"] = np.clip(hair, 0.02, 1)
    traits["iris"] = _ramp(_IRIS, traits["iris_tone"])
    traits["lips"] = np.clip(lips, 0.03, 1)
    return traits
