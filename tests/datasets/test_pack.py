"""Packing images into one file: whole or absent, gone on with after a kill, never over another file."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from skcnn import AspectAwareResize, Augmentation
from skcnn.datasets import _pack, open_hdf5, pack_hdf5
from skcnn.exceptions import ImageReadError
from skcnn.images import ImageSequence, MeanSubtract, as_image_sequence

PROGRAM = """
import sys
from skcnn.datasets import pack_hdf5
file, *paths = sys.argv[1:]
pack_hdf5(paths, [path[-5] for path in paths], file, size=48, verbose=0)
"""


@pytest.fixture
def paths(write_image, photo):
    return [str(write_image(f"{index:03d}.png", photo(60, 80, seed=index))) for index in range(24)]


@pytest.fixture
def file(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "packed.hdf5"


@pytest.fixture
def decoded(monkeypatch):
    """Return a list that grows with each image that is decoded."""
    made = []
    original = ImageSequence.decode
    monkeypatch.setattr(
        ImageSequence, "decode", lambda self, content, view=None: made.append(0) or original(self, content, view)
    )
    return made


def contents(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][...] for name in file}


def assert_same_content(one, other):
    one, other = contents(one), contents(other)
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def labels_of(paths):
    return [path[-5] for path in paths]


def test_what_other_programs_read(paths, file):
    pack_hdf5(paths, labels_of(paths), file, size=(40, 48))
    found = contents(file)
    np.testing.assert_array_equal(found["images"], np.asarray(AspectAwareResize((40, 48)).fit_transform(paths)))
    assert found["images"].dtype == np.uint8
    names = [name.decode() for name in found["label_names"]]
    assert [names[code] for code in found["labels"]] == labels_of(paths)
    assert [name.decode() for name in found["names"]] == paths
    with h5py.File(file, "r") as content:
        assert content["images"].chunks is None
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("labels", [list(range(24)), ["ä", "b"] * 12, np.arange(24, dtype=np.uint8), None])
def test_labels_come_back(paths, file, labels):
    data = pack_hdf5(paths, labels, file, size=8)
    if labels is None:
        assert data.labels is None
    else:
        np.testing.assert_array_equal(data.labels, labels)
        assert data.labels.dtype == np.asarray(labels).dtype


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_compression_changes_no_pixel(paths, file, compression):
    plain = pack_hdf5(paths, labels_of(paths), file.with_name("plain.hdf5"), size=32)
    data = pack_hdf5(paths, labels_of(paths), file, size=32, compression=compression)
    np.testing.assert_array_equal(np.asarray(data.images[[5, 2, 9]]), np.asarray(plain.images[[5, 2, 9]]))
    assert_same_content(file, file.with_name("plain.hdf5"))
    with h5py.File(file, "r") as content:
        assert content["images"].compression == compression
    assert sorted(os.listdir(file.parent)) == ["packed.hdf5", "plain.hdf5"]


def test_an_existing_file_is_replaced_only_on_request(paths, file):
    file.write_text("precious")
    with pytest.raises(FileExistsError, match=r"exists; pass overwrite=True"):
        pack_hdf5(paths, None, file)
    assert file.read_text() == "precious"
    assert len(pack_hdf5(paths, None, file, overwrite=True).images) == 24


def test_all_unreadable_images_are_named_and_mended_ones_are_added(paths, file, decoded):
    broken = {index: Path(paths[index]).read_bytes() for index in (3, 20)}
    for index in broken:
        Path(paths[index]).write_bytes(b"broken")
    with pytest.raises(ImageReadError, match=r"(?s)2 of 24 .*003.png.*020.png.*no file was written.*on_error='skip'"):
        pack_hdf5(paths, labels_of(paths), file, size=48)
    assert not file.exists()
    for index, data in broken.items():
        Path(paths[index]).write_bytes(data)
    decoded.clear()
    pack_hdf5(paths, labels_of(paths), file, size=48)
    assert len(decoded) == 2
    pack_hdf5(paths, labels_of(paths), file.with_name("plain.hdf5"), size=48)
    assert_same_content(file, file.with_name("plain.hdf5"))


def test_unreadable_images_are_left_out_on_request(paths, file):
    for index in (3, 20):
        Path(paths[index]).write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"(?s)2 of 24 images cannot be read and were left out.*003.png"):
        data = pack_hdf5(paths, labels_of(paths), file, size=48, on_error="skip")
    assert [os.path.basename(name) for name, _ in data.rejected] == ["003.png", "020.png"]
    kept = [path for index, path in enumerate(paths) if index not in (3, 20)]
    pack_hdf5(kept, labels_of(kept), file.with_name("kept.hdf5"), size=48)
    assert_same_content(file, file.with_name("kept.hdf5"))
    assert sorted(os.listdir(file.parent)) == ["kept.hdf5", "packed.hdf5"]


def test_no_image_can_be_read(file):
    with pytest.raises(ImageReadError, match="2 of 2 images cannot be read"):
        pack_hdf5([b"a", b"b"], None, file, on_error="skip")


@pytest.mark.parametrize("change", ["pixels", "labels", "size", "steps", "count"])
def test_what_was_begun_with_other_images_is_not_used(paths, file, write_image, photo, change, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_pack.Packing, "_write_means", stop)
        with pytest.raises(KeyboardInterrupt):
            pack_hdf5(paths, labels_of(paths), file, size=48)
    images, labels, size = paths, labels_of(paths), 48
    if change == "pixels":
        write_image("005.png", photo(60, 80, seed=99))
    elif change == "labels":
        labels[0] = "z"
    elif change == "size":
        size = 40
    elif change == "steps":
        images = AspectAwareResize(56).fit_transform(paths)
    else:
        images, labels = paths[1:], labels[1:]
    pack_hdf5(images, labels, file, size=size)
    pack_hdf5(images, labels, file.with_name("plain.hdf5"), size=size)
    assert_same_content(file, file.with_name("plain.hdf5"))


def test_a_row_that_did_not_reach_the_disk_is_written_again(paths, file, monkeypatch):
    """As after a loss of power: the digest of a row is there, and the row is not."""
    write = _pack.write_at

    def lose(target, offset, array):
        write(target, offset, np.zeros_like(array) if array.ndim == 3 and array.dtype == np.uint8 else array)

    with monkeypatch.context() as patch:
        patch.setattr(_pack, "write_at", lose)
        patch.setattr(
            _pack.os, "replace", lambda source, target: os.rename(source, target) if "partial" in str(source) else 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            pack_hdf5(paths, None, file, size=48)
    pack_hdf5(paths, None, file, size=48)
    pack_hdf5(paths, None, file.with_name("plain.hdf5"), size=48)
    assert_same_content(file, file.with_name("plain.hdf5"))


def pack_elsewhere(file, paths, **settings):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(file), *paths], stderr=subprocess.PIPE, **settings)


def kill_and_resume(paths, file, times):
    """Kill a process that packs, at random instants; then let one end."""
    moments = random.Random(0)
    hidden, killed = file.with_name(f".{file.name}.packing"), 0
    while killed < times:
        process = pack_elsewhere(file, paths)
        try:
            while process.poll() is None and not hidden.exists():
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.05))
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        if file.exists():
            file.unlink()  # it was done before the kill
        killed += 1
        assert not [name for name in os.listdir(file.parent) if not name.startswith(".")]
    pack_hdf5(paths, labels_of(paths), file, size=48)


def test_killed_and_resumed(paths, file):
    kill_and_resume(paths, file, times=2)
    pack_hdf5(paths, labels_of(paths), file.with_name("plain.hdf5"), size=48)
    assert_same_content(file, file.with_name("plain.hdf5"))
    assert sorted(os.listdir(file.parent)) == ["packed.hdf5", "plain.hdf5"]


@pytest.mark.slow
def test_killed_twenty_times_and_resumed(paths, file):
    kill_and_resume(paths * 20, file, times=20)
    pack_hdf5(paths * 20, labels_of(paths * 20), file.with_name("plain.hdf5"), size=48)
    assert_same_content(file, file.with_name("plain.hdf5"))


def test_another_process_is_packing(paths, file):
    from skcnn.cache._lock import lock_if_free

    with lock_if_free(file.parent, f".{file.name}.lock"):
        process = pack_elsewhere(file, paths)
        error = process.communicate(timeout=120)[1]
    assert b"another process is packing into" in error
    assert not file.exists()


LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
"""


