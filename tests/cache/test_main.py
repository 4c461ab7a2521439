import json
import os
import subprocess
import sys

import pytest

from skcnn.cache import FeatureCache
from skcnn.cache.__main__ import main


@pytest.fixture
def run(cache, capsys):
    """Return a function that runs a command and returns its exit status and what it printed."""

    def run(*arguments):
        status = main([*arguments, "--directory", str(cache.directory)])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def test_info_shows_a_table(cache, fill, run):
    fill(cache, "lite0", rows=range(3))
    fill(cache, "a network of another name", rows=[1])
    os.utime(cache.entries()[0].directory / "used", (1, 1))
    status, text = run("info")
    title, blank, head, first, second = text.splitlines()
    assert status == 0
    assert title.startswith(f"{cache.directory}: 209 kB, at most ")
    assert blank == ""
    assert head.split() == ["what", "layer", "image", "size", "dtype", "images", "bytes", "last", "used"]
    assert first.endswith("days ago")
    assert "lite0  " in text
    assert "top    8 x 8       12500 float32" in second
    assert second.endswith("just now")


def test_info_of_an_empty_cache(cache, run):
    status, text = run("info")
    assert status == 0
    assert text.splitlines()[2] == "nothing is stored"


def test_info_as_json(cache, fill, run, monkeypatch):
    monkeypatch.setenv("SKCNN_CACHE_LIMIT", "1 GB")
    fill(cache, "lite0")
    status, text = run("info", "--json")
    report = json.loads(text)
    assert status == 0
    assert report["directory"] == str(cache.directory)
    assert report["limit"] == 1e9
    assert report["bytes"] == cache.size
    (entry,) = report["entries"]
    assert entry["what"] == "lite0"
    assert entry["images"] == 2
    assert entry["last_used"].startswith("20")
    monkeypatch.setenv("SKCNN_CACHE_LIMIT", "inf")
    assert json.loads(run("info", "--json")[1])["limit"] is None


def test_info_tells_what_is_not_read(cache, fill, run):
    fill(cache, "lite0").directory.rename(cache.directory / ("0" * 32))
    assert "stored by another version of skcnn" in run("info")[1]
    assert json.loads(run("info", "--json")[1])["entries"][0]["images"] is None
    assert run("clear", "--unreadable")[0] == 0
    assert cache.entries() == []


def test_clear(cache, fill, run):
    for name in "abc":
        fill(cache, name)
    assert run("clear", "--backbone", "a", "--dry-run") == (
        0,
        f"{cache.directory}: would remove 1 of 1 entries, 104 kB\n",
    )
    assert run("clear", "--backbone", "a") == (0, f"{cache.directory}: removed 1 of 1 entries, 104 kB\n")
    status, text = run("clear", "--older-than", "30d", "--json")
    assert (status, json.loads(text)) == (0, {"bytes": 0, "removed": [], "in_use": []})
    assert run("clear")[0] == 0
    assert cache.entries() == []


def hold(directory, ready, end):
    use = FeatureCache(directory).store({"network": "a"}).usage.begin()
    ready.set()
    end.wait(60)
    del use


def test_clear_leaves_what_others_use_and_says_so(cache, fill, run, in_child):
    fill(cache, "a")
    in_child(hold, cache.directory)
    status, text = run("clear")
    assert status == 1
    assert "removed 0 of 1 entries" in text
    assert "in use, or not to be removed: a top in" in text
    assert len(cache.entries()) == 1


def test_verify_and_compact(cache, fill, run):
    store = fill(cache, "a")
    assert run("verify") == (0, f"{cache.directory}: all features are as they were written\n")
    (path,) = store.directory.glob("shard-*.h5")
    path.write_bytes(path.read_bytes()[:-1])
    status, text = run("verify")
    assert (status, text) == (1, f"{store.directory}: damaged or not readable: {path.name}\n")
    assert json.loads(run("verify", "--json")[1]) == {"damaged": {store.directory.name: [path.name]}}
    status, text = run("compact")
    assert status == 0
    assert "104 kB less than before" in text
    assert run("verify")[0] == 0


def test_misuse(run, monkeypatch, capsys):
    for arguments in (["clear", "--older-than", "soon"], ["remove"], []):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "'12h', '30d' or '4w'. Got 'soon' instead" in capsys.readouterr().err
    monkeypatch.setenv("SKCNN_CACHE_LIMIT", "much")
    status, text = run("info")
    assert status == 2
    assert text.startswith("error: SKCNN_CACHE_LIMIT must be a size above 0")


def test_as_a_user_runs_it(cache, fill):
    fill(cache, "lite0")
    environment = {**os.environ, "SKCNN_CACHE_DIR": str(cache.directory)}
    command = [sys.executable, "-m", "skcnn.cache", "info"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lite0" in done.stdout
