"""The classical anonymizers: one contract for all, and the limits where the answer is known."""

import inspect

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline

from edials.baselines import (
    BoxBlur,
    DoNothing,
    DPBlur,
    DPPixelate,
    GaussianBlur,
    GaussianNoise,
    KSameEigen,
    KSamePixel,
    KSameSelect,
    MaskEyes,
    MaskMouth,
    Pixelate,
)
from edials.baselines._k_same import cluster
from edials.exceptions import InvalidImageError, InvalidLabelsError

METHODS = [
    *(DoNothing(), GaussianBlur(), BoxBlur(), Pixelate(), MaskEyes(), MaskMouth()),
    *(GaussianNoise(random_state=0), DPPixelate(random_state=0), DPBlur(random_state=0)),
    *(KSamePixel(3), KSameEigen(3, n_components=5), KSameSelect(3)),
]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)


@pytest.fixture(scope="module")
def labels(faces):
    """Eight of ten people are in the gallery; the other two were never seen."""
    seen = np.isin(faces.identity, np.unique(faces.identity)[:8])
    gender = faces.attributes["gender"].to_numpy()
    counts = pd.Series(faces.identity[seen]).groupby(gender[seen]).nunique()
    assert counts.min() >= 3, "the made-up people changed: choose others"
    return seen, {"identity": faces.identity[seen], "attributes": gender[seen]}


@every_method
def test_contract(method, faces, labels):
    seen, known = labels
    before = method.get_params()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    fitted = clone(method)
    assert fitted.fit(faces.images[seen], **known) is fitted
    assert fitted.get_params() == before == clone(fitted).get_params()

    images = faces.images  # read-only
    released = fitted.transform(images)
    assert released.shape == images.shape
    assert released.dtype == np.uint8
    assert not np.shares_memory(released, images)
    assert (released != images).any() == (not isinstance(method, DoNothing))

    some = np.array([93, 3, 50, 3, 88])
    np.testing.assert_array_equal(fitted.transform(images[some]), released[some])
    np.testing.assert_array_equal(fitted.transform(images[7:8]), released[7:8])
    again = clone(method).fit(faces.images[seen], **known)
    np.testing.assert_array_equal(again.transform(images), released)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@every_method
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_every_kind_of_input_gives_the_same_pictures(method, dtype, faces, labels):
    seen, known = labels
    expected = clone(method).fit(faces.images[seen], **known).transform(faces.images)
    images = faces.images if dtype == np.uint8 else faces.images.astype(dtype) / dtype(255)
    rows = images.reshape(len(images), -1)
    rows.setflags(write=False)
    flat = clone(method).set_params(image_shape=(32, 32, 3)).fit(rows[seen], **known)
    released = flat.transform(rows)
    assert released.shape == rows.shape
    assert released.dtype == dtype
    assert flat.n_features_in_ == 3072
    if dtype != np.uint8:
        assert released.min() >= 0
        assert released.max() <= 1
        released = np.rint(released * 255).astype(np.uint8)
    np.testing.assert_array_equal(released.reshape(expected.shape), expected)


@every_method
def test_pipeline_and_routing(method, faces, labels, monkeypatch):
    seen, known = labels
    images, arrived = faces.images[seen], []
    learn = type(method)._learn

    def record(self, images, y, identity, attributes):
        arrived.append((identity, attributes))
        learn(self, images, y, identity, attributes)

    monkeypatch.setattr(type(method), "_learn", record)
    plain = Pipeline([("anonymize", clone(method))])
    plain.fit(images, **{f"anonymize__{name}": values for name, values in known.items()})
    with config_context(enable_metadata_routing=True):
        routed = Pipeline([("anonymize", clone(method))]).fit(images, **known)
        released = routed.transform(faces.images)
    np.testing.assert_array_equal(released, plain.transform(faces.images))
    for identity, attributes in arrived:
        np.testing.assert_array_equal(identity, known["identity"])
        np.testing.assert_array_equal(attributes, known["attributes"])
    assert len(arrived) == 2


@every_method
def test_refusals(method, faces, labels):
    seen, known = labels
    with pytest.raises(NotFittedError):
        clone(method).transform(faces.images)
    with pytest.raises(InvalidImageError, match="give image_shape="):
        clone(method).fit(faces.images.reshape(100, -1))
    fitted = clone(method).fit(faces.images[seen], **known)
    with pytest.raises(InvalidImageError, match="the shape seen in fit"):
        fitted.transform(faces.images[:, :16])


