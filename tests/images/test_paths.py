"""Paths whose spelling differs from that on the disk: found where only one file can be meant, else explained."""

import os
import unicodedata

import pytest

from skcnn.images import as_image_sequence
from skcnn.images._paths import find_file, missing_file

COMPOSED, APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("Cats/IMG_1.JPG", f"{APART}/{APART}.png", "Cats/0007.png", "Cats/ blank.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def case_matters(folder):
    return not (folder / "cats").exists()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Cats/IMG_1.JPG", "Cats/IMG_1.JPG"),
        ("cats/img_1.jpg", "Cats/IMG_1.JPG"),
        ("Cats\\IMG_1.JPG", "Cats/IMG_1.JPG"),
        ("cats\\img_1.jpg", "Cats/IMG_1.JPG"),
        ("Cats/blank.png", "Cats/ blank.png"),
        (f"{COMPOSED}/{COMPOSED}.png", f"{APART}/{APART}.png"),
        (f"{COMPOSED.upper()}/{APART}.PNG", f"{APART}/{APART}.png"),
        ("Cats/0007", None),
        ("dogs/IMG_1.JPG", None),
        ("Cats/IMG_1.JPG/x", None),
        ("", None),
        ("a\0b", None),
    ],
)
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_find_file(folder, path, found, absolute):
    if absolute:
        path, found = f"{folder}/{path}", found and f"{folder}/{found}"
    if not path.endswith("/"):  # the folder itself
        got = find_file(path)
        assert (got and os.path.samefile(got, found)) if found else got is None


def test_a_file_that_appears_later_is_found(folder):
    assert find_file("Cats/new.png") is None
    (folder / "Cats/NEW.png").touch()
    assert find_file("Cats/new.png").lower() == "cats/new.png"


def test_several_spellings_are_not_guessed_at(folder):
    if not case_matters(folder):
        pytest.skip("one spelling only on this disk")
    (folder / "Cats/img_1.JPG").touch()
    assert find_file("Cats/img_1.jpg") is None
    assert missing_file("Cats/img_1.jpg") == (
        f"there is no such file, but 'IMG_1.JPG', 'img_1.JPG' in {str(folder / 'Cats')!r}; write the name of the one "
        "you mean"
    )


def test_the_unicode_form_goes_before_the_case(folder):
    if not case_matters(folder):
        pytest.skip("one spelling only on this disk")
    (folder / APART / f"{APART.upper()}.png").touch()
    assert find_file(f"{APART}/{COMPOSED}.png") == f"{APART}/{APART}.png"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("Cats/0007", "no '0007' in '{}/Cats'; the closest there: '0007.png'"),
        ("Cats/IMG_2.JPG", "no 'IMG_2.JPG' in '{}/Cats'; the closest there: 'IMG_1.JPG'"),
        ("Cats/zebra.tif", "no 'zebra.tif' in '{}/Cats'"),
    ],
)
def test_missing_file(folder, path, reason):
    assert missing_file(path) == f"there is no such file: {reason.format(folder)}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("Cat/IMG_1.JPG", "no 'Cat' in '{}'; the closest there: 'Cats'"),
        ("Cat/a/b/IMG_1.JPG", "no 'Cat' in '{}'; the closest there: 'Cats'"),
        ("horses\\1\\2.png", "no 'horses' in '{}'"),
    ],
)
def test_missing_folder(folder, path, reason):
    assert missing_file(path) == f"there is no such folder: {reason.format(folder)}"


def test_many_names_take_no_longer_to_compare(folder):
    for number in range(3000):
        (folder / "Cats" / f"{number:05}.png").touch()
    assert missing_file("Cats/01234.jpg").startswith("there is no such file: no '01234.jpg' in ")
    assert "'01234.png'" in missing_file("Cats/01234.jpg")


def test_images_are_read_under_their_other_spelling(folder, monkeypatch):
    png = b"P5 1 1 255 \x07"
    (folder / "Cats/a.PGM").write_bytes(png)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    images = as_image_sequence(["Cats/a.PGM", "cats\\A.pgm", "~/Cats/a.PGM", f"{folder}/cats/a.pgm"])
    assert [image.max() for image in images] == [7] * 4
    with pytest.raises(OSError, match=r"\[0\] Cats/b.PGM: there is no such file: .*; the closest there: 'a.PGM'"):
        as_image_sequence(["Cats/b.PGM"])[0]
