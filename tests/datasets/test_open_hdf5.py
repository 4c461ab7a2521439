"""HDF5 files of images: what opens, how it goes through estimators, and what is refused."""

import pickle
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from skcnn import CNNClassifier, CNNFeatureExtractor
from skcnn.datasets import open_hdf5, pack_hdf5
from skcnn.exceptions import ImageReadError
from skcnn.features import RawPixels, extract
from skcnn.images import ImageSequence
from skcnn.images._hdf5 import Hdf5Dataset

LABELS = np.array(["cat", "dog"] * 6)


@pytest.fixture
def photos(photo):
    return np.stack([photo(16, 16, seed=seed) for seed in range(12)])


@pytest.fixture
def packed(photos, tmp_path):
    return pack_hdf5(photos, LABELS, tmp_path / "pets.hdf5", size=None)


@pytest.fixture
def layout(tmp_path):
    """Return a function that writes a file with some data sets."""

    def write(**datasets):
        with h5py.File(tmp_path / "other.hdf5", "w") as file:
            for name, values in datasets.items():
                file[name] = values
        return tmp_path / "other.hdf5"

    return write


@pytest.fixture
def reads(monkeypatch):
    """Return the names of the data sets whose rows are read."""
    read = []
    original = Hdf5Dataset.read
    monkeypatch.setattr(Hdf5Dataset, "read", lambda self, key: read.append(self.name) or original(self, key))
    return read


def test_images_are_those_that_were_packed(packed, photos):
    data = open_hdf5(packed.images.sources.rows._dataset.path)
    assert isinstance(data.images, ImageSequence)
    np.testing.assert_array_equal(np.asarray(data.images), photos)
    np.testing.assert_array_equal(data.images[3], photos[3])
    np.testing.assert_array_equal(np.asarray(data.images[[5, 1]]), photos[[5, 1]])
    np.testing.assert_array_equal(np.asarray(data.images[LABELS == "dog"]), photos[1::2])
    assert data.labels.tolist() == LABELS.tolist()
    assert data.target_names.tolist() == ["cat", "dog"]


def test_means(packed, photos):
    np.testing.assert_allclose(packed.pixel_means, photos.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(packed.channel_means, photos.mean(axis=(0, 1, 2)), rtol=1e-12)


def test_a_pickle_holds_a_name_and_positions(packed, photos):
    half = train_test_split(packed.images, test_size=0.5, random_state=0)[0]
    data = pickle.dumps(half)
    assert len(data) < 2000
    np.testing.assert_array_equal(np.asarray(pickle.loads(data)), np.asarray(half))


def test_features_are_those_of_the_same_array_and_found_without_reading_images(
    packed, photos, tiny_model, run_sizes, reads
):
    extractor = CNNFeatureExtractor(tiny_model, input_size=(16, 16))
    features = extractor.fit_transform(photos)
    np.testing.assert_array_equal(extractor.fit_transform(packed.images), features)
    run_sizes.clear()
    reads.clear()
    np.testing.assert_array_equal(extractor.fit_transform(packed.images), features)
    np.testing.assert_array_equal(extractor.fit_transform(packed.images[::-2]), features[::-2])
    assert not run_sizes
    assert set(reads) == {"digests"}


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_searches_and_scores_are_those_of_the_array(packed, photos, tiny_model, n_jobs):
    def scores(images):
        pipe = make_pipeline(CNNFeatureExtractor(tiny_model, input_size=(16, 16)), LogisticRegression())
        search = GridSearchCV(pipe, {"logisticregression__C": [0.1, 1]}, cv=2, n_jobs=n_jobs).fit(images, LABELS)
        return search.cv_results_["mean_test_score"].tolist(), cross_val_score(pipe, images, LABELS, cv=3).tolist()

    assert scores(packed.images) == scores(photos)


def test_images_of_the_size_wanted_are_trained_on_where_they_are(packed, photos, private_cache, reads):
    def probabilities(images):
        clf = CNNClassifier("shallownet", input_size=(16, 16), epochs=2, batch_size=4, random_state=0)
        return clf.fit(images, LABELS).predict_proba(images)

    of_file = probabilities(packed.images)
    assert "images" in reads
    assert not [*private_cache.rglob("*.h5")]
    np.testing.assert_allclose(of_file, probabilities(photos), rtol=1e-5)


@pytest.mark.parametrize("in_memory", [False, True])
def test_pixels_that_need_no_change_are_not_stored_again(packed, photos, private_cache, in_memory):
    pixels = extract(packed.images[2:7], RawPixels((16, 16, 3)), in_memory=in_memory)
    assert pixels.shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(pixels[[4, 0]], photos[[6, 2]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pixels))[:], photos[2:7])
    assert not private_cache.exists()


