import io
import itertools
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from skcnn import ImageSequence
from skcnn.exceptions import ImageReadError
from skcnn.images import ResizeCrop, _inputs, as_image_sequence
from skcnn.images._inputs import is_pixel_array
from skcnn.images._sources import ArraySources, BytesSources, PathSources

PATHS = ["a.jpg", "b.jpg", "c.jpg"]

COLUMNS = {
    "list": list,
    "tuple": tuple,
    "list of Path": lambda paths: [Path(path) for path in paths],
    "mixed str and Path": lambda paths: [Path(paths[0]), *paths[1:]],
    "generator": lambda paths: (path for path in paths),
    "dict keys": lambda paths: dict.fromkeys(paths).keys(),
    "str array": np.array,
    "StringDType array": lambda paths: np.array(paths, np.dtypes.StringDType()),
    "object array": lambda paths: np.array(paths, object),
    "object array of Path": lambda paths: np.array([Path(path) for path in paths], object),
    "list of str_": lambda paths: list(np.array(paths)),
    "pandas Series": pd.Series,
    "pandas Series with an index": lambda paths: pd.Series(paths, index=[5, 3, 9][: len(paths)]),
    "pandas string Series": lambda paths: pd.Series(paths, dtype="string"),
    "pandas object Series": lambda paths: pd.Series(paths, dtype=object),
    "pandas category": lambda paths: pd.Series(paths, dtype="category"),
    "pandas Index": pd.Index,
    "polars Series": pl.Series,
    "pandas column": lambda paths: pd.DataFrame({"path": paths}),
    "polars column": lambda paths: pl.DataFrame({"path": paths}),
    "object column": lambda paths: np.array(paths, object).reshape(-1, 1),
    "str column": lambda paths: np.array(paths).reshape(-1, 1),
    "list of lists": lambda paths: [[path] for path in paths],
    "list of tuples": lambda paths: [(Path(path),) for path in paths],
}


def names(images):
    return [images.sources.name(index) for index in range(len(images))]


# Paths


@pytest.mark.parametrize("kind", COLUMNS)
def test_every_way_to_give_paths(kind):
    images = as_image_sequence(COLUMNS[kind](PATHS))
    assert isinstance(images, ImageSequence)
    assert isinstance(images.sources, PathSources)
    assert names(images) == PATHS
    assert {type(name) for name in names(images)} == {str}
    assert images.steps == ()


@pytest.mark.parametrize("kind", COLUMNS)
def test_every_way_to_give_one_path(kind):
    assert names(as_image_sequence(COLUMNS[kind](PATHS[:1]))) == PATHS[:1]


def test_a_sequence_is_taken_as_it_is():
    images = as_image_sequence(PATHS)
    assert as_image_sequence(images) is images


def test_nothing_is_read(image_paths, decodes):
    as_image_sequence(image_paths)
    as_image_sequence(["/nowhere/at/all.jpg"])
    assert not decodes


def test_addresses_and_paths_may_be_mixed():
    assert names(as_image_sequence(["s3://bucket/a.jpg", "b.jpg"])) == ["s3://bucket/a.jpg", "b.jpg"]


# Bytes


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize(
    "container", [list, tuple, lambda items: np.array(items, object), lambda items: [[i] for i in items]]
)
def test_encoded_images(kind, container, photo, encode):
    data = [encode(photo(seed=seed)) for seed in range(2)]
    if kind is not bytes and container not in (list, tuple):
        column = np.empty(2, object)
        column[:] = [kind(item) for item in data]
        images = as_image_sequence(column)
    else:
        images = as_image_sequence(container([kind(item) for item in data]))
    assert isinstance(images.sources, BytesSources)
    np.testing.assert_array_equal(images[1], photo(seed=1))
    assert images.read(0).data == data[0]


def test_encoded_images_are_copied(photo, encode):
    buffer = bytearray(encode(photo()))
    images = as_image_sequence([buffer])
    buffer[:] = bytes(len(buffer))
    np.testing.assert_array_equal(images[0], photo())


def test_polars_series_of_bytes(photo, encode):
    data = encode(photo())
    np.testing.assert_array_equal(as_image_sequence(pl.Series([data]))[0], photo())


# Arrays


