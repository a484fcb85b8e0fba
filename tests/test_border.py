"""The border: whatever comes in gives a right answer or one clear error, and is left as it was."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from edials._labels import encode_labels
from edials._validation import check_images, to_pictures, to_tensor, to_uint8
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