@every_method
def test_documented_defaults(method):
    text = inspect.getdoc(type(method))
    for name, parameter in inspect.signature(type(method)).parameters.items():
        said = "optional" if parameter.default is None else f"default={parameter.default}"
        if name == "random_state":
            said = "default=None"
        assert any(
            line.startswith(f"{name} : ") and line.endswith(said) for line in text.splitlines()
        ), name


# --- one picture at a time ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        *(GaussianBlur(0), GaussianBlur(0.05), BoxBlur(0), Pixelate(1), GaussianNoise(0)),
        *(DPPixelate(np.inf, block=1), DPBlur(np.inf, block=1, sigma=0)),
    ],
    ids=repr,
)
def test_no_strength_is_the_original(method, faces):
    np.testing.assert_array_equal(method.fit_transform(faces.images), faces.images)


def test_do_nothing_keeps_all_digits(faces):
    images = np.random.default_rng(0).random((2, 16, 16, 3))
    np.testing.assert_array_equal(DoNothing().fit_transform(images), images)


@pytest.mark.parametrize(
    "method", [Pixelate(32), Pixelate(99), GaussianBlur(200), BoxBlur(320)], ids=repr
)
def test_full_strength_is_the_mean_colour(method, faces):
    means = faces.images.mean(axis=(1, 2), keepdims=True)
    released = method.fit_transform(faces.images)
    # Half a level of rounding; boxes that are no multiple of the mirrored picture miss a little.
    tolerance = 0.51 if isinstance(method, Pixelate) else 2
    assert np.abs(released - means).max() < tolerance


def test_blocks_at_the_border_are_smaller():
    images = np.zeros((1, 16, 32, 3), np.uint8)
    images[:, 10:, 30:] = 200
    released = Pixelate(10).fit_transform(images)
    np.testing.assert_array_equal(released, images)
    images[:, 15:, 31:] = 80
    released = Pixelate(10).fit_transform(images)
    assert set(released[0, 10:, 30:].ravel()) == {190}  # (11 * 200 + 80) / 12
    assert not released[0, :10].any()


def test_blurs_agree_with_their_kernels():
    point = np.zeros((1, 64, 64, 3), np.float64)
    point[:, 32, 32] = 1
    spot = GaussianBlur(1.5).fit_transform(point)[0, :, 32, 0]
    half = np.flatnonzero(spot >= spot.max() / 2)
    assert abs(np.ptp(half) + 1 - 2.355 * 1.5) <= 1
    box = BoxBlur(2).fit_transform(point)[0, ..., 0]
    assert np.argwhere(box).tolist() == [[y, x] for y in range(30, 35) for x in range(30, 35)]
    np.testing.assert_allclose(box.max(), 1 / 25, atol=0.5 / 255)


def test_masks_cover_their_place_and_nothing_else():
    images = np.full((2, 48, 64, 3), 200, np.uint8)
    released = MaskEyes(0.25, bottom=0.5, left=0.125, right=1).fit_transform(images)
    assert not released[:, 12:24, 8:].any()
    assert (released == 0).sum() == 2 * 12 * 56 * 3
    thin = MaskMouth(0.5, bottom=0.501, left=0.3, right=0.301).fit_transform(images)
    assert (thin == 0).sum() == 2 * 3  # at least the pixel that the bar touches


# --- draws -------------------------------------------------------------------------------------


def greys(n, size=32):
    """Nearly flat pictures in the middle of the range, so that hardly any noise is clipped."""
    return np.random.default_rng(0).integers(126, 131, size=(n, size, size, 3), dtype=np.uint8)


def test_gaussian_noise_is_as_large_as_said():
    images = greys(20)
    noise = GaussianNoise(0.1, random_state=0).fit_transform(images) - images.astype(float)
    # 61,440 draws: the standard error of their spread is 0.3 %.
    assert abs(noise.std() / 25.5 - 1) < 0.02
    assert abs(noise.mean()) < 0.5
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(("block", "m"), [(8, 1), (16, 4), (12, 2)])
def test_laplace_noise_is_as_large_as_said(block, m):
    images = greys(600)
    settings = {"block": block, "m": m, "random_state": 0}
    private = DPPixelate(0.5, **settings).fit_transform(images)
    noise = private - Pixelate(block).fit_transform(images).astype(float)
    ends = [*range(block, 32, block), 32]
    for bottom, row in zip(ends, range(0, 32, block), strict=True):
        scale = 255 * m / ((bottom - row) * block * 0.5)
        cell = noise[:, row, 0]
        # Laplace: mean |x| is the scale and mean x**2 twice its square; 1,800 draws, 3 errors.
        assert abs(np.abs(cell).mean() / scale - 1) < 0.08
        assert abs((cell**2).mean() / (2 * scale**2) - 1) < 0.2


