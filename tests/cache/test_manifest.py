import json

import pytest

from skcnn.cache._manifest import (
    Label,
    fingerprint_of,
    is_fingerprint,
    read_identity,
    read_label,
    write_manifest,
)

IDENTITY = {"description": {"network": "example"}, "dtype": "float32"}
LABEL = Label("network", "layer", "8 x 8")


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / fingerprint_of(IDENTITY)
    directory.mkdir()
    return directory


def test_what_was_written_is_read(directory):
    write_manifest(directory, IDENTITY, (3,), LABEL)
    assert read_identity(directory) == IDENTITY
    assert read_label(directory) == LABEL


def test_the_order_of_keys_does_not_matter():
    assert fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1}) != fingerprint_of({"a": 1, "b": 3})


@pytest.mark.parametrize("name", ["layers", "digests.sqlite", "", "0" * 31, "G" * 32, "0" * 64])
def test_other_names_are_no_fingerprints(name):
    assert is_fingerprint(fingerprint_of(IDENTITY))
    assert not is_fingerprint(name)


def test_a_label_is_added_where_there_was_none(directory):
    write_manifest(directory, IDENTITY, (3,), Label())
    write_manifest(directory, IDENTITY, (3,), LABEL)
    assert read_label(directory) == LABEL


def test_another_name_for_the_same_rows_changes_nothing(directory):
    write_manifest(directory, IDENTITY, (3,), LABEL)
    before = (directory / "manifest.json").stat()
    for label in (Label("the same network"), Label()):
        write_manifest(directory, IDENTITY, (3,), label)
    after = (directory / "manifest.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[" * 100_000, '{"label": 3}', '{"dtype": "float32"}', "\x00"])
def test_what_is_no_manifest_says_nothing(directory, text):
    (directory / "manifest.json").write_text(text)
    assert read_identity(directory) is None
    assert read_label(directory) == Label()
    write_manifest(directory, IDENTITY, (3,), LABEL)
    assert read_identity(directory) == IDENTITY


def test_a_manifest_of_another_directory_is_not_believed(directory):
    text = json.dumps({**IDENTITY, "dtype": "uint8", "label": LABEL._asdict()})
    (directory / "manifest.json").write_text(text)
    assert read_identity(directory) is None