def test_pixels_of_another_size_are_resized(packed, photos):
    wanted = extract(photos, RawPixels((10, 12, 3)), None)[:]
    np.testing.assert_array_equal(extract(packed.images, RawPixels((10, 12, 3)))[:], wanted)


def test_an_image_that_was_changed_in_the_file_is_refused(packed, tiny_model, tmp_path):
    with h5py.File(tmp_path / "pets.hdf5", "r+") as file:
        file["images"][4, 2, 3] += 1
    data = open_hdf5(tmp_path / "pets.hdf5")
    with pytest.raises(ImageReadError, match=r"pets.hdf5\[4\], made of .*: its pixels are not those that were packed"):
        CNNFeatureExtractor(tiny_model, input_size=(16, 16)).fit_transform(data.images)


def test_a_file_that_was_replaced_is_opened_again(packed, photos, tmp_path):
    waiting = pickle.loads(pickle.dumps(packed.images))
    packed.images.load()
    time.sleep(0.01)
    pack_hdf5(photos[::-1], LABELS, tmp_path / "pets.hdf5", size=None, overwrite=True)
    with pytest.raises(ImageReadError, match="was changed after it was opened; open it again"):
        waiting.load()
    np.testing.assert_array_equal(packed.images[0], photos[0])  # they were mapped before


@pytest.mark.parametrize("options", [{}, {"chunks": True}, {"compression": "gzip"}])
def test_files_of_floats_in_bgr(photos, tmp_path, options, private_cache):
    """As the field's books write them."""
    with h5py.File(tmp_path / "train.hdf5", "w") as file:
        file.create_dataset("images", data=photos[..., ::-1].astype(np.float64), **options)
        file["labels"] = np.arange(12) % 2
    data = open_hdf5(tmp_path / "train.hdf5", channels="bgr")
    images = np.asarray(data.images[[3, 0, 3]])
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, photos[[3, 0, 3]])
    assert data.labels.tolist() == [0, 1] * 6
    np.testing.assert_array_equal(extract(data.images, RawPixels((16, 16, 3)))[:], photos)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_grey_images(photos, layout, channels):
    data = open_hdf5(layout(images=photos[..., 0]), channels=channels)
    assert data.images[0].shape == (16, 16, 1)
    assert data.labels is None
    np.testing.assert_array_equal(np.asarray(data.images)[..., 0], photos[..., 0])


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ([1, 0] * 6, ["cat", "dog"], ["dog", "cat"] * 6),
        ([3, 5] * 6, None, [3, 5] * 6),
        (["a", "é"] * 6, None, ["a", "é"] * 6),
        ([[3], [5]] * 6, None, [3, 5] * 6),
    ],
)
def test_labels(photos, layout, labels, names, expected):
    assert open_hdf5(
        layout(images=photos, labels=labels, **({"label_names": names} if names else {}))
    ).labels.tolist() == (expected)


def test_opacity_stays_last_in_bgr(photos, layout):
    opaque = np.full((12, 16, 16, 1), 255, np.uint8)
    data = open_hdf5(layout(images=np.concatenate([photos[..., ::-1], opaque], axis=3)), channels="bgr")
    np.testing.assert_array_equal(np.asarray(data.images), photos)


