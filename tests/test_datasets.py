"""Made-up faces are the known truth of the other tests; the readers never guess in silence."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from edials.datasets import (
    draw_factors,
    load_image_folder,
    load_lfw,
    load_mtf,
    load_utkface,
    make_faces,
    render_faces,
)
from edials.exceptions import InvalidImageError, InvalidLabelsError, UnreadableImageError
from edials.images import read_image, read_images


@pytest.fixture(scope="module")
def faces():
    return make_faces(n_people=20, images_per_person=3, size=32, random_state=0)


@pytest.fixture(scope="module")
def crowd():
    """Enough pictures to learn from: 36 people, 24 each."""
    return make_faces(n_people=36, images_per_person=24, size=32, random_state=0)


# --- made-up faces: the contract -----------------------------------------------------------------


def test_shapes_and_kinds(faces):
    assert faces.images.shape == (60, 32, 32, 3)
    assert faces.images.dtype == np.uint8
    assert faces.identity.tolist()[:4] == ["person_0000"] * 3 + ["person_0001"]
    assert list(faces.attributes.columns) == ["age", "gender", "race"]
    assert len(faces.attributes) == len(faces.nuisance) == 60
    assert faces.factors.shape[0] == 20
    assert faces.factors.shape[1] >= 20
    assert list(faces.factors.index) == sorted(set(faces.identity))


def test_attributes_belong_to_people(faces):
    per_person = faces.attributes.groupby(faces.identity).nunique()
    assert (per_person == 1).all().all()


@pytest.mark.parametrize(("size", "larger"), [(32, 64), (32, 128), (48, 96), (64, 256)])
def test_a_picture_looks_the_same_at_every_size(size, larger):
    small = make_faces(n_people=4, images_per_person=2, size=size, random_state=0).images
    large = make_faces(n_people=4, images_per_person=2, size=larger, random_state=0).images
    times = larger // size
    shrunk = large.reshape(8, size, times, size, times, 3).mean(axis=(2, 4))
    assert np.abs(shrunk - small).mean() < 6  # of 255 levels, mostly sensor noise


def test_equal_seeds_agree_and_others_differ(faces):
    again = make_faces(n_people=20, images_per_person=3, size=32, random_state=0)
    other = make_faces(n_people=20, images_per_person=3, size=32, random_state=1)
    np.testing.assert_array_equal(again.images, faces.images)
    pd.testing.assert_frame_equal(again.attributes, faces.attributes)
    assert np.abs(other.images.astype(int) - faces.images).mean() > 20


def test_random_state_instance_is_accepted():
    one = make_faces(
        n_people=2, images_per_person=1, size=32, random_state=np.random.RandomState(3)
    )
    two = make_faces(
        n_people=2, images_per_person=1, size=32, random_state=np.random.RandomState(3)
    )
    np.testing.assert_array_equal(one.images, two.images)


@pytest.mark.parametrize("random_state", [0, None])
def test_the_global_generator_is_untouched(random_state):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_faces(n_people=1, images_per_person=1, size=32, random_state=random_state)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_more_people_and_pictures_leave_the_first_as_they_are(faces):
    more = make_faces(n_people=22, images_per_person=5, size=32, random_state=0)
    first = np.tile(np.arange(5) < 3, 22) & (np.arange(110) < 100)
    np.testing.assert_array_equal(more.images[first], faces.images)


def test_attribute_cells_are_balanced():
    attributes = make_faces(n_people=40, images_per_person=1, size=32, random_state=0).attributes
    cells = attributes.groupby(["age", "gender", "race"]).size()
    assert len(cells) == 18
    assert cells.max() - cells.min() <= 1


def test_arguments_are_checked_all_at_once():
    with pytest.raises(ValueError, match=r"n_people=0: expected a positive integer.*size=50"):
        make_faces(n_people=0, size=50)


# --- made-up faces: the known truth --------------------------------------------------------------


def test_the_tables_draw_the_same_pictures_again(faces):
    tables = faces.factors.loc[faces.identity], faces.attributes, faces.nuisance
    np.testing.assert_array_equal(render_faces(*tables, size=32), faces.images)


def test_a_picture_does_not_depend_on_its_batch(faces):
    rows = [41, 7, 30]
    factors = faces.factors.loc[faces.identity[rows]]
    few = render_faces(factors, faces.attributes.iloc[rows], faces.nuisance.iloc[rows], size=32)
    np.testing.assert_array_equal(few, faces.images[rows])


def test_factors_are_standard_normal():
    factors = draw_factors(400, random_state=0)
    assert np.abs(factors.mean()).max() < 0.25
    assert np.abs(factors.std() - 1).max() < 0.2


def test_every_factor_shows():
    # Some factors show on some people only (beards, freckles), hence eighteen of them.
    faces = make_faces(n_people=18, images_per_person=1, size=32, random_state=0)
    tables = faces.attributes, faces.nuisance
    for name in faces.factors:
        low, high = faces.factors.copy(), faces.factors.copy()
        low[name], high[name] = -2.0, 2.0
        change = render_faces(low, *tables, size=32) != render_faces(high, *tables, size=32)
        assert change.any(), f"{name} moves no pixel"


def test_render_faces_lists_all_faults(faces):
    wrong = faces.attributes.replace("older", "ancient").drop(columns="race")
    with pytest.raises(
        ValueError, match=r"attributes lacks .*'race'.*20, 60 and 60 rows.*'ancient'"
    ):
        render_faces(faces.factors, wrong, faces.nuisance)


def _recogniser():
    return make_pipeline(PCA(60, random_state=0), LinearDiscriminantAnalysis())


def _rows(images):
    return images.reshape(len(images), -1).astype(np.float32) / 255


def test_people_are_recognised_by_learning_and_not_by_pixels(crowd):
    rows, take = _rows(crowd.images), np.tile(np.arange(24), 36)
    enrol, probe = take < 16, take >= 16
    learned = _recogniser().fit(rows[enrol], crowd.identity[enrol])
    nearest = KNeighborsClassifier(1).fit(rows[enrol], crowd.identity[enrol])
    learned_score = learned.score(rows[probe], crowd.identity[probe])
    nearest_score = nearest.score(rows[probe], crowd.identity[probe])
    assert nearest_score < 0.45
    assert learned_score > 0.65
    assert learned_score > nearest_score + 0.3


@pytest.mark.parametrize(
    ("attribute", "chance"), [("age", 1 / 3), ("gender", 1 / 2), ("race", 1 / 3)]
)
def test_attributes_show_on_other_people(crowd, attribute, chance):
    scores = cross_val_score(
        _recogniser(),
        _rows(crowd.images),
        crowd.attributes[attribute],
        groups=crowd.identity,
        cv=GroupKFold(6),
    )
    assert scores.mean() > chance + 0.15


def test_fresh_factors_leave_the_attributes_alone(crowd):
    """Same attributes, pose and light, other people: the known truth of a perfect anonymizer."""
    enrol = np.tile(np.arange(24), 36) < 16
    recogniser = _recogniser().fit(_rows(crowd.images)[enrol], crowd.identity[enrol])
    fresh = draw_factors(36, random_state=1).set_index(crowd.factors.index)
    nuisance, attributes = crowd.nuisance[~enrol], crowd.attributes[~enrol]
    strangers = render_faces(fresh.loc[crowd.identity[~enrol]], attributes, nuisance, size=32)
    share = recogniser.score(_rows(strangers), crowd.identity[~enrol])
    # Two people share each of the eighteen cells: more than half right is not to be had.
    assert share < 0.5


# --- readers -------------------------------------------------------------------------------------


@pytest.fixture
def people_folder(tmp_path, faces):
    """Three people, two pictures each, in LFW's layout."""
    for row in (0, 1, 3, 4, 6, 7):
        folder = tmp_path / "people" / f"Some_{faces.identity[row]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[row]).save(folder / f"{folder.name}_{row:04d}.png")
    (tmp_path / "people" / "notes.txt").write_text("not a picture")
    (tmp_path / "people" / ".hidden.png").write_text("not a picture either")
    return tmp_path / "people"