def test_a_full_disk_is_noticed_before_images_are_decoded(paths, file):
    """A limit on the size of files fails as a full disk does."""
    process = subprocess.run(
        [sys.executable, "-c", LIMITED + PROGRAM, str(file), *paths], stderr=subprocess.PIPE, timeout=120, check=False
    )
    assert b"there is no room for" in process.stderr
    assert b"which needs 166 kB" in process.stderr
    assert os.listdir(file.parent) == []


def test_the_disk_fills_up_where_room_cannot_be_reserved(paths, file, monkeypatch):
    monkeypatch.setattr(_pack, "reserve", lambda path, n_bytes: None)
    written = []
    write = _pack.write_at

    def fill_up(target, offset, array):
        if len(written) == 20:
            raise OSError(28, "No space left on device")
        written.append(write(target, offset, array))

    monkeypatch.setattr(_pack, "write_at", fill_up)
    with pytest.raises(OSError, match=r"there is no room for .*; nothing is left of it"):
        pack_hdf5(paths, None, file, size=48)
    assert os.listdir(file.parent) == []


COMPRESSED = """
import resource, signal, sys
from skcnn.datasets import _pack
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
copy = _pack.Packing._copy
def copy_to_full_disk(*arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    copy(*arguments)
_pack.Packing._copy = copy_to_full_disk
file, *paths = sys.argv[1:]
_pack.pack_hdf5(paths, None, file, size=48, compression="lzf", verbose=0)
"""


