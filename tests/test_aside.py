"""What is written aside is whole or absent, and what killed processes left there is removed."""

import os
import subprocess
import sys
import time

import pytest

from skcnn import _aside
from skcnn._aside import aside, remove_abandoned

BEGIN = """
import os, signal, sys
from pathlib import Path
from skcnn._aside import aside
with aside(Path(sys.argv[1])) as partial:
    if sys.argv[2] == "folder":
        partial.mkdir()
        (partial / "half").write_text("half")
    else:
        partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write_and_be_killed(final, kind):
    subprocess.run([sys.executable, "-c", BEGIN, str(final), kind], timeout=60, check=False)


def test_what_was_written_is_renamed_whole(tmp_path):
    with aside(tmp_path / "final") as partial:
        assert partial.parent == tmp_path
        assert partial.name.startswith(".")
        partial.write_text("whole")
        os.replace(partial, tmp_path / "final")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_is_left_when_the_writing_fails(tmp_path, kind):
    with pytest.raises(RuntimeError), aside(tmp_path / "final") as partial:
        partial.write_text("half") if kind == "file" else partial.mkdir()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="asks for processes")
@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("name", ["checkpoint.npz", "model [1].keras"])
def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_the_same(tmp_path, kind, name):
    write_and_be_killed(tmp_path / name, kind)
    write_and_be_killed(tmp_path / "another", kind)
    assert len(list(tmp_path.iterdir())) == 2
    with aside(tmp_path / name) as partial:
        partial.write_text("whole")
        (left,) = set(tmp_path.iterdir()) - {partial}
        assert left.name.startswith(".another.")
    remove_abandoned(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_another_process_is_writing_is_left_alone(tmp_path):
    with aside(tmp_path / "final") as partial:
        partial.write_text("half")
        remove_abandoned(tmp_path)
        with aside(tmp_path / "final") as other:
            other.write_text("half as well")
            assert partial.exists()


def test_of_another_machine_only_what_is_old_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(_aside, "this_machine", lambda: "0123abcd")
    with aside(tmp_path / "final") as partial:
        partial.write_text("half")
        monkeypatch.undo()
        remove_abandoned(tmp_path)
        assert partial.exists()
        long_ago = time.time() - 2 * _aside.ABANDONED_SECONDS
        os.utime(partial, (long_ago, long_ago))
        remove_abandoned(tmp_path)
        assert not partial.exists()


@pytest.mark.parametrize("name", [".partial", "..partial", ".x.partial", ".x.y.partial", ".x.1-2-3.partial"])
def test_names_of_another_origin_are_judged_by_their_age(tmp_path, name):
    (tmp_path / name).write_text("of something else")
    remove_abandoned(tmp_path)
    assert (tmp_path / name).exists()


@pytest.mark.skipif(os.name != "posix", reason="asks for processes")
def test_a_process_that_cannot_be_is_not_running(tmp_path):
    left = tmp_path / f".x.{_aside.this_machine()}-{10**30}-abc.partial"
    left.write_text("half")
    remove_abandoned(tmp_path)
    assert not left.exists()