@pytest.fixture
def people_zip(tmp_path, people_folder):
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        for file in people_folder.rglob("Some_*/*.png"):
            archive.write(file, file.relative_to(people_folder))
    return tmp_path / "people.zip"


NAMES = ["Some_person_0000", "Some_person_0001", "Some_person_0002"]


def test_folder_keeps_paths_by_default(people_folder):
    data = load_image_folder(people_folder)
    assert "images" not in data
    assert data.identity.tolist() == sorted(NAMES * 2)
    assert data.paths.dtype.kind == "U"
    assert [Path(path).parent.name for path in data.paths] == data.identity.tolist()
    assert data.attributes.shape == (6, 0)


def test_folder_reads_pictures_on_request(people_folder, faces):
    data = load_image_folder(people_folder, size=32)
    np.testing.assert_array_equal(data.images, faces.images[[0, 1, 3, 4, 6, 7]])


def test_folder_with_a_row_per_person(people_folder):
    labels = pd.DataFrame({"identity": NAMES, "age": ["young", None, "older"]})
    data = load_image_folder(people_folder, labels=labels)
    assert data.attributes["age"].isna().tolist() == [False, False, True, True, False, False]


def test_flat_folder_with_a_table(tmp_path, faces):
    for row in (0, 1):
        Image.fromarray(faces.images[row]).save(tmp_path / f"{row}.png")
    (tmp_path / "labels.csv").write_text(
        "file,identity,gender,split\n1.png,Nan,female,probe\n0.png,,male,enrol\n"
    )
    data = load_image_folder(tmp_path, labels=tmp_path / "labels.csv", size=16)
    assert data.files.tolist() == ["1.png", "0.png"]
    assert data.identity.tolist() == ["Nan", None]
    assert data.split.tolist() == ["probe", "enrol"]
    assert list(data.attributes.columns) == ["gender"]
    assert data.images.shape == (2, 16, 16, 3)