def test_a_group_for_each_class_in_bgr(photo, tmp_path):
    with h5py.File(tmp_path / "groups.hdf5", "w") as file:
        file["cats/a"], file["cats/grey"] = photo(8, 9)[..., ::-1], photo(8, 9)[..., 0]
        file["cats"].attrs["label"] = "cat"
    colour, grey = open_hdf5(tmp_path / "groups.hdf5", channels="bgr").images.load()
    np.testing.assert_array_equal(colour, photo(8, 9))
    np.testing.assert_array_equal(grey[..., 0], photo(8, 9)[..., 0])


@pytest.mark.parametrize("attribute", ["label", "name"])
def test_a_group_for_each_class(photo, tmp_path, attribute):
    wanted = {"cats/black/a": photo(8, 9), "cats/b": photo(10, 12, seed=1), "dogs/c": photo(9, 9, seed=2)}
    with h5py.File(tmp_path / "groups.hdf5", "w") as file:
        for name, pixels in wanted.items():
            file[name] = pixels
        file["cats"].attrs[attribute], file["dogs"].attrs[attribute] = "cat", "dog"
    data = open_hdf5(tmp_path / "groups.hdf5")
    assert {name.strip("/"): label for name, label in zip(data.names, data.labels, strict=True)} == {
        "cats/black/a": "cat",
        "cats/b": "cat",
        "dogs/c": "dog",
    }
    assert sorted(data.subclasses) == ["", "", "black"]
    for name, image in zip(data.names, pickle.loads(pickle.dumps(data.images))[:].load(), strict=True):
        np.testing.assert_array_equal(image, wanted[name.strip("/")])


def write_garbage(path):
    path.write_bytes(b"no HDF5" * 100)


def cut_short(path):
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((50, 30, 30, 3), np.uint8)
    path.write_bytes(path.read_bytes()[:-40_000])


def write_other_layout(path):
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros((5, 7), np.float32)


def write_other_shape(path):
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((5, 7), np.float32)


def write_too_few_labels(path):
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = np.zeros((5, 7, 7, 3), np.uint8), [0, 1]


def write_one_hot(path):
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = np.zeros((2, 7, 7, 3), np.uint8), np.eye(2)


def write_labels_without_names(path):
    with h5py.File(path, "w") as file:
        file["images"], file["labels"], file["label_names"] = np.zeros((2, 7, 7, 3), np.uint8), [0, 7], ["a", "b"]


def write_link(path):
    write_other_layout(path.with_name("secret.hdf5"))
    with h5py.File(path, "w") as file:
        file["images"] = h5py.ExternalLink("secret.hdf5", "features")


def write_external(path):
    path.with_name("secret").write_bytes(bytes(147))
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (1, 7, 7, 3), np.uint8, external=[("secret", 0, 147)])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_garbage, "is no HDF5 file"),
        (cut_short, "is cut short"),
        (write_other_layout, r"has no layout that is known.*features: float32 of shape \(5, 7\)"),
        (write_other_shape, r"'images' .* is float32 of shape \(5, 7\); expected numbers of shape"),
        (write_too_few_labels, "has 2 labels for 5 images"),
        (write_one_hot, r"expected one label for each image, \(n_images,\). Of one-hot rows, argmax"),
        (write_labels_without_names, r"has labels without a name: \[7\]; 'label_names' has 2"),
        (write_link, "'images' is"),
        (write_external, "keeps 'images' in other files, which are not read"),
    ],
)
def test_files_that_are_refused(tmp_path, write, message):
    write(tmp_path / "bad.hdf5")
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        open_hdf5(tmp_path / "bad.hdf5")
    assert str(tmp_path / "bad.hdf5") in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file: no 'none.hdf5'"):
        open_hdf5(tmp_path / "none.hdf5")


def test_a_file_that_another_process_writes_to(tmp_path):
    program = """
import h5py, sys
with h5py.File(sys.argv[1], "w") as file:
    file["images"] = [0]
    print("open", flush=True)
    sys.stdin.readline()
"""
    path = tmp_path / "writing.hdf5"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(BlockingIOError, match="is being written by another process"):
            open_hdf5(path)
        writer.communicate("\n", timeout=60)
