from pathlib import Path

from skcnn.cache._directory import default_cache_dir


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