def test_flat_folder_without_a_table(tmp_path, faces):
    Image.fromarray(faces.images[0]).save(tmp_path / "0.png")
    with pytest.raises(InvalidLabelsError, match=r"Nobody is named: '0\.png'.*labels= with"):
        load_image_folder(tmp_path)


def test_folders_without_a_row(people_folder):
    labels = pd.DataFrame({"identity": [NAMES[0], NAMES[0]], "age": ["young", "older"]})
    with pytest.raises(InvalidLabelsError, match="several rows in labels: 'Some_person_0000'"):
        load_image_folder(people_folder, labels=labels)
    with pytest.warns(UserWarning, match=r"2 folders without a row in labels: .*0001.*0002"):
        data = load_image_folder(people_folder, labels=labels[:1])
    assert data.attributes["age"].notna().mean() == pytest.approx(1 / 3)
    strangers = pd.DataFrame({"identity": ["nobody"], "age": ["young"]})
    with pytest.raises(InvalidLabelsError, match="labels names 'nobody', but the folders are"):
        load_image_folder(people_folder, labels=strangers)


def test_one_folder_name_in_two_places_is_no_person(people_folder):
    for person in NAMES[:2]:
        (people_folder / person / "2020").mkdir()
        picture = next((people_folder / person).glob("*.png"))
        picture.rename(people_folder / person / "2020" / picture.name)
    with pytest.raises(InvalidLabelsError, match="'2020' occurs at"):
        load_image_folder(people_folder)


def test_deep_greys_and_transparency(tmp_path):
    deep = np.full((32, 32), 40000, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == 156).all()
    hidden = np.zeros((32, 32, 4), np.uint8)
    hidden[..., 0] = 255
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    assert (read_image(tmp_path / "hidden.png") == 255).all()


def test_lfw_zip_equals_folder(people_zip, people_folder):
    zipped, unpacked = load_lfw(people_zip, size=16), load_lfw(people_folder, size=16)
    np.testing.assert_array_equal(zipped.images, unpacked.images)
    np.testing.assert_array_equal(zipped.identity, unpacked.identity)
    assert zipped.files.tolist() == unpacked.files.tolist()
    assert zipped.images.shape == (6, 16, 16, 3)


def test_lfw_reads_what_the_table_names(people_zip):
    labels = pd.DataFrame(
        {"file": [f"{NAMES[1]}/{NAMES[1]}_0004.png"], "gender": ["female"], "split": ["enrol"]}
    )
    data = load_lfw(people_zip, labels=labels, size=32)
    assert data.identity.tolist() == [NAMES[1]]
    assert data.split.tolist() == ["enrol"]
    assert list(data.attributes.columns) == ["gender"]


def test_files_of_the_table_that_are_not_there(people_zip):
    labels = pd.DataFrame({"file": ["a.png", "a.png", "a.png", None]})
    expected = r"1 rows without a file; files named twice: 'a\.png'; 1 files that are not there"
    with pytest.raises(InvalidLabelsError, match=expected):
        load_lfw(people_zip, labels=labels)


def test_table_without_a_key(people_zip):
    with pytest.raises(InvalidLabelsError, match=r"has the columns \['gender'\]\. Expected 'file'"):
        load_lfw(people_zip, labels=pd.DataFrame({"gender": ["male"]}))


def test_a_table_written_with_its_index(people_folder, tmp_path):
    pd.DataFrame({"identity": NAMES, "age": "young"}).to_csv(tmp_path / "labels.csv")
    with pytest.raises(InvalidLabelsError, match=r"\['Unnamed: 0'\].*index=False"):
        load_image_folder(people_folder, labels=tmp_path / "labels.csv")


@pytest.mark.parametrize("zipped", [False, True])
def test_all_broken_pictures_are_named(people_folder, tmp_path, zipped):
    for row in (0, 3):
        next(people_folder.rglob(f"*_{row:04d}.png")).write_bytes(b"broken")
    source = people_folder
    if zipped:
        source = shutil.make_archive(str(tmp_path / "broken"), "zip", people_folder)
    with pytest.raises(
        UnreadableImageError, match=r"2 of 6 pictures could not be read: .*0000_0000.*0001_0003"
    ):
        load_lfw(source)