def test_a_full_disk_while_the_final_file_is_written(paths, file):
    process = subprocess.run(
        [sys.executable, "-c", COMPRESSED, str(file), *paths], stderr=subprocess.PIPE, timeout=120, check=False
    )
    assert b"there is no room for" in process.stderr
    assert os.listdir(file.parent) == []


@pytest.mark.parametrize(
    ("images", "labels", "settings", "message"),
    [
        (np.zeros((3, 8, 8, 3), np.uint8), [0, 1], {}, "got 2 labels for 3 images"),
        (np.zeros((3, 8, 8, 3), np.uint8), np.eye(3), {}, r"Got the shape \(3, 3\); of one-hot rows, labels.argmax"),
        (np.zeros((3, 8, 8, 3), np.uint8), ["a", None, "b"], {}, r"labels\[1\]: the label is missing"),
        (np.zeros((2, 8, 8, 3), np.uint8), [0.5, np.nan], {}, r"labels\[1\]: "),
        (np.zeros((3, 8, 8, 3), np.float32), None, {"size": None}, "are float32 of shape"),
        (
            [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)],
            None,
            {"size": None},
            r"uint8 of shape \(8, 9",
        ),
        (np.zeros((3, 8, 8, 3), np.uint8), None, {"compression": "zip"}, "'compression'"),
    ],
)
def test_input_that_is_refused(file, images, labels, settings, message):
    with pytest.raises(ValueError, match=message):
        pack_hdf5(images, labels, file, **settings)
    assert not file.exists()


def test_the_folder_must_exist(file, paths):
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        pack_hdf5(paths, None, file.parent / "none" / "a.hdf5")


def test_centred_pixels_are_refused(file, paths):
    images = AspectAwareResize(32).fit_transform(paths)
    with pytest.raises(ValueError, match="subtract means or scale after packing"):
        pack_hdf5(MeanSubtract().fit_transform(images), None, file, size=None)


def test_views_of_images(file, photo):
    images = as_image_sequence([photo(20, 20, seed=seed) for seed in range(3)])
    views = images.with_step(Augmentation().views(2, (16, 16), seed=0))
    with pytest.raises(ValueError, match=r"each image has 2 views; pack one of them"):
        pack_hdf5(views, None, file, size=None)
    data = pack_hdf5(views.with_views_apart(), ["a", "a", "b", "b", "c", "c"], file, size=None)
    np.testing.assert_array_equal(np.asarray(data.images), np.asarray(views.with_views_apart()))


def test_grey_images(file, photo):
    grey = np.stack([photo(12, 12, seed=seed)[..., 0] for seed in range(3)])
    data = pack_hdf5(grey, None, file, size=None)
    np.testing.assert_array_equal(np.asarray(data.images)[..., 0], grey)
    assert data.channel_means.shape == (1,)


def test_a_million_rows(tmp_path):
    """Opening and splitting read no row; the file is sparse."""
    count = 1_000_000
    with h5py.File(tmp_path / "large.hdf5", "w") as file:
        for name, shape in {"images": (count, 4, 4, 3), "digests": (count, 20)}.items():
            _pack.allocate(file, name, shape, np.uint8)
        file["labels"] = np.arange(count) % 2
    data = open_hdf5(tmp_path / "large.hdf5")
    half = data.images[np.arange(0, count, 2)]
    assert len(half) == count // 2
    assert half.sources.recall(None).digests.shape == (count // 2, 20)
