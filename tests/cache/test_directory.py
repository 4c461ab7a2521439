import os
import subprocess
import sys
from pathlib import Path

import pytest

from skcnn.cache._directory import cache_directory, default_cache_dir
from skcnn.exceptions import StoreError, StoreWarning


def test_the_environment_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SKCNN_CACHE_DIR", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
    assert not default_cache_dir().exists()


def test_a_tilde_is_the_home_directory(monkeypatch):
    monkeypatch.setenv("SKCNN_CACHE_DIR", "~/features")
    assert default_cache_dir() == Path.home() / "features"


def test_otherwise_the_users_cache(monkeypatch):
    import platformdirs

    monkeypatch.delenv("SKCNN_CACHE_DIR")
    assert default_cache_dir() == Path(platformdirs.user_cache_dir("skcnn", appauthor=False))
    monkeypatch.setenv("SKCNN_CACHE_DIR", "")
    assert default_cache_dir().name == "skcnn"


HOMELESS = """
import os, sys, warnings
import numpy as np
import platformdirs
from skcnn.features import RawPixels, extract

def no_home(*args, **kwargs):
    raise RuntimeError("could not determine the home directory")

platformdirs.user_cache_dir = no_home
images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for trunk in (RawPixels((16, 16, 3)), RawPixels((8, 8, 1))):
        for _ in range(2):
            assert np.asarray(extract(images, trunk)).shape == (3, *trunk.input_shape)
print(*(each.message for each in caught if "not kept" in str(each.message)), sep="\\n")
"""


@pytest.mark.parametrize(
    "problem", ["no home", *(pytest.param(each, marks=pytest.mark.slow) for each in ("below a file", "read-only"))]
)
def test_features_come_with_one_warning_where_nothing_can_be_kept(problem, tmp_path):
    (tmp_path / "file").touch()
    environment = {name: value for name, value in os.environ.items() if name != "SKCNN_CACHE_DIR"}
    if problem != "no home":
        environment["SKCNN_CACHE_DIR"] = str(tmp_path / "file" / "x") if problem == "below a file" else "/proc/skcnn"
    if problem == "read-only" and not os.path.isdir("/proc"):
        pytest.skip("no directory that nobody can write")
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = done.stdout.splitlines()
    assert ("no home directory" if problem == "no home" else "cannot be written") in line
    assert "features are computed and returned, but not kept. Name a directory" in line


def test_a_directory_of_ones_own_needs_a_home_where_it_says_so(monkeypatch):
    def no_home(path):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(Path, "expanduser", no_home)
    monkeypatch.setenv("SKCNN_CACHE_DIR", "~/features")
    with pytest.raises(StoreError, match="there is no home directory for '~/features'"):
        default_cache_dir()
    with pytest.raises(StoreError, match="there is no home directory for '~/mine'"):
        cache_directory("~/mine")
    with pytest.warns(StoreWarning, match="there is no home directory for '~/features'"):
        assert cache_directory(True) is None


def test_a_home_that_is_not_known_is_no_folder_named_tilde(monkeypatch):
    monkeypatch.delenv("SKCNN_CACHE_DIR")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *args, **settings: "~/.cache/skcnn")
    with pytest.raises(StoreError, match="no home directory to keep anything in .*; SKCNN_CACHE_DIR names another"):
        default_cache_dir()