def test_a_damaged_archive_names_its_member(people_zip):
    content = bytearray(people_zip.read_bytes())
    content[content.find(b"IDAT") + 20] ^= 255  # stored as it is: its checksum no longer fits
    people_zip.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"1 of 6 .*people\.zip.*0000_0001\.png.*CRC"):
        load_lfw(people_zip)


def test_pictures_of_two_sizes_need_a_size(people_folder):
    picture = next(people_folder.rglob("Some_*/*.png"))
    Image.open(picture).resize((48, 48)).save(picture)
    paths = sorted(people_folder.rglob("Some_*/*.png"))
    with pytest.raises(InvalidImageError, match=r"2 different sizes.*Give size="):
        read_images(paths)
    assert read_images(paths, 16).shape == (6, 16, 16, 3)


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"does not exist\. Expected a folder or a zip file"
    ):
        load_lfw(tmp_path / "nowhere")


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "table.csv").write_text("file\n")
    with pytest.raises(UnreadableImageError, match=r"is a file\. Expected a folder or a zip"):
        load_lfw(tmp_path / "table.csv")
    with pytest.raises(UnreadableImageError, match=r"unpack archives first"):
        load_image_folder(tmp_path / "table.csv")
    with pytest.raises(FileNotFoundError, match=r"Expected a folder\.$"):
        load_image_folder(tmp_path / "nowhere")


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"holds no pictures\. Expected files that end"):
        load_image_folder(tmp_path)


def test_utkface_names_are_taken_apart(tmp_path, faces):
    for name in ("26_1_2_20170116.jpg", "61_0_20170109142408075.jpg"):
        Image.fromarray(faces.images[0]).save(tmp_path / name)
    data = load_utkface(tmp_path, size=32)
    assert data.attributes["age_years"].tolist() == [26, 61]
    assert data.attributes["gender"].tolist() == ["female", "male"]
    assert data.attributes["race"][0] == "Asian"
    assert pd.isna(data.attributes["race"][1])
    assert data.identity.tolist() == [None, None]


def test_utkface_with_a_table(people_zip):
    labels = pd.DataFrame(
        {"file": [f"{NAMES[0]}/{NAMES[0]}_0001.png"], "age_years": [30], "gender": ["male"]}
    )
    data = load_utkface(people_zip, labels=labels)
    assert data.images.shape == (1, 64, 64, 3)
    assert data.identity.tolist() == [None]
    assert list(data.attributes.columns) == ["age_years", "gender"]


def test_utkface_names_that_say_nothing(people_folder):
    with pytest.raises(InvalidLabelsError, match=r"No file name of .* says an age"):
        load_utkface(people_folder)


@pytest.fixture
def mtf_folder(tmp_path, faces):
    """Two people, two pictures each; the last picture has no age."""
    places = {
        "Face Recognition": ["Ann", "Ann", "Bob", "Bob"],
        "MTF_Age": ["Old", "Old", "Young", None],
        "Gender": ["Female", "Female", "Male", "Male"],
        "race_images": ["Black", "Black", "White", "White"],
    }
    for task, classes in places.items():
        for row, (label, split) in enumerate(zip(classes, ["train", "test"] * 2, strict=True)):
            if label is not None:
                folder = tmp_path / "mtf" / task / split / label
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(faces.images[row]).save(folder / f"picture{row}.png")
    return tmp_path / "mtf"


def test_mtf_tasks_are_joined(mtf_folder):
    data = load_mtf(mtf_folder, size=32)
    table = data.attributes.assign(identity=data.identity, split=data.split)
    table.index = [file.rsplit("/")[-1] for file in data.files]
    assert table.loc["picture1.png"].tolist() == ["Old", "Female", "Black", "Ann", "test"]
    assert table.loc["picture2.png"].tolist() == ["Young", "Male", "White", "Bob", "train"]
    assert table["age"].isna().sum() == 1
    assert data.images.shape == (4, 32, 32, 3)


def test_mtf_without_identities(mtf_folder):
    with pytest.raises(InvalidLabelsError, match=r"no task folder for identity"):
        load_mtf(mtf_folder / "MTF_Age")


def test_mtf_file_names_must_be_unique(mtf_folder):
    file = next(mtf_folder.rglob("Bob/picture2.png"))
    file.rename(file.with_name("picture0.png"))
    with pytest.raises(InvalidLabelsError, match=r"repeat within the task 'identity': 'picture0"):
        load_mtf(mtf_folder)
