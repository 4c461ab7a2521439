import json
import sys

import pytest

from skcnn._optional import import_optional, is_installed


def test_installed_module():
    assert import_optional("json", purpose="this test", install="python") is json


def test_missing_module_says_what_for_and_how():
    match = r"^reading 's3://x' needs no_such_module, which is not installed; run: pip install 'no-such\[s3\]'$"
    with pytest.raises(ImportError, match=match) as caught:
        import_optional("no_such_module", purpose="reading 's3://x'", install="no-such[s3]")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_missing_package_of_a_submodule():
    with pytest.raises(ImportError, match=r"this test needs no_such_module.inside, which is not installed"):
        import_optional("no_such_module.inside", purpose="this test", install="no-such")


def test_module_that_misses_another_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'no_such_dependency'$"):
        import_optional("half_installed", purpose="this test", install="half-installed")


def test_is_installed_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "explosive.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert is_installed("explosive")
    assert "explosive" not in sys.modules
    assert not is_installed("no_such_module")
