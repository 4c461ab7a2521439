import io
import os
import pickle
import sys

import numpy as np
import pytest

from skcnn.cache._digests import DigestMemo, digest_array, digest_bytes
from skcnn.exceptions import ImageReadError, PreprocessingError
from skcnn.images import _sources
from skcnn.images._sources import (
    ArraySources,
    BytesSources,
    PathSources,
    absolute,
    check_pixels,
    is_url,
    read_bounded,
    read_file,
)


def objects(*items):
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        array[index] = item
    return array


@pytest.fixture
def three_sources(write_image, photo):
    """Return the same three images as paths, as bytes and as arrays of two kinds."""
    pixels = [photo(10, 12, seed=seed) for seed in range(3)]
    paths = [write_image(f"{seed}.png", image) for seed, image in enumerate(pixels)]
    data = []
    for path in paths:
        with open(path, "rb") as file:
            data.append(file.read())
    return [PathSources(paths), BytesSources(data), ArraySources(objects(*pixels)), ArraySources(np.stack(pixels))]


# Every kind


def test_length_take_and_pickle(three_sources):
    for sources in three_sources:
        digests = [sources.read(index).digest for index in range(3)]
        assert len(sources) == 3
        assert len(set(digests)) == 3
        for rows in (np.array([2, 0]), np.array([-1, 0]), slice(None, None, -2)):
            taken = sources.take(rows)
            assert type(taken) is type(sources)
            assert [taken.read(index).digest for index in range(2)] == [digests[2], digests[0]]
        again = pickle.loads(pickle.dumps(sources))
        assert [again.read(index).digest for index in range(3)] == digests


def test_names(three_sources, photo):
    paths, data, arrays, block = three_sources
    assert paths.name(1).endswith("1.png")
    assert data.name(1) == f"<{len(data.items[1])} bytes>"
    assert arrays.name(1) == block.name(1) == "<array of shape (10, 12, 3)>"


def test_paths_and_bytes_have_the_digest_of_their_content(three_sources):
    paths, data, arrays, block = three_sources
    assert paths.read(0) == data.read(0) == (data.items[0], digest_bytes(data.items[0]))
    assert arrays.read(0).digest == block.read(0).digest == digest_array(block.arrays[0])


def test_digests_of_files_are_recalled_from_a_memo_those_of_contents_in_memory_always(three_sources, later):
    memo = DigestMemo(None)
    for sources in three_sources:
        read = [sources.read(index, memo).digest for index in range(3)]
        recalled = sources.recall(memo)
        digests, known = recalled.digests, recalled.known
        assert digests.shape == (3, 20)
        assert digests.dtype == np.uint8
        assert known.dtype == bool
        assert known.all()
        np.testing.assert_array_equal(recalled.unchanged(np.arange(3)), known)
        assert [bytes(row) for row in digests] == read
        assert sources.recall(None).known.all() != isinstance(sources, PathSources)
        np.testing.assert_array_equal(sources.take(np.array([2, 0])).recall(memo).digests, digests[[2, 0]])
    assert PathSources([]).recall(memo).digests.shape == (0, 20)


def test_renamed_file_keeps_its_digest(three_sources):
    path = three_sources[0].items[0]
    before = three_sources[0].read(0).digest
    os.rename(path, path + ".renamed")
    assert PathSources([path + ".renamed"]).read(0).digest == before


# Files that cannot be read


def test_missing_file(tmp_path):
    with pytest.raises(ImageReadError, match=r"^there is no such file: no 'missing.jpg' in ") as caught:
        PathSources([str(tmp_path / "missing.jpg")]).read(0)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_directory(tmp_path):
    with pytest.raises(ImageReadError, match=r"^it is a directory; skcnn\.find_images finds"):
        read_file(str(tmp_path))


@pytest.mark.parametrize("path", ["nul\0byte.jpg", "x" * 300])
def test_impossible_path(path):
    with pytest.raises(ImageReadError, match=r"^it cannot be read: .*(null byte|null character|name too long)"):
        read_file(path)


# Addresses


@pytest.mark.parametrize(
    "path", ["s3://bucket/a.jpg", "https://x.org/a.jpg", "memory://a", "simplecache::s3://b/a.jpg"]
)
def test_is_url(path):
    assert is_url(path)


@pytest.mark.parametrize("path", ["a.jpg", "/data/a.jpg", "C:\\data\\a.jpg", "a:b.jpg", "~/a.jpg"])
def test_is_no_url(path):
    assert not is_url(path)


def test_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute(["a.jpg", "/a.jpg"]) == [str(tmp_path / "a.jpg"), "/a.jpg"]


def test_url_through_fsspec(photo, encode, later):
    import fsspec

    data = encode(photo())
    with fsspec.open("memory://skcnn-test.png", "wb") as file:
        file.write(data)
    memo = DigestMemo(None)
    sources = PathSources(["memory://skcnn-test.png"])
    assert sources.read(0, memo) == (data, digest_bytes(data))
    # An address has no state that would show that its content is another now.
    assert not sources.recall(memo).known.any()


def test_url_that_fails():
    with pytest.raises(ImageReadError, match=r"^it cannot be fetched: .*nowhere") as caught:
        PathSources(["memory://nowhere/at/all.png"]).read(0)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_url_of_an_unknown_protocol():
    with pytest.raises(ImageReadError, match=r"^it cannot be fetched: .*gopher"):
        PathSources(["gopher://x.org/a.jpg"]).read(0)


def test_url_without_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    match = r"^reading 's3://bucket/a.jpg' needs fsspec, which is not installed; run: pip install 'fsspec'$"
    with pytest.raises(ImportError, match=match):
        PathSources(["s3://bucket/a.jpg"]).read(0)


