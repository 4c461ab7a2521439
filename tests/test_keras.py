"""TensorFlow starts without a page of lines about itself, and nothing that matters is lost with them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import skcnn
from skcnn._keras import LEVEL, ONEDNN, with_onednn, without_announcements

ROOT = Path(skcnn.__file__).parent
# TensorFlow sets variables of its own.
START = "import os, skcnn; {}; assert not {{'TF_CPP_MIN_LOG_LEVEL', 'TF_ENABLE_ONEDNN_OPTS'}} & set(os.environ)"


def started(code, **environment):
    """Return what a new process writes to its error stream."""
    clean = {name: value for name, value in os.environ.items() if name not in (LEVEL, ONEDNN)} | environment
    run = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stderr.splitlines()


@pytest.mark.slow
def test_a_network_is_built_with_one_line_at_most_and_the_environment_is_as_it_was():
    build = "skcnn.backbones.resolve_backbone('efficientnet_lite0', None).build()"
    assert len(started(START.format(build))) <= 1


@pytest.mark.slow
def test_a_user_who_sets_the_level_gets_the_lines():
    assert len(started("import skcnn._keras", TF_CPP_MIN_LOG_LEVEL="0")) > 1


def test_other_lines_are_written(capfd, monkeypatch):
    monkeypatch.delenv(LEVEL, raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow")
    with pytest.raises(ImportError, match="broken"), without_announcements():
        os.write(2, b"I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"something of value\nE0000 00:00:1.2 3 port.cc:1] an error\n")
        assert os.environ[LEVEL] == "2"
        raise ImportError("broken")
    assert capfd.readouterr().err == "something of value\nE0000 00:00:1.2 3 port.cc:1] an error\n"
    assert LEVEL not in os.environ


@pytest.mark.parametrize(("machine", "value"), [("x86_64", "1"), ("AMD64", "1"), ("arm64", None)])
def test_onednn_is_for_every_x86_processor_while_tensorflow_is_loaded(monkeypatch, machine, value):
    monkeypatch.delenv(ONEDNN, raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(ImportError), with_onednn():
        assert os.environ.get(ONEDNN) == value
        raise ImportError
    assert ONEDNN not in os.environ


def test_a_user_who_sets_onednn_decides(monkeypatch):
    monkeypatch.setenv(ONEDNN, "0")
    monkeypatch.delitem(sys.modules, "tensorflow")
    with with_onednn():
        assert os.environ[ONEDNN] == "0"
    assert os.environ[ONEDNN] == "0"


def test_tensorflow_that_is_loaded_already_is_left_alone(monkeypatch):
    monkeypatch.delenv(ONEDNN, raising=False)
    with with_onednn():
        assert ONEDNN not in os.environ


@pytest.mark.slow
def test_a_process_without_an_error_stream():
    started("import os; os.close(2); import skcnn._keras; skcnn._keras.keras.Input((2,))")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_other_module_imports_keras_itself(path):
    if path.name in ("_keras.py", "_private.py"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.partition(".")[0] for name in names} & {"keras", "tensorflow"}, ast.unparse(node)
