"""The border: whatever comes in gives a right answer or one clear error, and is left as it was."""

import contextlib
import io
from numbers import Integral, Real
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from edials._labels import encode_labels
from edials._validation import (
    Interval,
    check_images,
    check_parameters,
    check_value,
    to_pictures,
    to_tensor,
    to_uint8,
)
from edials.exceptions import InvalidImageError, InvalidLabelsError, UnreadableImageError
from edials.images import read_image

DTYPES = ["u1", "i1", "i4", "u2", "f2", "f4", "f8", "?", "c8", "O"]
SIDES = st.sampled_from([0, 1, 3, 15, 16, 32, 48])
quick = settings(max_examples=60, deadline=None, derandomize=True)


@quick
@given(
    shape=st.lists(SIDES, max_size=5).map(tuple) | st.tuples(SIDES, SIDES, SIDES, st.just(3)),
    dtype=st.sampled_from(DTYPES),
    fill=st.sampled_from([0.0, 0.25, 1.0, 1.5, -1.0, 255.0, np.nan, np.inf]),
)
def test_any_array_is_right_or_refused(shape, dtype, fill):
    with np.errstate(invalid="ignore"):
        images = np.full(shape, 1 if dtype in ("?", "O") else fill if dtype[0] in "fc" else 1)
        images = images.astype(dtype)
    images.flags.writeable = False
    possible = (
        images.ndim == 4
        and min(images.shape) > 0
        and images.shape[3] == 3
        and images.shape[1] % 16 == images.shape[2] % 16 == 0
        and (dtype == "u1" or (dtype[0] == "f" and 0 <= fill <= 1))
    )
    if not possible:
        with pytest.raises(ValueError, match=r"."):
            check_images(images)
        return
    checked, image_format = check_images(images)
    assert checked.shape == images.shape
    pictures = to_uint8(checked)
    restored = image_format.restore(pictures)
    assert restored.shape == images.shape
    assert restored.dtype == (np.float32 if dtype == "f2" else images.dtype)
    np.testing.assert_allclose(restored.astype(float), images.astype(float), atol=0.51 / 255)


@quick
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(16), st.just(32), st.just(3))))
def test_pictures_survive_the_way_to_torch_and_back(pictures):
    pictures.flags.writeable = False
    np.testing.assert_array_equal(to_pictures(to_tensor(pictures)), pictures)


@quick
@given(
    st.lists(
        st.none() | st.integers(-1, 3) | st.floats(0, 3) | st.text("ab", max_size=2) | st.booleans()
    )
)
def test_any_labels_are_right_or_refused(values):
    try:
        labels = encode_labels(values, name="identity")
    except InvalidLabelsError:
        return
    for value, code in zip(values, labels.codes, strict=True):
        missing = value is None or (value == -1 and not isinstance(value, str))
        assert missing if code < 0 else labels.classes[code] == value


@quick
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"]),
)
def test_any_picture_file_is_right_or_refused(tmp_path_factory, mode, width, height, kind):
    buffer = io.BytesIO()
    try:
        Image.new(mode, (width, height)).save(buffer, format=kind)
    except (OSError, ValueError, KeyError):
        return  # Pillow does not write such a file
    path = tmp_path_factory.mktemp("pictures") / "picture"
    path.write_bytes(buffer.getvalue())
    picture = read_image(path, 32)
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 3])
    with contextlib.suppress(UnreadableImageError):
        assert read_image(path, 32).shape == (32, 32, 3)


def test_a_list_of_pictures_of_several_sizes():
    with pytest.raises(InvalidImageError, match="one size"):
        check_images([np.zeros((16, 16, 3)), np.zeros((32, 32, 3))])


NUMBERS = (
    st.floats() | st.integers(-5, 5) | st.booleans() | st.sampled_from([np.int64(1), None, "1"])
)


@quick
@given(value=NUMBERS, closed=st.sampled_from(["both", "left", "right", "neither"]))
def test_an_interval_accepts_its_numbers_alone(value, closed):
    number = isinstance(value, (int, float, np.integer)) and not isinstance(value, bool)
    inside = number and (
        0 < value < 1
        or (value == 0 and closed in ("both", "left"))
        or (value == 1 and closed in ("both", "right"))
    )
    assert Interval(Real, 0, 1, closed).accepts(value) == inside
    whole = number and not isinstance(value, float)
    assert Interval(Integral, 1).accepts(value) == (whole and value >= 1)


def test_all_faults_are_named_at_once_and_say_what_is_expected():
    table = {
        "a": ("auto", Interval(Real, 0, 1, closed="right")),
        "b": (None, Interval(Integral, 1)),
        "c": (bool,),
        "d": (None, callable),
        "e": ("x", "y"),
        "f": (Interval(Real, 0, closed="right"),),
        "g": (Interval(Real, 0, np.inf, closed="right"),),
    }
    right = {"a": 1, "b": None, "c": False, "d": len, "e": "y", "f": np.float32(2), "g": np.inf}
    check_parameters(right, table)
    wrong = {"a": 0, "b": 1.0, "c": 1, "d": "len", "e": np.ones(2), "f": np.inf, "g": np.nan}
    with pytest.raises(ValueError, match="a=0;") as error:
        check_parameters(SimpleNamespace(**wrong), table)
    assert str(error.value) == (
        "a=0; expected 'auto' or a number in (0, 1]. "
        "b=1.0; expected None or an integer of at least 1. "
        "c=1; expected a bool. d='len'; expected None or a callable. "
        "e=array([1., 1.]); expected 'x' or 'y'. f=inf; expected a finite number above 0. "
        "g=nan; expected a number in (0, inf]."
    )
    with pytest.raises(ValueError, match="chunk_size=0; expected an integer of at least 1"):
        check_value("chunk_size", 0, Interval(Integral, 1))
