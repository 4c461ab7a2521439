"""Digits are written once, whole or not at all, and never over anything else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from skcnn.datasets import _digits, load_digits_images
from skcnn.images import as_image_sequence


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "files"
    return folder, load_digits_images(folder)


@pytest.fixture
def no_writing(monkeypatch):
    def refuse(*args):
        raise AssertionError("something was written")

    monkeypatch.setattr(_digits, "write_aside", refuse)


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_every_digit_is_there_with_its_label(written):
    folder, data = written
    digits = load_digits()
    assert data.paths.shape == data.labels.shape == (1797,)
    assert data.target_names.tolist() == list("0123456789")
    assert data.rejected == []
    index = [int(Path(path).stem) for path in data.paths]
    assert sorted(index) == list(range(1797))
    assert data.labels.tolist() == digits.target[index].astype(str).tolist()
    assert data.paths[0] == str(folder / "0" / "0000.png")


def test_pixels_are_the_numbers_scaled_to_8_bits(written):
    folder, data = written
    digits = load_digits()
    pixels = cv2.imread(str(folder / "1" / "0001.png"), cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (8, 8)
    expected = {0: 0, 1: 16, 8: 128, 15: 239, 16: 255}
    for count, value in expected.items():
        assert set(pixels[digits.images[1] == count].tolist()) <= {value}
    assert np.ptp(as_image_sequence(data.paths[[5]])[0]) == 255


def test_the_second_call_writes_nothing(written, no_writing):
    folder, first = written
    before = snapshot(folder.parent)
    second = load_digits_images(str(folder))
    assert second.paths.tolist() == first.paths.tolist()
    assert second.labels.tolist() == first.labels.tolist()
    assert snapshot(folder.parent) == before


def test_system_files_beside_the_digits_do_no_harm(written, no_writing):
    folder, _ = written
    (folder / ".DS_Store").touch()
    assert len(load_digits_images(folder).paths) == 1797
    (folder / ".DS_Store").unlink()


@pytest.fixture
def few(monkeypatch):
    """Nine digits in place of 1,797."""
    digits = load_digits()
    digits.images, digits.target = digits.images[:9], digits.target[:9]
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: digits)


def test_an_empty_directory_is_filled(tmp_path, few):
    assert len(load_digits_images(tmp_path).paths) == 9


def test_the_default_is_in_the_cache_directory(tmp_path, few, monkeypatch):
    monkeypatch.setenv("SKCNN_CACHE_DIR", str(tmp_path / "cache"))
    assert load_digits_images().paths[0] == str(tmp_path / "cache/datasets/digits/0/0000.png")
    assert os.listdir(tmp_path / "cache/datasets") == ["digits"]


def test_others_may_read_the_directory(tmp_path, few):
    load_digits_images(tmp_path / "digits")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "digits").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_to_a_directory_stays_a_link(tmp_path, few):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert load_digits_images(tmp_path / "link").paths[0] == str(tmp_path / "link/0/0000.png")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk/0/0000.png").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", r"holds something other than the 9 digits \(9 of them are missing, 1 other .*\n  notes.txt$"),
        ("0/0000.png", r"\(8 of them are missing, 0 other files are there\).*name another directory, or empty"),
        (".hidden", r"9 of them are missing, 1 other(.|\n)*\.hidden"),
        ("folder/", r"9 of them are missing, 1 other(.|\n)*folder"),
    ],
)
def test_other_content_is_left_alone(tmp_path, few, name, message):
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.mkdir(parents=True) if name.endswith("/") else path.write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError, match=message):
        load_digits_images(tmp_path / "mine")
    assert snapshot(tmp_path) == before


def test_one_image_too_many_is_refused(tmp_path, few):
    load_digits_images(tmp_path)
    (tmp_path / "0/extra.png").touch()
    with pytest.raises(FileExistsError, match=r"0 of them are missing, 1 other files(.|\n)*0/extra.png"):
        load_digits_images(tmp_path)


def test_a_file_is_refused(tmp_path, few):
    (tmp_path / "digits").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"digits' is a file; load_digits_images needs the name of a folder"):
        load_digits_images(tmp_path / "digits")
    assert (tmp_path / "digits").read_text() == "mine"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_cut_short_leaves_nothing(tmp_path, few, monkeypatch, error):
    write = _digits.write_png

    def fail(path, image):
        if path.stem == "0005":
            raise error
        write(path, image)

    with monkeypatch.context() as patch:
        patch.setattr(_digits, "write_png", fail)
        with pytest.raises(type(error)):
            load_digits_images(tmp_path / "digits")
    assert os.listdir(tmp_path) == []
    assert len(load_digits_images(tmp_path / "digits").paths) == 9


@pytest.mark.slow
def test_a_killed_write_leaves_no_half(tmp_path):
    code = (
        "import os, sys\nfrom skcnn.datasets import _digits\nwrite = _digits.write_png\n"
        "def die(path, image):\n    write(path, image)\n    path.stem == '0100' and os._exit(9)\n"
        "_digits.write_png = die\n_digits.load_digits_images(sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "digits")]).returncode == 9
    assert not (tmp_path / "digits").exists()
    assert len(load_digits_images(tmp_path / "digits").paths) == 1797


def test_losing_the_race_is_no_failure(tmp_path, few, monkeypatch):
    """The other process moves its files in between our look and our move."""
    move, other = _digits.move, []

    def late(partial, final, names):
        if not other:
            other.append(True)
            load_digits_images(final)
        move(partial, final, names)

    monkeypatch.setattr(_digits, "move", late)
    assert len(load_digits_images(tmp_path / "digits").paths) == 9
    assert os.listdir(tmp_path) == ["digits"]


def test_a_race_against_something_else_is_told(tmp_path, few, monkeypatch):
    move = _digits.move

    def late(partial, final, names):
        final.mkdir()
        (final / "mine.txt").touch()
        move(partial, final, names)

    monkeypatch.setattr(_digits, "move", late)
    with pytest.raises(FileExistsError, match=r"mine\.txt"):
        load_digits_images(tmp_path / "digits")
    assert os.listdir(tmp_path) == ["digits"]


@pytest.mark.slow
def test_two_processes_at_once(tmp_path):
    code = (
        "import sys\nfrom skcnn.datasets import load_digits_images\nimport cv2, sklearn.datasets\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "print(len(load_digits_images(sys.argv[1]).paths), flush=True)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "digits")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as two:
        for process in (one, two):
            assert process.stdout.readline() == "ready\n"
        for process in (one, two):
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.stdout.readline() for process in (one, two)] == ["1797\n", "1797\n"]
    assert one.returncode == two.returncode == 0
    assert os.listdir(tmp_path) == ["digits"]
    assert not [name for name in os.listdir(tmp_path / "digits") if not re.fullmatch(r"\d", name)]
