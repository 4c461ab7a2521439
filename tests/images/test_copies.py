import shutil

import pytest

from skcnn.cache._digests import DigestMemo
from skcnn.exceptions import ImageReadError
from skcnn.images import TenCrop, as_image_sequence
from skcnn.images._copies import copy_groups, source_digests


@pytest.fixture
def paths(tmp_path):
    """Four files: the third is a copy of the first, the last does not exist."""
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "b.png").write_bytes(b"two")
    shutil.copyfile(tmp_path / "a.png", tmp_path / "c.png")
    return [str(tmp_path / name) for name in ("a.png", "b.png", "c.png", "gone.png")]


@pytest.mark.parametrize("memo", [None, DigestMemo(None)], ids=["read", "remembered"])
def test_files_of_equal_bytes_are_one_group(paths, memo, later):
    for _ in range(2):
        one, two, copy, gone = copy_groups(as_image_sequence(paths), memo).tolist()
        assert one == copy
        assert len({one, two, gone}) == 3


def test_views_of_an_image_and_of_its_copies_are_one_group(paths):
    views = as_image_sequence(paths[:3]).with_step(TenCrop(4, 4)).with_views_apart()
    groups = copy_groups(views[5:25], None).tolist()
    assert groups[:5] == groups[15:] == groups[:1] * 5
    assert len(set(groups[5:15])) == 1
    assert groups[5] != groups[0]


def test_a_digest_needs_a_file_that_can_be_read(paths):
    with pytest.raises(ImageReadError, match="there is no such file"):
        source_digests(as_image_sequence(paths), None)
    assert len(set(source_digests(as_image_sequence(paths), None, on_error="number"))) == 3