def test_huge_epsilon_is_pixelate(faces):
    pixelated = Pixelate(8).fit_transform(faces.images)
    exact = DPPixelate(np.inf, block=8).fit_transform(faces.images)
    np.testing.assert_array_equal(exact, pixelated)
    nearly = DPPixelate(1e9, block=8).fit_transform(faces.images)
    assert np.abs(nearly.astype(int) - pixelated).max() <= 1  # a tie may be rounded up or down
    blurred = GaussianBlur(2).fit_transform(pixelated)
    private = DPBlur(1e9, block=8, sigma=2).fit_transform(faces.images)
    assert np.abs(private.astype(int) - blurred).max() <= 1
    np.testing.assert_array_equal(
        DPBlur(1, sigma=0, random_state=0).fit_transform(faces.images),
        DPPixelate(1, block=8, random_state=0).fit_transform(faces.images),
    )


@pytest.mark.parametrize("kind", [GaussianNoise, DPPixelate, DPBlur])
def test_seeds(kind, faces):
    def released(seed):
        return kind(random_state=seed).fit_transform(faces.images[:3])

    np.testing.assert_array_equal(released(1), released(1))
    assert (released(1) != released(2)).any()
    assert (released(None) != released(None)).any()


# --- k-same ------------------------------------------------------------------------------------


def test_clusters_have_at_least_k_members():
    features = np.random.default_rng(0).standard_normal((23, 4)).astype(np.float32)
    classes = np.repeat([0, 1], [11, 12])
    clusters = cluster(features, classes, 4)
    assert np.bincount(clusters).tolist() == [4, 7, 4, 4, 4]
    assert len(np.unique(np.stack([clusters, classes]), axis=1).T) == 5
    line = np.array([[0.0], [10], [1], [11], [2], [12]])
    assert cluster(line, np.zeros(6, int), 3).tolist() == [0, 1, 0, 1, 0, 1]
    assert cluster(line, np.zeros(6, int), 1).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", [KSamePixel, KSameEigen, KSameSelect])
def test_k_of_one_is_the_person(kind, faces):
    gender = faces.attributes["gender"]
    alone = kind(1).fit(faces.images, attributes=gender)
    np.testing.assert_array_equal(alone.transform(faces.images), faces.images)
    people = kind(1).fit(faces.images, identity=faces.identity, attributes=gender)
    first = faces.identity == faces.identity[0]
    mean = faces.images[first].mean(axis=0)
    assert np.abs(people.transform(faces.images[first]) - mean).max() < 0.51


def test_gallery_becomes_the_average_of_its_clusters(faces):
    method = KSamePixel(4).fit(faces.images, identity=faces.identity)
    released = method.transform(faces.images)
    people, codes = np.unique(faces.identity, return_inverse=True)
    means = np.stack([faces.images[codes == code].mean(axis=0) for code in range(len(people))])
    assert np.bincount(method.clusters_).tolist() == [4, 6]
    for code in range(len(people)):
        average = means[method.clusters_ == method.clusters_[code]].mean(axis=0)
        assert np.abs(released[codes == code] - average).max() < 0.51
    everybody = KSamePixel(10).fit(faces.images, identity=faces.identity)
    assert np.abs(everybody.transform(faces.images) - means.mean(axis=0)).max() < 0.51


def test_all_eigenfaces_are_the_pixels(faces, labels):
    seen, known = labels
    pixel = KSamePixel(3).fit(faces.images[seen], **known)
    eigen = KSameEigen(3).fit(faces.images[seen], **known)
    np.testing.assert_array_equal(eigen.clusters_, pixel.clusters_)
    difference = eigen.transform(faces.images[seen]).astype(int) - pixel.transform(
        faces.images[seen]
    )
    assert np.abs(difference).max() <= 1
    few = KSameEigen(3, n_components=0.5).fit(faces.images[seen], **known)
    assert few.components_.explained_variance_ratio_.sum() >= 0.5
    assert few.gallery_.shape[1] < 7


