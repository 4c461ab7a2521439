import pytest

from skcnn.exceptions import ImageReadError
from skcnn.images import as_image_sequence
from skcnn.images._failures import NAMED_FAILURES, describe_failures, unreadable_error


def test_a_very_long_message_is_cut_but_failures_are_not():
    images = as_image_sequence([f"/nowhere{number}/a.jpg" for number in range(NAMED_FAILURES + 7)])
    with pytest.raises(ImageReadError, match=r"  \.\.\. and 7 more \(all in the error's `failures`\)$") as caught:
        images.load()
    assert len(str(caught.value).splitlines()) == NAMED_FAILURES + 2
    assert len(caught.value.failures) == NAMED_FAILURES + 7


def test_a_missing_folder_is_named_once(tmp_path):
    (tmp_path / "flowers" / "a").mkdir(parents=True)
    paths = [str(tmp_path / "flowres" / f"{number}.jpg") for number in range(300)]
    paths[7] = str(tmp_path / "flowers" / "a.jpg")
    with pytest.raises(ImageReadError, match="^300 of 300 images cannot be read:") as caught:
        as_image_sequence(paths).load()
    assert str(caught.value).splitlines()[1:] == [
        f"  [0] {paths[0]}: there is no such folder: no 'flowres' in {str(tmp_path)!r}; the closest there: 'flowers' "
        "(and 298 more images there)",
        f"  [7] {paths[7]}: there is no such file: no 'a.jpg' in {str(tmp_path / 'flowers')!r}",
    ]
    assert len(caught.value.failures) == 300


def test_unreadable_sorts_and_counts(files):
    images = as_image_sequence(files)
    error = unreadable_error(images[:1], {0: "it is gone"})
    assert str(error) == f"1 of 1 image cannot be read:\n  [0] {files[0]}: it is gone"
    assert list(str(unreadable_error(images, {5: "b", 2: "a"})).splitlines())[1].startswith("  [2]")


def test_what_is_wrong_can_be_anything(files):
    message = describe_failures(as_image_sequence(files), {0: "NaN"}, "have no finite activations")
    assert message == f"1 of 12 images have no finite activations:\n  [0] {files[0]}: NaN"