# Pixels


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[0, 255]], np.uint8), [[[0], [255]]]),
        (np.array([[False, True]]), [[[0], [255]]]),
        (np.array([[[1, 2, 3]]], np.int64), [[[1, 2, 3]]]),
        (np.array([[[0, 255, 7]]], np.uint16), [[[0, 255, 7]]]),
        ([[[1, 2, 3]]], [[[1, 2, 3]]]),
        (np.array([[[200, 100, 50, 128]]], np.uint8), [[[227, 177, 152]]]),
    ],
)
def test_whole_numbers_become_uint8(image, expected):
    pixels = check_pixels(image)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_become_float32(dtype):
    image = np.array([[[-1.5, 0.25, 300]]], dtype)
    pixels = check_pixels(image)
    assert pixels.dtype == np.float32
    assert pixels.dtype.isnative
    assert pixels.tolist() == [[[-1.5, 0.25, 300]]]


def test_uint8_is_not_copied(photo):
    image = photo()
    assert np.shares_memory(check_pixels(image), image)


@pytest.mark.parametrize("shape", [(4,), (4, 5, 2), (4, 5, 5), (1, 4, 5, 3), ()])
def test_shape_of_no_image(shape):
    with pytest.raises(ImageReadError, match=r"shape \(height, width\) or \(height, width, 1 \| 3 \| 4\), not \("):
        check_pixels(np.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0), (0, 0, 1)])
def test_no_pixels(shape):
    with pytest.raises(ImageReadError, match=r"holds no pixels"):
        check_pixels(np.zeros(shape))


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (0, 256), (0, 65535)])
def test_whole_numbers_out_of_range(low, high):
    match = rf"in \[0, 255\], but these are in \[{low}, {high}\]; scale them, or pass floats"
    with pytest.raises(PreprocessingError, match=match):
        check_pixels(np.array([[low, high]]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value):
    image = np.ones((3, 4, 3))
    image[1, 2, 0] = value
    with pytest.raises(ImageReadError, match="NaN or infinite pixels; replace them, or leave the image out"):
        check_pixels(image)


def test_infinities_do_not_cancel_out():
    with np.errstate(invalid="ignore"), pytest.raises(ImageReadError, match="NaN or infinite"):
        check_pixels(np.array([[np.inf, -np.inf]]))


@pytest.mark.parametrize("dtype", [complex, "U3", "M8[s]"])
def test_not_numbers(dtype):
    with pytest.raises(ImageReadError, match=r"pixels are numbers, not (complex128|<U3|datetime64\[s\])"):
        check_pixels(np.zeros((2, 2), dtype))


# Paths that are no files ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs devices")
def test_a_device_is_no_image():
    with pytest.raises(ImageReadError, match="it is no regular file, but a device, a pipe or a socket"):
        PathSources(["/dev/zero"]).read(0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.timeout(20)
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageReadError, match="it is no regular file"):
        PathSources([str(tmp_path / "pipe.jpg")]).read(0)


def test_a_file_larger_than_any_image_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(_sources, "MAX_FILE_BYTES", 1000)
    (tmp_path / "large").write_bytes(bytes(1001))
    (tmp_path / "fits").write_bytes(bytes(1000))
    with pytest.raises(ImageReadError, match="it is larger than 1,000 bytes, which is no image"):
        PathSources([str(tmp_path / "large")]).read(0)
    assert len(PathSources([str(tmp_path / "fits")]).read(0).data) == 1000


def test_an_address_without_end_is_given_up(monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr(_sources, "MAX_FILE_BYTES", 1000)
    fsspec.filesystem("memory").pipe("/endless.jpg", bytes(5000))
    with pytest.raises(ImageReadError, match="larger than 1,000 bytes"):
        PathSources(["memory://endless.jpg"]).read(0)


# Reading ----------------------------------------------------------------------------------------------------------------


class Asked(io.BytesIO):
    """A file that notes how much is asked for."""

    def read(self, size=-1):
        self.sizes = [*getattr(self, "sizes", []), size]
        return super().read(size)


@pytest.mark.parametrize(("length", "expected"), [(0, 0), (10, 10), (10, 0), (3_000_000, 3_000_000), (3_000_000, 5)])
def test_no_more_memory_is_asked_for_than_a_file_has(length, expected):
    file = Asked(bytes(length))
    assert len(read_bounded(file, expected)) == length
    assert max(file.sizes) <= max(expected + 1, 2**20)


def test_what_has_no_end_is_refused(monkeypatch):
    monkeypatch.setattr(_sources, "MAX_FILE_BYTES", 5_000_000)
    for expected in (0, 100):
        with pytest.raises(ImageReadError, match="larger than 5,000,000 bytes"):
            read_bounded(io.BytesIO(bytes(9_000_000)), expected)
    with pytest.raises(ImageReadError, match="larger than 5,000,000 bytes"):
        read_bounded(io.BytesIO(b""), 5_000_001)


@pytest.mark.parametrize("spelling", ["CAT.PNG", "Cat.png ", "../{folder}/cat.PNG"])
def test_a_file_that_was_found_in_another_spelling_is_read_once(tmp_path, spelling, later):
    (tmp_path / "cat.png").write_bytes(b"pixels")
    memo = DigestMemo(tmp_path / "digests.sqlite")
    path = str(tmp_path / spelling.format(folder=tmp_path.name))
    if os.path.exists(path):
        pytest.skip("this file system takes no notice of case")
    digest = PathSources([path]).read(0, memo).digest
    memo.save()
    for known in (memo, DigestMemo(tmp_path / "digests.sqlite")):
        recalled = PathSources([path, str(tmp_path / "dog.png")]).recall(known)
        assert recalled.digests[0].tobytes() == digest
        assert recalled.unchanged(np.arange(2)).tolist() == [True, False]