@pytest.mark.parametrize("shape", [(2, 8, 9, 3), (2, 8, 9, 1), (2, 8, 9, 4), (2, 8, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool, np.int64])
def test_one_array(shape, dtype):
    X = np.ones(shape, dtype)
    images = as_image_sequence(X)
    assert isinstance(images.sources, ArraySources)
    assert len(images) == 2
    assert images[0].shape == (8, 9, 1 if len(shape) == 3 or shape[3] == 1 else 3)


@pytest.mark.parametrize("container", [list, tuple])
def test_arrays_of_several_sizes(container, photo):
    arrays = [photo(8, 9), photo(7, 5)[..., 0], np.dstack([photo(6, 6), np.full((6, 6), 255, np.uint8)])]
    images = as_image_sequence(container(arrays))
    assert [image.shape for image in images] == [(8, 9, 3), (7, 5, 1), (6, 6, 3)]
    np.testing.assert_array_equal(images[0], arrays[0])
    np.testing.assert_array_equal(images[2], arrays[2][..., :3])


def test_object_array_and_column_of_arrays(photo):
    arrays = np.empty(2, object)
    arrays[:] = [photo(8, 9), photo(7, 5)]
    for X in (arrays, arrays.reshape(-1, 1), [[array] for array in arrays], pd.Series(list(arrays))):
        assert [image.shape for image in as_image_sequence(X)] == [(8, 9, 3), (7, 5, 3)]


def test_nested_lists_of_pixels():
    images = as_image_sequence([[[[1, 2, 3], [4, 5, 6]]], [[[7, 8, 9], [4, 5, 6]]]])
    assert [image.shape for image in images] == [(1, 2, 3)] * 2
    assert images[1].tolist() == [[[7, 8, 9], [4, 5, 6]]]


def test_pillow_images(photo, encode):
    rgb = Image.fromarray(photo())
    palette = rgb.quantize(16)
    images = as_image_sequence(
        [rgb, rgb.convert("L"), palette, rgb.convert("CMYK"), rgb.convert("1"), rgb.convert("YCbCr")]
    )
    np.testing.assert_array_equal(images[0], photo())
    np.testing.assert_array_equal(images[1][..., 0], np.asarray(rgb.convert("L")))
    np.testing.assert_array_equal(images[2], np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(images[3], np.asarray(rgb.convert("CMYK").convert("RGB")))
    assert set(np.unique(images[4])) == {0, 255}
    assert np.abs(images[5].astype(int) - photo()).max() <= 4


def test_pillow_images_with_transparency(encode):
    rgba = Image.new("RGBA", (1, 1), (200, 100, 50, 128))
    grey = Image.new("LA", (1, 1), (200, 128))
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.info["transparency"] = 1
    images = as_image_sequence([rgba, grey, palette])
    assert [image.tolist() for image in images] == [
        [[[227, 177, 152]]],
        [[[227, 227, 227]]],
        [[[10, 20, 30], [255, 255, 255]]],
    ]


def test_pillow_images_of_wider_numbers():
    wide = Image.fromarray(np.array([[0, 300, 65535]], np.uint16))
    assert as_image_sequence([wide])[0][..., 0].tolist() == [[0, 1, 255]]
    for dtype in (np.int32, np.float32):
        images = as_image_sequence([wide, Image.fromarray(np.array([[0, 200]], dtype))])
        with pytest.raises(
            ImageReadError, match=r"\[1\] <Pillow image, mode ., 2 x 1>: .* range is not fixed; scale it"
        ):
            images[1]


def test_pillow_images_are_opened_but_not_loaded(tmp_path, photo, encode):
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(encode(photo(200, 300), "JPEG"))
    paths[1].write_bytes(paths[1].read_bytes()[:3000])
    opened = [Image.open(io.BytesIO(path.read_bytes())) for path in paths]
    for image, path in zip(opened, paths, strict=True):
        image.filename = str(path)  # as when it was opened by name
    images = as_image_sequence(opened)
    assert [image.tile == [] for image in opened] == [False] * 3
    match = (
        r"\[1\] <Pillow image of '.*1.jpg', mode RGB, 300 x 200>: the JPEG data is cut short or damaged \(image file"
    )
    with pytest.raises(ImageReadError, match=match):
        images.load()
    blank = images.with_step(ResizeCrop(8, 8)).with_on_error("nan").load()
    assert [bool(np.isnan(image).any()) for image in blank] == [False, True, False]


@pytest.mark.parametrize("name", ["turned.jpg", "colour.png", "deep.png", "deep.tiff", "grey.gif"])
def test_pillow_images_come_in_like_their_files(name, tmp_path, photo, with_exif):
    path = tmp_path / name
    options = {"turned.jpg": {"exif": with_exif(6)}, "colour.png": {"transparency": tuple(map(int, photo()[3, 4]))}}
    pixels = photo()[..., 0].astype(np.uint16) * 256 if "deep" in name else photo()
    Image.fromarray(pixels[..., 0] if "grey" in name else pixels).save(path, **options.get(name, {}))
    by_path = as_image_sequence([path])[0]
    with Image.open(path) as image:
        np.testing.assert_array_equal(as_image_sequence([image])[0], by_path)
        copied = pickle.loads(pickle.dumps(as_image_sequence([image])))
    if "deep" not in name:  # a copy has no format
        np.testing.assert_array_equal(copied[0], by_path)


def test_one_pillow_image_in_many_threads(photo, encode):
    image = Image.open(io.BytesIO(encode(photo(300, 400), "PNG")))
    loaded = as_image_sequence([image] * 40).load()
    assert all(np.array_equal(each, photo(300, 400)) for each in loaded)


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.zeros((2, 8, 9, 3), np.uint8), True),
        (np.zeros((2, 8, 9), np.float32), True),
        (np.zeros(2, object), False),
        (np.array(["a.jpg"]), False),
        ([np.zeros((8, 9, 3))], False),
        (as_image_sequence(PATHS), False),
    ],
)
def test_is_pixel_array(X, expected):
    assert is_pixel_array(X) is expected