def test_unseen_people_become_their_nearest_faces(faces, labels):
    seen, known = labels
    method = KSamePixel(3).fit(faces.images[seen], **known)
    stranger = faces.images[~seen][:1]
    distances = np.linalg.norm(method.gallery_ - stranger.reshape(1, -1), axis=1)
    average = method.gallery_[np.argsort(distances)[:3]].mean(axis=0)
    assert np.abs(method.transform(stranger).ravel() - average).max() < 0.51


def test_select_averages_inside_the_class(faces):
    gender = faces.attributes["gender"].to_numpy()
    # Colour is the class: an average across classes would be neither black nor white.
    images = np.where((gender == gender[0])[:, None, None, None], 0, 255) + np.zeros(
        faces.images.shape
    )
    images = np.clip(images + faces.images / 16 * np.where(images > 0, -1, 1), 0, 255)
    images = images.astype(np.uint8)
    for labels in ({"attributes": gender}, {"y": gender}):
        method = KSameSelect(3).fit(images[:90], **{k: v[:90] for k, v in labels.items()})
        released = method.transform(images)  # ten of them unseen
        bright = released.mean(axis=(1, 2, 3)) > 127
        np.testing.assert_array_equal(bright, gender != gender[0])
        assert ((released < 20) | (released > 235)).all()


def test_a_person_in_two_classes_has_two_faces(faces):
    smile = np.arange(100) % 2
    method = KSameSelect(4).fit(faces.images, smile, identity=faces.identity)
    assert len(method.gallery_) == 20
    assert np.bincount(method.clusters_).tolist() == [4, 6, 4, 6]


def test_images_without_labels_stay_out_of_the_gallery(faces):
    identity = pd.factorize(faces.identity)[0]
    identity[identity == 0] = -1
    assert len(KSamePixel(3).fit(faces.images, identity=identity).gallery_) == 9
    smile = (np.arange(100) % 2).astype(object)
    smile[identity == 1] = None
    method = KSameSelect(3).fit(faces.images, smile, identity=identity)
    assert len(method.gallery_) == 16
    assert method.transform(faces.images).shape == faces.images.shape


def test_too_few_people(faces):
    images, identity = faces.images, faces.identity
    with pytest.raises(InvalidLabelsError, match="k=11: the gallery has 10; expected at least 11"):
        KSamePixel(11).fit(images, identity=identity)
    mood = pd.DataFrame({"mood": np.where(np.arange(100) < 95, "glad", "sad")})
    with pytest.raises(InvalidLabelsError, match=r"k=6: mood=sad has 5; .* or lower k"):
        KSameSelect(6).fit(images, attributes=mood)
    with pytest.raises(InvalidLabelsError, match="neither attributes nor y"):
        KSameSelect(2).fit(images, identity=identity)
    with pytest.raises(InvalidLabelsError, match="identity has 5 entries for 100 images"):
        KSamePixel(2).fit(images, identity=identity[:5])
    with pytest.raises(InvalidLabelsError, match=r"10 people .* n_components=11; .* at most 10"):
        KSameEigen(2, n_components=11).fit(images, identity=identity)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (GaussianBlur(-1), "sigma=-1; expected a finite number of at least 0"),
        (GaussianBlur(np.nan), "sigma=nan; expected a finite number"),
        (BoxBlur(1.5), "radius=1.5; expected an integer of at least 0"),
        (Pixelate(0), "block=0; expected an integer of at least 1"),
        (Pixelate(True), "block=True; expected an integer"),
        (GaussianNoise("much"), "standard_deviation='much'; expected a finite number"),
        (MaskEyes(0.5, bottom=0.4), r"top=0.5, bottom=0.4, .*; expected top < bottom"),
        (MaskMouth(left=-1, right=2), r"left=-1; expected a number in \[0, 1\]\. right=2"),
        (
            DPPixelate(0, block=0, m=0.5),
            r"epsilon=0; .* in \(0, inf\]\. block=0; .* m=0.5; expected an int",
        ),
        (DPBlur(sigma=-2), "sigma=-2"),
        (KSamePixel(0), "k=0; expected an integer of at least 1"),
        (KSameEigen(0, n_components=1.5), "k=0; .* n_components=1.5; expected None, an integer"),
    ],
    ids=repr,
)
def test_parameters_out_of_range(method, message, faces):
    with pytest.raises(ValueError, match=message):
        method.fit(faces.images)
