"""Labels from the names of folders and files; unreadable images leave with their labels."""

import os
import random
import re
import shutil
import subprocess
import sys
import unicodedata
import warnings
import zlib
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from sklearn.utils import Bunch

from skcnn.datasets import find_images, load_image_folder
from skcnn.exceptions import ImageReadError
from skcnn.images import as_image_sequence


def touch(root, *names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_image(path, shape=(40, 40, 3)):
    """Write an image of random pixels, others for each path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(os.fsencode(path))).integers(0, 256, shape, dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())


def below(root, data):
    return [Path(path).relative_to(root).as_posix() for path in data.paths]


@pytest.fixture
def nested(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg")
    return tmp_path


@pytest.fixture
def damaged(tmp_path):
    for name in ("cat/1.jpg", "cat/2.png", "dog/1.jpg"):
        write_image(tmp_path / name)
    whole = (tmp_path / "cat/1.jpg").read_bytes()
    (tmp_path / "cat/0_cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog/0_empty.jpg").touch()
    touch(tmp_path, "fox/text.jpg")
    (tmp_path / "fox/text.jpg").write_text("no picture")
    return tmp_path


def test_a_class_per_folder(tmp_path):
    touch(tmp_path, "dog/1.jpg", "cat/2.png", "cat/1.jpg")
    data = load_image_folder(tmp_path)
    assert isinstance(data, Bunch)
    assert data.paths.dtype == object
    assert data.paths.tolist() == [str(tmp_path / name) for name in ("cat/1.jpg", "cat/2.png", "dog/1.jpg")]
    assert all(type(path) is str for path in data.paths)
    assert data.labels.dtype.kind == "U"
    assert data.labels.tolist() == ["cat", "cat", "dog"]
    assert data.target_names.tolist() == ["cat", "dog"]
    assert data.rejected == []


def test_paths_and_labels_index_together(tmp_path):
    touch(tmp_path, *(f"{label}/{i}.jpg" for label in "ab" for i in range(10)))
    data = load_image_folder(str(tmp_path))
    paths, _, labels, _ = train_test_split(data.paths, data.labels, stratify=data.labels, random_state=0)
    assert [Path(path).parent.name for path in paths] == labels.tolist()
    assert len(as_image_sequence(data.paths[data.labels == "a"])) == 10


@pytest.mark.parametrize(
    ("label_from", "labels"),
    [
        ("path", ["test/cat", "train/cat", "train/dog"]),
        ("top", ["test", "train", "train"]),
        ("last", ["cat", "cat", "dog"]),
    ],
)
def test_labels_of_nested_folders(nested, label_from, labels):
    data = load_image_folder(nested, label_from=label_from)
    assert data.labels.tolist() == labels
    assert data.target_names.tolist() == sorted(set(labels))


def test_a_folder_may_hold_images_and_folders(tmp_path):
    touch(tmp_path, "cat/1.jpg", "cat/persian/2.jpg")
    assert load_image_folder(tmp_path).labels.tolist() == ["cat", "cat/persian"]


@pytest.mark.parametrize("pattern", [r"^([a-z]+)\.\d", r"^(?P<label>[a-z]+)\.(\d+)", r"(cat|dog)"])
def test_labels_by_regular_expression(tmp_path, pattern):
    touch(tmp_path, "cat.0.jpg", "dog.0.jpg", "deeper/dog.1.jpg")
    data = load_image_folder(tmp_path, label_from=re.compile(pattern))
    assert data.labels.tolist() == ["cat", "dog", "dog"]


def test_labels_by_callable(nested):
    seen = []

    def label(path):
        seen.append(path)
        return int(path.stem)

    assert load_image_folder(nested, label_from=label).labels.tolist() == ["2", "1", "1"]
    assert seen[0] == PurePosixPath("test/cat/2.jpg")


@pytest.mark.parametrize(
    ("label_from", "message"),
    [
        ("(cat)", r"'label_from' parameter must be 'path', 'top', 'last'.*Got '\(cat\)'.*re.compile\('\(cat\)'\)"),
        (None, r"'label_from' parameter must be .*Got None instead\.$"),
        (re.compile("cat"), r"needs one group, or one named 'label'.*Got 'cat' with 0 groups"),
        (re.compile("(c)(at)"), r"Got '\(c\)\(at\)' with 2 groups"),
        (re.compile(b"(c)"), r"a pattern of str. Got b'\(c\)'"),
    ],
)
def test_label_from_is_checked_first(label_from, message):
    with pytest.raises(ValueError, match=message):
        load_image_folder("no such folder", label_from=label_from)


def test_every_name_without_a_label_is_named(tmp_path):
    touch(tmp_path, "cat_1.jpg", "x.jpg", "sub/y.jpg", "_1.jpg")
    message = r"no label for 3 of 4 images in .*\n  _1.jpg: the label is missing\n  sub/y.jpg: .* does not match '\^\(\.\*\)_'\n  x.jpg:"
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path, label_from=re.compile("^(.*)_"))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda path: None, "the label is missing"),
        (lambda path: " ", "the label is missing"),
        (lambda path: float("nan"), "a label is text or a finite number, not float nan"),
        (lambda path: ["cat"], r"a label is text or a finite number, not list \['cat'\]"),
        (lambda path: path.split("/"), "the callable raised AttributeError"),
    ],
)
def test_callables_that_give_no_label(nested, function, reason):
    with pytest.raises(ValueError, match=rf"no label for 3 of 3 images in .*\n  test/cat/2.jpg: {reason}") as caught:
        load_image_folder(nested, label_from=function)
    assert isinstance(caught.value.__cause__, ValueError)


def test_images_directly_in_root_are_named(tmp_path):
    touch(tmp_path, "cat/1.jpg", *(f"loose{i:02}.jpg" for i in range(25)))
    with pytest.raises(ValueError, match=r"label_from gives no label for 25 of 26 images in ") as caught:
        load_image_folder(tmp_path)
    reason = "it lies in no folder that names its class; move it, or pass label_from=re.compile(...)"
    assert f"\n  loose19.jpg: {reason}\n  ... and 5 more" in str(caught.value)
    assert "loose20" not in str(caught.value)


def test_images_of_a_folder_without_labels(tmp_path):
    touch(tmp_path, "b.jpg", "sub/deep/a.PNG", "sub/c.txt", ".hidden/d.jpg")
    (tmp_path / "layers.psd").write_bytes(b"8BPS\0\1" + bytes(40))
    message = r"give no image:\n  layers.psd: .*Photoshop"
    with pytest.warns(UserWarning, match=message) as caught:
        paths = find_images(tmp_path)
    assert caught[0].filename == __file__
    assert isinstance(paths, np.ndarray)
    assert paths.tolist() == [str(tmp_path / "b.jpg"), str(tmp_path / "sub" / "deep" / "a.PNG")]
    assert find_images(str(tmp_path / "sub"), extensions=["txt"]).tolist() == [str(tmp_path / "sub" / "c.txt")]


def test_where_no_image_has_a_label_the_way_to_those_without_is_named(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(ValueError, match=rf"images without labels are found by skcnn.find_images\('{tmp_path}'\)"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("gone", FileNotFoundError, "there is no such folder: no 'gone' in"),
        ("a.jpg", NotADirectoryError, r"is a file, .*one image is given as a list: \[path\]"),
        ("notes", ValueError, "found no images in"),
    ],
)
def test_folders_in_which_nothing_can_be_found(tmp_path, name, error, message):
    touch(tmp_path, "a.jpg", "notes/b.txt")
    with pytest.raises(error, match=message):
        find_images(tmp_path / name)


def test_what_is_skipped(tmp_path):
    kept = ["cat/1.JPG", "cat/2.Jpeg", "cat/3.webp"]
    hidden = [".git/x.jpg", "cat/.hidden.jpg", "cat/._1.JPG", "cat/.cache/1.jpg"]
    foreign = ["cat/notes.txt", "cat/Thumbs.db", "loose.csv", "cat/jpg", "cat/all.zip", "cat/all.tgz", "index.7z"]
    foreign += ["__MACOSX/cat/1.jpg", "cat/@eaDir/1.jpg", "$Recycle.Bin/S-1-5/1.jpg", "#recycle/1.jpg"]
    foreign += ["System Volume Information/1.jpg", "lost+found/1.jpg"]
    touch(tmp_path, *kept, *hidden, *foreign)
    assert below(tmp_path, load_image_folder(tmp_path)) == kept


@pytest.mark.filterwarnings("ignore:.*copies of others:UserWarning")
def test_images_are_known_by_content_where_the_extension_says_nothing(tmp_path):
    names = ["cat/1", "cat/2.jpg_large", "cat/3.JPG?w=200", "cat/4.part"]
    for name in names:
        write_image(tmp_path / "image.png")
        (tmp_path / "cat").mkdir(exist_ok=True)
        os.replace(tmp_path / "image.png", tmp_path / name)
    for name, text in {"README": "no image", "NOTES": "BM25 is no bitmap", "TODO": "P1 before P2"}.items():
        (tmp_path / "cat" / name).write_text(text)
    assert below(tmp_path, load_image_folder(tmp_path, verify=True)) == names
    with pytest.raises(ValueError, match="found no images"):
        load_image_folder(tmp_path, extensions=["jpg"])


@pytest.fixture
def gaps(tmp_path):
    """Images of one class, a second with images that are not read, and folders without images."""
    touch(tmp_path, "a/cat/1.jpg", "a/cat/Thumbs.db", "a/notes.txt", "b/fox/urls.txt", "read.me")
    for folder in ("b/elk", "a/dog", "c"):
        (tmp_path / folder).mkdir()
    for name in ("a/cat/2.jxl", "a/dog/1.jxl", "a/dog/2.jxl"):
        (tmp_path / name).write_bytes(b"\xff\x0aimage")
    return tmp_path


@pytest.mark.parametrize("verify", [False, True])
def test_classes_that_vanish_are_named(gaps, verify):
    if verify:
        write_image(gaps / "a/cat/1.jpg")
    with pytest.warns(UserWarning, match="give no image") as caught:
        data = load_image_folder(gaps, verify=verify)
    assert caught[0].filename == __file__
    jxl = "it is a JPEG XL image, which is not read; convert it to JPEG or PNG, or open it with a library of your "
    jxl += "choice and pass Pillow images or arrays"
    assert str(caught[0].message).splitlines()[1:] == [
        f"  a/cat/2.jxl: {jxl}",
        f"  a/dog/1.jxl: {jxl} (and 1 more in a/dog/)",
        "  b/elk/: the folder is empty",
        "  b/fox/urls.txt: not an image",
        "  c/: the folder is empty",
    ]
    assert data.labels.tolist() == ["a/cat"]
    rejected = ["a/cat/2.jxl", "a/dog/1.jxl", "a/dog/2.jxl", "b/elk", "b/fox/urls.txt", "c"]
    assert [path for path, _ in data.rejected] == [os.path.join(gaps, *name.split("/")) for name in rejected]


@pytest.mark.parametrize(
    ("label_from", "named"),
    [
        ("top", ["a/cat/2.jxl", "a/dog/1.jxl", "a/dog/2.jxl", "b/elk", "b/fox/urls.txt", "c"]),
        (lambda path: "x", ["a/cat/2.jxl", "a/dog/1.jxl", "a/dog/2.jxl"]),
    ],
    ids=["top", "callable"],
)
def test_what_vanishes_depends_on_where_labels_are(gaps, label_from, named):
    with pytest.warns(UserWarning, match="give no image"):
        data = load_image_folder(gaps, label_from=label_from)
    assert [Path(path).relative_to(gaps).as_posix() for path, _ in data.rejected] == named


def test_a_class_without_the_wanted_extensions_is_named(tmp_path):
    touch(tmp_path, "cat/1.png", "cat/2.jpg", "dog/1.jpg")
    with pytest.warns(UserWarning, match=r"\n  dog/1.jpg: its extension is not one of `extensions`$"):
        assert len(load_image_folder(tmp_path, extensions=["png"]).paths) == 1


def test_an_empty_folder_of_a_class_that_has_images_is_not_named(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "test/dog/1.jpg")
    (tmp_path / "test/cat").mkdir()
    assert load_image_folder(tmp_path, label_from="last").rejected == []


def test_verify_adds_to_what_was_rejected(gaps):
    (gaps / "a/cat/3.jpg").write_bytes(b"text")
    write_image(gaps / "a/cat/1.jpg")
    with pytest.warns(UserWarning, match="give no image"), pytest.warns(UserWarning, match="1 of 2 images cannot"):
        data = load_image_folder(gaps, verify=True)
    assert len(data.rejected) == 7
    assert data.rejected[-1][0] == str(gaps / "a/cat/3.jpg")


def test_the_root_is_found_in_another_spelling(nested):
    assert len(load_image_folder(nested / "TRAIN").paths) == 2


def test_labels_that_look_the_same_are_one_class(tmp_path):
    touch(tmp_path, "black cat/1.jpg", "black\xa0cat/2.jpg", "black  cat/3.jpg")
    assert load_image_folder(tmp_path).target_names.tolist() == ["black cat"]


def test_a_hidden_root_is_read(tmp_path):
    touch(tmp_path, ".cache/cat/1.jpg")
    assert load_image_folder(tmp_path / ".cache").labels.tolist() == ["cat"]


@pytest.mark.parametrize("extensions", [[".xyz", "PNG"], ("xyz", ".png")])
def test_extensions_can_be_chosen(tmp_path, extensions):
    touch(tmp_path, "a/1.XYZ", "a/2.png", "a/3.jpg")
    assert below(tmp_path, load_image_folder(tmp_path, extensions=extensions)) == ["a/1.XYZ", "a/2.png"]


@pytest.mark.parametrize("extensions", ["jpg", [], [""], [1]])
def test_extensions_are_a_list(tmp_path, extensions):
    with pytest.raises(ValueError, match=r"'extensions' parameter must be a list such as \['.jpg', '.png'\]"):
        load_image_folder(tmp_path, extensions=extensions)


def test_no_images_says_what_was_looked_for_and_found(tmp_path):
    with pytest.raises(ValueError, match=r"found no images in .* names ending in \.jpg, .*found no files at all"):
        load_image_folder(tmp_path)
    touch(tmp_path, "cat/1.doc", "read.me")
    with pytest.raises(
        ValueError,
        match=r"found no images in .*and found 2 other files or empty folders:\n  cat/1.doc: not an image\n  read.me: not",
    ):
        load_image_folder(tmp_path)


def test_roots_that_are_no_folder(tmp_path):
    touch(tmp_path, "cat.jpg")
    with pytest.raises(FileNotFoundError, match=r"'.*gone': there is no such folder: no 'gone' in '"):
        load_image_folder(tmp_path / "gone")
    with pytest.raises(NotADirectoryError, match=r"cat.jpg' is a file, not a folder"):
        load_image_folder(tmp_path / "cat.jpg")
    with pytest.raises(ValueError, match=r"'s3://pets' is an address.*load_image_csv"):
        load_image_folder("s3://pets")
    with pytest.raises(TypeError, match=r"root is the path of a folder.*Got list"):
        load_image_folder([str(tmp_path)])


def test_a_relative_root_gives_relative_paths(nested, monkeypatch):
    monkeypatch.chdir(nested.parent)
    assert load_image_folder(nested.name).paths[0] == os.path.join(nested.name, "test", "cat", "2.jpg")


def test_the_home_folder_is_filled_in(nested, monkeypatch):
    monkeypatch.setenv("HOME", str(nested))
    monkeypatch.setenv("USERPROFILE", str(nested))
    assert below(nested / "train", load_image_folder("~/train")) == ["cat/1.jpg", "dog/1.jpg"]


@pytest.mark.parametrize("seed", range(3))
def test_order_does_not_depend_on_the_order_of_creation(tmp_path, seed):
    names = ["A/1.jpg", "B-1/1.jpg", "B/1.jpg", "B/10.jpg", "B/2.jpg", "a/1.jpg", "ä/1.jpg"]
    shuffled = random.Random(seed).sample(names, len(names))
    touch(tmp_path, *shuffled)
    assert below(tmp_path, load_image_folder(tmp_path)) == names


def test_unicode_names(tmp_path):
    touch(tmp_path, "猫/いち.jpg", "собака/1.jpg", "🦊 fox/1.jpg")
    data = load_image_folder(tmp_path)
    assert data.target_names.tolist() == ["собака", "猫", "🦊 fox"]
    assert all(os.path.exists(path) for path in data.paths)


def test_accents_make_one_class_however_the_disk_stores_them(tmp_path):
    apart, together = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    touch(tmp_path, f"train/{apart}/1.jpg", f"test/{together}/2.jpg")
    data = load_image_folder(tmp_path, label_from="last")
    assert data.labels.tolist() == [together, together]
    assert all(os.path.exists(path) for path in data.paths)
    touch(tmp_path, f"names/{apart}_1.jpg")
    assert load_image_folder(tmp_path / "names", label_from=re.compile("^(caf.)_")).labels.tolist() == [together]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these systems refuse such names")
def test_names_that_are_no_unicode(tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/caf\xe9")
    write_image(tmp_path / "1.png")
    os.rename(tmp_path / "1.png", os.fsencode(tmp_path) + b"/caf\xe9/1.png")
    data = load_image_folder(tmp_path, verify=True)
    assert data.labels.tolist() == ["caf\udce9"]


@pytest.fixture
def symlink():
    def link(at, target):
        try:
            os.symlink(target, at, target_is_directory=True)
        except OSError:
            pytest.skip("links cannot be made here")

    return link


def test_links_are_followed(tmp_path, symlink):
    touch(tmp_path, "all/cat/1.jpg", "train/dog/1.jpg")
    symlink(tmp_path / "train/cat", tmp_path / "all/cat")
    symlink(tmp_path / "train/dog/2.jpg", tmp_path / "all/cat/1.jpg")
    assert below(tmp_path / "train", load_image_folder(tmp_path / "train")) == ["cat/1.jpg", "dog/1.jpg", "dog/2.jpg"]


def test_loops_of_links_end(tmp_path, symlink):
    root = tmp_path / "root"
    touch(root, "a/1.jpg", "b/1.jpg")
    touch(tmp_path, "elsewhere/1.jpg")
    symlink(root / "a/up", root)
    symlink(root / "a/out", tmp_path)
    symlink(root / "a/self", root / "a/self")
    symlink(root / "a/to_b", root / "b")
    symlink(root / "b/to_a", root / "a")
    with pytest.warns(UserWarning, match=r"\n  a/self: it cannot be read: .*symbolic"):
        data = load_image_folder(root)
    assert below(root, data) == ["a/1.jpg", "a/to_b/1.jpg", "b/1.jpg", "b/to_a/1.jpg"]


def test_a_broken_link_is_not_lost(tmp_path, symlink):
    write_image(tmp_path / "cat/1.jpg")
    symlink(tmp_path / "cat/2.jpg", tmp_path / "gone.jpg")
    assert below(tmp_path, load_image_folder(tmp_path)) == ["cat/1.jpg", "cat/2.jpg"]
    with pytest.warns(UserWarning, match="2.jpg: there is no such file"):
        assert below(tmp_path, load_image_folder(tmp_path, verify=True)) == ["cat/1.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_no_image(tmp_path):
    touch(tmp_path, "cat/1.jpg")
    os.mkfifo(tmp_path / "cat/2.jpg")
    assert below(tmp_path, load_image_folder(tmp_path)) == ["cat/1.jpg"]


def test_nothing_is_read_without_verify(damaged):
    data = load_image_folder(damaged)
    assert len(data.paths) == 6
    assert data.rejected == []


def test_verify_takes_bad_images_out_with_their_labels(damaged):
    with pytest.warns(UserWarning, match="left out") as caught:
        data = load_image_folder(damaged, verify=True)
    assert below(damaged, data) == ["cat/1.jpg", "cat/2.png", "dog/1.jpg"]
    assert data.labels.tolist() == ["cat", "cat", "dog"]
    assert data.target_names.tolist() == ["cat", "dog"]
    names, reasons = zip(*data.rejected, strict=True)
    assert names == tuple(str(damaged / name) for name in ("cat/0_cut.jpg", "dog/0_empty.jpg", "fox/text.jpg"))
    assert re.search("cut short or damaged", reasons[0])
    assert re.search("empty", reasons[1])
    assert re.search("not an image of a known format", reasons[2])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    text = str(caught[0].message)
    assert text.startswith("3 of 6 images cannot be read and were left out, labels and all")
    assert all(f"\n  {name}: {reason}" in text for name, reason in data.rejected)
    assert text.endswith("no image is left of these classes: 'fox'")


def test_the_warning_names_at_most_20(tmp_path):
    write_image(tmp_path / "cat/good.png")
    touch(tmp_path, *(f"cat/{i:02}.jpg" for i in range(23)))
    with pytest.warns(UserWarning, match=r"23 of 24 images(.|\n)*19.jpg.*\n  ... and 3 more$") as caught:
        data = load_image_folder(tmp_path, verify=True)
    assert "20.jpg" not in str(caught[0].message)
    assert len(data.rejected) == 23


def test_verify_of_good_images_is_silent(tmp_path, capsys):
    write_image(tmp_path / "cat/1.png", (3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_image_folder(tmp_path, verify=True)
    assert data.rejected == []
    assert capsys.readouterr().err == ""


def test_verify_shows_its_progress(tmp_path, capsys):
    write_image(tmp_path / "cat/1.png")
    load_image_folder(tmp_path, verify=True, verbose=1)
    assert re.search(r"verifying: 1 of 1 \(100 %\)", capsys.readouterr().err)


def test_verify_that_leaves_nothing_raises(tmp_path):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    with pytest.raises(ImageReadError, match=r"2 of 2 images cannot be read:\n.*1.jpg: .*empty.*\n.*2.jpg: ") as caught:
        load_image_folder(tmp_path, verify=True)
    assert sorted(caught.value.failures) == [0, 1]


@pytest.mark.slow
def test_importing_stays_light():
    code = (
        "import sys, skcnn.datasets\n"
        "assert not {'tensorflow', 'keras', 'cv2', 'h5py', 'fsspec', 'sklearn.datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Elongated images -------------------------------------------------------------------------------------------------------


def test_verify_says_how_much_of_elongated_images_is_cut_off(tmp_path):
    for number in range(10):
        write_image(tmp_path / f"cat/{number}.png", (10, 12 if number else 40))
    write_image(tmp_path / "cat/a.png", (30, 10))
    with pytest.warns(
        UserWarning, match=r"2 of 11 images are at least twice as long as wide.* leaves out 71% .*input_size="
    ) as caught:
        data = load_image_folder(tmp_path, verify=True)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(sorted(data.cut_off), sorted([1 / 6] * 9 + [2 / 3, 3 / 4]))
    assert data.cut_off[data.paths.tolist().index(str(tmp_path / "cat/a.png"))] == pytest.approx(2 / 3)
    assert load_image_folder(tmp_path).cut_off is None


@pytest.fixture
def with_copies(tmp_path):
    """Seven images of two classes, of which two are copies in their class, and one is a copy in the other class."""
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        write_image(tmp_path / name)
    for copied, name in {"cat/3.png": "cat/1.png", "cat/4.png": "cat/1.png", "dog/3.png": "cat/2.png"}.items():
        shutil.copy(tmp_path / name, tmp_path / copied)
    return tmp_path


@pytest.mark.filterwarnings("ignore:1 of 8 images cannot be read:UserWarning")
def test_verify_says_which_images_are_copies(with_copies):
    (with_copies / "cat/0.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="3 of 7 images are copies of others, byte for byte") as caught:
        data = load_image_folder(with_copies, verify=True)
    assert below(with_copies, data) == [
        *(f"cat/{number}.png" for number in (1, 2, 3, 4)),
        *(f"dog/{n}.png" for n in (1, 2, 3)),
    ]
    groups = data.groups.tolist()
    assert groups[0] == groups[2] == groups[3]
    assert groups[1] == groups[6]
    assert sorted(set(groups)) == [0, 1, 2, 3]
    about_copies = caught[-1]
    assert about_copies.filename == __file__
    # One picture in two classes is worse than all others, which are not named then.
    assert str(about_copies.message).endswith(
        "these are in several classes, and at most one of their labels is right:\n"
        f"  {with_copies / 'cat/2.png'} (cat) = {with_copies / 'dog/3.png'} (dog)"
    )
    assert load_image_folder(with_copies).groups is None


def test_copies_in_one_class_and_what_the_warning_advises(with_copies):
    (with_copies / "dog/3.png").unlink()
    with pytest.warns(UserWarning, match=r"2 of 6 images.*; they are:\n  .*1.png = .*3.png = .*4.png$"):
        data = load_image_folder(with_copies, verify=True)
    one_of_each = data.paths[np.unique(data.groups, return_index=True)[1]]
    assert sorted(os.path.relpath(path, with_copies) for path in one_of_each) == [
        *("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    ]
    for train, test in StratifiedGroupKFold(2).split(data.paths, data.labels, data.groups):
        assert not set(data.groups[train]) & set(data.groups[test])


def test_the_share_that_is_cut_off_goes_with_the_images_that_are_left(tmp_path):
    write_image(tmp_path / "cat/1.png", (10, 10))
    (tmp_path / "cat/2.png").write_bytes(b"no image")
    write_image(tmp_path / "cat/3.png", (10, 15))
    with pytest.warns(UserWarning, match="cannot be read"):
        data = load_image_folder(tmp_path, verify=True)
    np.testing.assert_allclose(data.cut_off, [0, 1 / 3])