# Refusals


def test_a_single_path():
    match = r"got the single path 'cat.jpg' instead of a sequence of images; for one image pass a list: \['cat.jpg'\]"
    for path in ("cat.jpg", Path("cat.jpg"), np.str_("cat.jpg")):
        with pytest.raises(ValueError, match=match):
            as_image_sequence(path)


def test_a_folder(image_folder):
    match = (
        r"got the folder '.*images' instead of images; skcnn\.find_images\('.*images'\) finds those in it, and "
        r"skcnn\.load_image_folder\('.*images'\) their labels"
    )
    for path in (image_folder, str(image_folder)):
        with pytest.raises(ValueError, match=match):
            as_image_sequence(path)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_single_encoded_image(kind):
    with pytest.raises(ValueError, match=r"got 3 encoded bytes .* pass a list: \[data\]"):
        as_image_sequence(kind(b"abc"))


@pytest.mark.parametrize("X", [None, 3, 2.5, {"a.jpg": 1}, {"a.jpg"}, object()])
def test_no_sequence(X):
    with pytest.raises(
        ValueError, match=rf"got {type(X).__name__} instead of images; expected a list or array of paths"
    ):
        as_image_sequence(X)


@pytest.mark.parametrize("shape", [(8, 9, 3), (8, 9, 1), (8, 9, 4)])
def test_a_single_array(shape):
    with pytest.raises(
        ValueError, match=r"got a single image of shape \(8, 9, .\); for one image pass X\[np.newaxis\]"
    ):
        as_image_sequence(np.zeros(shape))


@pytest.mark.parametrize("shape", [(5,), (5, 64), (2, 3, 8, 9), (2, 8, 9, 3, 1), ()])
def test_an_array_of_another_shape(shape):
    with pytest.raises(
        ValueError, match=r"got an array of shape \(.*\(n_images, height, width, 1 \| 3 \| 4\).*Reshape"
    ):
        as_image_sequence(np.zeros(shape))


def test_numeric_columns():
    with pytest.raises(ValueError, match=r"got an array of shape \(2, 2\)"):
        as_image_sequence(pd.DataFrame({"a": [1, 2], "b": [3, 4]}))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_more_than_one_column(make):
    match = r"got a table with the columns 'label', 'path'; give the one with the images: X\['path'\]"
    with pytest.raises(ValueError, match=match):
        as_image_sequence(make({"label": ["cat", "dog"], "path": ["a.jpg", "b.jpg"]}))
    with pytest.raises(
        ValueError, match=r"got a object array of shape \(2, 2\); paths come as \(n,\) or as one column"
    ):
        as_image_sequence(make({"label": ["cat", "dog"], "number": ["1", "2"]}))


def test_what_loaders_return():
    data = Bunch(paths=["a.jpg"], labels=["cat"])
    with pytest.raises(
        ValueError, match=r"got a Bunch.*give what it has by name: data\['paths'\], and as y data\['labels'\]"
    ):
        as_image_sequence(data)
    with pytest.raises(ValueError, match=r"data\['images'\], and as y data\['target'\]"):
        as_image_sequence(load_digits())
    with pytest.raises(ValueError, match="got dict instead of images; expected a list"):
        as_image_sequence({"a": 1})


def test_a_generator_that_was_used_before():
    paths = (path for path in ["a.jpg"])
    as_image_sequence(paths)
    with pytest.raises(ValueError, match="found 0 images: the generator is empty.*make a list of it first"):
        as_image_sequence(paths)


def test_text_array_of_several_columns():
    with pytest.raises(ValueError, match=r"got a <U5 array of shape \(2, 2\); paths come as"):
        as_image_sequence(np.array([["a.jpg", "b.jpg"]] * 2))


@pytest.mark.parametrize("dtype", ["S5", complex, "M8[s]"])
def test_an_array_of_another_dtype(dtype):
    advice = (
        r" \(it cuts trailing zero bytes off images: pass a list of bytes, or paths as str\)" if dtype == "S5" else ""
    )
    with pytest.raises(ValueError, match=rf"got an array of dtype .*{advice}; expected a list or array of paths"):
        as_image_sequence(np.zeros(3, dtype))


