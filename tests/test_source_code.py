import pytest

from skcnn._source_code import source_of

SCALE = 2


def scaled(x):
    return SCALE * x


def make(factor, default=1):
    def inner(x, y=default):
        return factor * x + y

    return inner


class Twice:
    def call(self, x):
        return SCALE * x


def test_equal_functions_have_equal_source():
    assert source_of(make(2)) == source_of(make(2))


@pytest.mark.parametrize("other", [make(3), make(2, default=5), scaled])
def test_closures_and_defaults_count(other):
    assert source_of(make(2)) != source_of(other)


@pytest.mark.parametrize("code", [scaled, Twice])
def test_plain_globals_count(code, monkeypatch):
    before = source_of(code)
    monkeypatch.setitem(globals(), "SCALE", 3)
    assert source_of(code) != before


def test_what_has_no_source_is_refused():
    with pytest.raises(ValueError, match="the source of .* cannot be read, .*define it in a file"):
        source_of(type("Typed", (), {}))
