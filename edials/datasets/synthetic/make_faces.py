"""Made-up faces: any number of people and pictures of them, drawn from scratch."""

from __future__ import annotations

import itertools
import numbers

import numpy as np
import pandas as pd
from scipy.special import ndtri
from sklearn.utils import Bunch, gen_batches

from ..._random import stage_seeds
from .renderer import render
from .traits import ATTRIBUTE_VALUES, FACTOR_NAMES, traits_from_factors

# Pictures are drawn a few at a time, so that the work arrays stay in the processor's cache and
# memory does not grow with their number.
_SUBPIXELS_PER_CHUNK = 10 * 96 * 96

# name: (kind, low or mean, high or standard deviation); radians, lengths in half pictures.
_NUISANCE = {
    "yaw": ("normal", 0.0, 0.20),
    "pitch": ("normal", 0.0, 0.09),
    "roll": ("normal", 0.0, 0.07),
    "scale": ("uniform", 1.02, 1.22),
    "shift_x": ("normal", 0.0, 0.04),
    "shift_y": ("normal", 0.0, 0.04),
    "smile": ("uniform", -0.5, 1.0),
    "mouth_open": ("rare", 0.0, 0.9),
    "blink": ("rare", 0.0, 0.45),
    "brow_raise": ("normal", 0.0, 0.5),
    "gaze_x": ("normal", 0.0, 0.013),
    "gaze_y": ("normal", 0.0, 0.007),
    "light_x": ("normal", 0.0, 0.6),
    "light_y": ("normal", -0.35, 0.35),
    "ambient": ("uniform", 0.40, 0.70),
    "brightness": ("normal", 0.0, 0.05),
    "contrast": ("uniform", 0.80, 1.10),
    "warmth": ("normal", 0.0, 0.04),
    "neckline": ("uniform", 0.0, 0.35),
    "stripes": ("rare", 0.0, 0.4),
    "stripe_frequency": ("uniform", 15.0, 60.0),
    "back_angle": ("uniform", 0.0, 2 * np.pi),
    "weave_strength": ("rare", 0.0, 0.12),
    "weave_frequency": ("uniform", 3.0, 30.0),
    "weave_phase": ("uniform", 0.0, 2 * np.pi),
    "blob_x1": ("uniform", -1.0, 1.0),
    "blob_y1": ("uniform", -1.0, 1.0),
    "blob_size1": ("uniform", 0.1, 0.9),
    "blob_strength1": ("normal", 0.0, 0.3),
    "blob_x2": ("uniform", -1.0, 1.0),
    "blob_y2": ("uniform", -1.0, 1.0),
    "blob_size2": ("uniform", 0.1, 0.9),
    "blob_strength2": ("normal", 0.0, 0.3),
    **{f"back_{c}{k}": ("uniform", 0.08, 0.92) for k in "12" for c in ("red", "green", "blue")},
    **{f"cloth_{c}": ("uniform", 0.08, 0.95) for c in ("red", "green", "blue")},
    "noise": ("uniform", 0.005, 0.025),
}

NUISANCE_NAMES = (*_NUISANCE, "noise_seed")