@pytest.mark.parametrize(
    "X",
    [
        [],
        (),
        np.array([]),
        np.array([], str),
        np.array([], object),
        np.zeros((0, 8, 8, 3)),
        np.zeros((2, 0, 8, 3)),
        pd.Series([], dtype=object),
        pl.Series([], dtype=pl.String),
        as_image_sequence(PATHS)[:0],
    ],
    ids=lambda X: type(X).__name__,
)
def test_no_images(X):
    with pytest.raises(ValueError, match=r"found 0 images: the \w+.* is empty, and at least one image is required"):
        as_image_sequence(X)


def test_every_odd_item_is_named():
    items = ["a.jpg", b"data", "b.jpg", 7, "c.jpg", None, np.zeros((2, 2, 3)), float("nan")]
    with pytest.raises(ValueError, match="the images are of several kinds; most are given as path") as caught:
        as_image_sequence(items)
    message = str(caught.value)
    for name in ("[1] bytes b'data'", "[3] int 7", "[5] NoneType None", "[6] ndarray array(", "[7] float nan"):
        assert name in message
    for index in (0, 2, 4):
        assert f"[{index}]" not in message


@pytest.mark.parametrize("make", [pd.Series, pl.Series, lambda items: np.array(items, object), list])
def test_missing_paths_are_named(make):
    with pytest.raises(ValueError, match=r"most are given as path, but not these: \[1\] \w+ (None|nan)$"):
        as_image_sequence(make(["a.jpg", None, "b.jpg"]))


def test_items_that_are_no_images():
    with pytest.raises(
        ValueError, match=r"these items are no images: \[0\] int 1, \[1\] int 2; expected a list or array"
    ):
        as_image_sequence([1, 2])
    with pytest.raises(ValueError, match=r"these items are no images: \[0\] list \[1, 2\]"):
        as_image_sequence([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match=r"these items are no images: \[0\] list \[\[1, 2\], \[3\]\]"):
        as_image_sequence([[[1, 2], [3]]])


def test_twenty_are_named_and_the_rest_counted():
    with pytest.raises(ValueError, match=r"\[19\] int 19 and 5 more; expected"):
        as_image_sequence(list(range(25)))


def test_long_items_are_shortened():
    with pytest.raises(ValueError, match=r"\[1\] bytes b'x+\.\.\.$"):
        as_image_sequence(["a.jpg", b"x" * 10_000, "b.jpg"])


# What does not end, and what yields batches -----------------------------------------------------------------------------


def endless(item):
    return (item for _ in itertools.count())


def test_a_generator_of_images_is_taken():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    assert len(as_image_sequence(image for image in images)) == 3


def test_iterators_that_do_not_end(monkeypatch):
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="a generator yields more images than the 5 labels in y; give a list"):
        as_image_sequence(endless(image), 5)
    monkeypatch.setattr(_inputs, "MOST_BYTES", 10 * image.nbytes)
    with pytest.raises(ValueError, match=r"a generator has yielded 11 images .* and goes on; give paths"):
        as_image_sequence(endless(image))
    monkeypatch.setattr(_inputs, "MOST_ITEMS", 7)
    with pytest.raises(ValueError, match="a generator has yielded 8 images"):
        as_image_sequence(endless("a.png"))

    class Endless:
        def __len__(self):
            return 3

        def __iter__(self):
            return endless(image)

    with pytest.raises(ValueError, match="an? Endless yields more images than its length of 3"):
        as_image_sequence(Endless())


BATCH = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    "item", [(BATCH, np.zeros(2)), (BATCH, np.zeros(2), np.ones(2)), BATCH], ids=["xy", "xyw", "x"]
)
def test_generators_of_batches(item):
    with pytest.raises(
        ValueError, match=r"got a generator of batches; .* fit\(images, labels\) with one image for each"
    ):
        as_image_sequence(endless(item))


def test_data_sets_of_keras_and_tensorflow(tmp_path):
    import tensorflow as tf
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    match = r"which yields batches; images and labels are passed apart .* fit\(paths, labels\). .*load_image_folder"
    with pytest.raises(ValueError, match=f"got tensorflow's .*Dataset, {match}"):
        as_image_sequence(tf.data.Dataset.from_tensor_slices(BATCH))
    with pytest.raises(ValueError, match=rf"got keras's DirectoryIterator, {match}\('{tmp_path}'\)"):
        as_image_sequence(ImageDataGenerator().flow_from_directory(tmp_path, target_size=(8, 8)))
    np.testing.assert_array_equal(as_image_sequence(tf.constant(BATCH)), BATCH)
