import contextlib
import importlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from skcnn._source_code import UnknownCodeError, describe_code, without_comments

SCALE = 2
TABLE = np.arange(3)


def scaled(x):
    return SCALE * x + TABLE[0]


def make(factor, default=1):
    def inner(x, y=default):
        return factor * x + y

    return inner


class Twice:
    strength = 1

    def call(self, x):
        return SCALE * x


def test_equal_functions_have_equal_descriptions():
    assert describe_code(make(2)) == describe_code(make(2))


@pytest.mark.parametrize("other", [make(3), make(2, default=5), scaled, make(np.ones(2))])
def test_closures_and_defaults_count(other):
    assert describe_code(make(2)) != describe_code(other)


def test_a_function_within_the_decorator_of_a_library_counts():
    assert describe_code(contextlib.contextmanager(make(2))) != describe_code(contextlib.contextmanager(make(3)))


@pytest.mark.parametrize("code", [scaled, Twice])
def test_globals_count(code, monkeypatch):
    before = describe_code(code)
    monkeypatch.setitem(globals(), "SCALE", 3)
    assert describe_code(code) != before


def test_arrays_among_the_globals_count(monkeypatch):
    before = describe_code(scaled)
    monkeypatch.setitem(globals(), "TABLE", np.arange(3) + 1)
    assert describe_code(scaled) != before


def test_attributes_of_a_class_count(monkeypatch):
    before = describe_code(Twice)
    monkeypatch.setattr(Twice, "strength", 2)
    assert describe_code(Twice) != before


def test_two_classes_of_one_name_in_one_file_are_told_apart():
    def first():
        class Same:
            def call(self, x):
                return 2 * x

        return Same

    def second():
        class Same:
            def call(self, x):
                return 3 * x

        return Same

    assert describe_code(first()) == describe_code(first()) != describe_code(second())


def test_what_depends_on_an_unknown_object_is_refused():
    with pytest.raises(UnknownCodeError, match=r"make\.<locals>\.inner depends on a lock, whose value cannot be told"):
        describe_code(make(threading.Lock()))


# Edits ----------------------------------------------------------------------------------------------------------------

STEPS = """
from helpers import amount
import package.deep as deep

class Base:
    def factor(self):
        return {base}

class Dim(Base):  # {comment}

    def __call__(self, image):
        from package import lazy
        return amount(image) * self.factor() * deep.VALUE * lazy.VALUE
"""
FILES = {
    "steps.py": STEPS,
    "helpers.py": "from package.inner import {inner}\ndef amount(image):\n    return image // {helper}\n",
    "package/__init__.py": "",
    "package/inner.py": "VALUE = 1\nOTHER = 2\n",
    "package/deep.py": "from .sibling import VALUE\n",
    "package/sibling.py": "VALUE = {sibling}\n",
    "package/lazy.py": "VALUE = {lazy}\n",
    "unrelated.py": "VALUE = {unrelated}\n",
}
PARTS = {
    "base": 1,
    "comment": "a",
    "inner": "VALUE",
    "helper": 2,
    "sibling": 1,
    "lazy": 1,
    "unrelated": 1,
}


def write(folder, **changes):
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(**{**PARTS, **changes}))


def described(folder, code="import steps", name="steps.Dim"):
    """Return what a new process says of a class."""
    program = f"import sys; sys.path.insert(0, '.'); {code}\nfrom skcnn._source_code import describe_code; print(describe_code({name}))"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    "change",
    [{"base": 2}, {"helper": 3}, {"inner": "OTHER"}, {"sibling": 2}, {"lazy": 2}],
    ids=lambda part: next(iter(part)),
)
def test_an_edit_of_anything_the_class_reaches_is_seen(tmp_path, change):
    write(tmp_path)
    before = described(tmp_path)
    write(tmp_path, **change)
    assert described(tmp_path) != before


@pytest.mark.parametrize("change", [{"comment": "another"}, {"unrelated": 2}], ids=lambda part: next(iter(part)))
def test_comments_and_other_files_do_not_count(tmp_path, change):
    write(tmp_path)
    before = described(tmp_path)
    write(tmp_path, **change)
    assert described(tmp_path) == before


def test_a_project_may_move(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two")
    assert described(tmp_path / "one") == described(tmp_path / "two")


def test_code_that_was_imported_before_an_edit_is_not_taken_for_the_edited(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("steps", "helpers", "package"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    steps = importlib.import_module("steps")
    before = describe_code(steps.Dim)
    write(tmp_path, base=22)
    stale = describe_code(steps.Dim)
    edited = describe_code(importlib.reload(steps).Dim)
    assert len({str(before), str(stale), str(edited)}) == 3
    for name in [name for name in sys.modules if name.partition(".")[0] in ("steps", "helpers", "package")]:
        monkeypatch.delitem(sys.modules, name)


def test_code_typed_at_a_prompt_counts_by_its_byte_code(tmp_path):
    typed = "\n{helper}\nclass Dim:\n    def __call__(self, image): return amount(image) * {factor}\n"
    helper = "def amount(image): return image // {}"
    texts = [
        typed.format(helper=helper.format(divisor), factor=factor)
        for divisor, factor in ((2, 1), (2, 1), (2, 2), (3, 1))
    ]
    one, again, other, other_helper = (described(tmp_path, text, "Dim") for text in texts)
    assert one == again
    assert len({one, other, other_helper}) == 3


def test_blank_lines_count_inside_strings_only():
    code = b'x = 1  # one\n\n\ny = """a\n\n# b   \n"""\n\n'
    assert without_comments(code) == 'x = 1\ny = """a\n\n# b   \n"""'
    assert without_comments(b"def broken(:\n  # kept") == "def broken(:\n  # kept"