def make_faces(
    n_people: int = 20,
    images_per_person: int = 10,
    *,
    size: int = 64,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Draw pictures of made-up people.

    Every person has an age, a gender and a race-like group, and on top of these about fifty
    continuous identity factors that are independent of the attributes. Pictures of one person
    differ by nuisance only: pose, expression, light, background, clothes and sensor noise. So the
    truth is known: what a picture tells about the person beyond the attributes comes from the
    factors alone.

    Parameters
    ----------
    n_people : int, default=20
        Number of people. Every cell age x gender x race is filled as evenly as it allows, in an
        order drawn at random.
    images_per_person : int, default=10
        Number of pictures of each person.
    size : int, default=64
        Height and width in pixels: a multiple of 16 from 32 to 256.
    random_state : int, RandomState or None, default=None
        The same integer gives the same bytes. More people or more pictures per person leave the
        first ones as they are. None draws from the operating system; NumPy's global generator is
        never touched.

    Returns
    -------
    Bunch
        images : ndarray of shape (n_people * images_per_person, size, size, 3), uint8
        identity : ndarray of shape (n,) of str
            ``"person_0000"``, ``"person_0001"``, ...; pictures of one person are neighbours.
        attributes : DataFrame of shape (n, 3)
            ``age`` ("young", "middle", "older"), ``gender`` ("female", "male") and ``race``
            ("group_a", "group_b", "group_c": made-up groups that differ in skin, hair and
            proportions).
        factors : DataFrame of shape (n_people, n_factors)
            Standard normal identity factors, indexed by person.
        nuisance : DataFrame of shape (n, n_nuisance)
            What differs between pictures of one person, see `render_faces`.

    Raises
    ------
    ValueError
        If a count is not a positive integer or `size` is not as described.

    See Also
    --------
    render_faces : Draw again after changing factors, attributes or nuisance.

    Examples
    --------
    >>> from edials.datasets import make_faces
    >>> faces = make_faces(n_people=3, images_per_person=2, size=32, random_state=0)
    >>> faces.images.shape
    (6, 32, 32, 3)
    >>> faces.identity.tolist()[:3]
    ['person_0000', 'person_0000', 'person_0001']
    """
    _check_arguments(n_people=n_people, images_per_person=images_per_person, size=size)
    seeds = stage_seeds(random_state, "attributes", "factors", "nuisance")
    people = np.array([f"person_{i:04d}" for i in range(n_people)])
    attributes = _draw_attributes(n_people, seeds["attributes"]).set_index(people)
    factors = draw_factors(n_people, random_state=seeds["factors"]).set_index(people)
    nuisance = _draw_nuisance(n_people, images_per_person, seeds["nuisance"])

    identity = np.repeat(people, images_per_person)
    attributes = attributes.loc[identity].reset_index(drop=True)
    return Bunch(
        images=render_faces(factors.loc[identity], attributes, nuisance, size=size),
        identity=identity,
        attributes=attributes,
        factors=factors,
        nuisance=nuisance,
    )


def draw_factors(
    n_people: int, *, random_state: int | np.random.RandomState | None = None
) -> pd.DataFrame:
    """Draw the identity factors of fresh people.

    Parameters
    ----------
    n_people : int
        Number of people.
    random_state : int, RandomState or None, default=None
        The same integer gives the same factors; more people leave the first ones as they are.

    Returns
    -------
    DataFrame of shape (n_people, n_factors)
        Independent standard normal numbers, one named column per factor.
    """
    _check_arguments(n_people=n_people)
    rng = np.random.default_rng(stage_seeds(random_state, "factors")["factors"])
    draws = rng.standard_normal((n_people, len(FACTOR_NAMES)))
    return pd.DataFrame(draws, columns=list(FACTOR_NAMES))


def render_faces(
    factors: pd.DataFrame, attributes: pd.DataFrame, nuisance: pd.DataFrame, *, size: int = 64
) -> np.ndarray:
    """Draw one picture per row of three aligned tables.

    With the tables of `make_faces` this draws the same pictures again, byte for byte. Change one
    of them to know the truth about an audit: fresh factors under the same attributes and nuisance
    leave nothing of the person but the attributes.

    Parameters
    ----------
    factors : DataFrame of shape (n, n_factors)
        Identity factors, standard normal; they act up to 2.4 standard deviations.
    attributes : DataFrame of shape (n, 3)
        Columns ``age``, ``gender``, ``race`` with the values that `make_faces` describes.
    nuisance : DataFrame of shape (n, n_nuisance)
        Angles ``yaw`` (positive: the face looks to the right of the picture), ``pitch``, ``roll``
        in radians; ``scale``; shifts in half pictures; expression (``smile``, ``mouth_open``,
        ``blink``, ``brow_raise``, ``gaze_x``, ``gaze_y``); light direction ``light_x``, ``light_y``
        (tangents), ``ambient`` share; ``brightness``, ``contrast``, ``warmth``; clothes and
        background; standard deviation ``noise`` and ``noise_seed`` of the sensor noise.
    size : int, default=64
        Height and width in pixels: a multiple of 16 from 32 to 256.

    Returns
    -------
    ndarray of shape (n, size, size, 3), uint8

    Raises
    ------
    ValueError
        If the tables differ in length, lack columns or hold unknown attribute values.

    Examples
    --------
    Another person with the same attributes, pose, light and clothes:

    >>> from edials.datasets import draw_factors, make_faces, render_faces
    >>> faces = make_faces(n_people=2, images_per_person=3, size=32, random_state=0)
    >>> fresh = draw_factors(6, random_state=1)
    >>> render_faces(fresh, faces.attributes, faces.nuisance, size=32).shape
    (6, 32, 32, 3)
    """
    _check_arguments(size=size)
    _check_tables(factors, attributes, nuisance)
    traits = traits_from_factors(factors, attributes)
    settings = {name: nuisance[name].to_numpy(dtype=np.float32) for name in _NUISANCE}
    seeds = nuisance["noise_seed"].to_numpy()
    images = np.empty((len(factors), size, size, 3), dtype=np.uint8)
    for rows in gen_batches(len(images), max(1, _SUBPIXELS_PER_CHUNK // (3 * size // 2) ** 2)):
        pictures = render(
            {name: values[rows] for name, values in traits.items()},
            {name: values[rows] for name, values in settings.items()},
            size,
        )
        images[rows] = _expose(pictures, settings["noise"][rows], seeds[rows])
    return images


def _expose(pictures: np.ndarray, noise: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Add sensor noise and round to bytes."""
    grain = np.empty(pictures.shape[1:], dtype=np.float32)
    for picture, sigma, seed in zip(pictures, noise, seeds, strict=True):
        np.random.default_rng(int(seed)).standard_normal(dtype=np.float32, out=grain)
        grain *= sigma
        picture += grain
    return np.rint(np.clip(pictures * 255, 0, 255)).astype(np.uint8)


def _draw_attributes(n_people: int, seed: int) -> pd.DataFrame:
    """Give people attribute cells in shuffled rounds, every cell once per round."""
    cells = list(itertools.product(*ATTRIBUTE_VALUES.values()))
    rng = np.random.default_rng(seed)
    rounds = -(-n_people // len(cells))
    order = [cells[i] for _ in range(rounds) for i in rng.permutation(len(cells))]
    return pd.DataFrame(order[:n_people], columns=list(ATTRIBUTE_VALUES))


def _draw_nuisance(n_people: int, images_per_person: int, seed: int) -> pd.DataFrame:
    """Draw everything that differs between pictures of one person."""
    # One stream per person and as many draws per picture: more pictures or more people leave the
    # first ones as they are. Normals go through the inverse distribution function.
    streams = (np.random.SeedSequence(seed, spawn_key=(person,)) for person in range(n_people))
    shape = (images_per_person, len(NUISANCE_NAMES))
    uniform = np.concatenate([np.random.default_rng(stream).random(shape) for stream in streams])
    columns: dict[str, np.ndarray] = {}
    for j, (name, (kind, a, b)) in enumerate(_NUISANCE.items()):
        quantile = uniform[:, j]
        if kind == "normal":
            # Tails beyond 2.3 standard deviations would turn the face out of the picture.
            columns[name] = a + b * ndtri(np.clip(quantile, 0.01, 0.99))
        elif kind == "rare":
            # Nothing in three of five pictures, then up to b.
            columns[name] = a + (b - a) * np.clip((quantile - 0.6) / 0.4, 0, 1)
        else:
            columns[name] = a + (b - a) * quantile
    columns["noise_seed"] = (uniform[:, -1] * 2**31).astype(np.int64)
    return pd.DataFrame(columns)


def _check_arguments(**arguments: int) -> None:
    faults = []
    for name, value in arguments.items():
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if name == "size":
            if not whole or value % 16 or not 32 <= value <= 256:
                faults.append(f"size={value!r}: expected a multiple of 16 from 32 to 256")
        elif not whole or value < 1:
            faults.append(f"{name}={value!r}: expected a positive integer")
    if faults:
        raise ValueError("; ".join(faults) + ".")


def _check_tables(factors: pd.DataFrame, attributes: pd.DataFrame, nuisance: pd.DataFrame) -> None:
    faults = []
    expected = {
        "factors": (factors, FACTOR_NAMES),
        "attributes": (attributes, tuple(ATTRIBUTE_VALUES)),
        "nuisance": (nuisance, NUISANCE_NAMES),
    }
    for name, (table, columns) in expected.items():
        missing = [column for column in columns if column not in table]
        if missing:
            faults.append(f"{name} lacks the columns {missing}")
    if len({len(factors), len(attributes), len(nuisance)}) > 1:
        faults.append(
            f"factors, attributes and nuisance have {len(factors)}, {len(attributes)} and "
            f"{len(nuisance)} rows: expected one row per picture in each (repeat the factors of a "
            f"person with factors.loc[identity])"
        )
    for column, values in ATTRIBUTE_VALUES.items():
        if column in attributes:
            unknown = sorted(set(map(str, attributes[column])) - set(values))
            if unknown:
                faults.append(f"attributes[{column!r}] holds {unknown}: expected {list(values)}")
    if faults:
        raise ValueError("; ".join(faults) + ".")
