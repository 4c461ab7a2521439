"""The examples, run as users run them, on a tiny network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import keras
import numpy as np
import pandas as pd
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes, dark and light, with one file that is damaged."""
    import cv2

    generator = np.random.default_rng(0)
    for name, least in (("dark", 0), ("light", 128)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(12):
            pixels = generator.integers(least, least + 128, (20, 24, 3), dtype=np.uint8)
            assert cv2.imwrite(str(folder / f"{index:02d}.png"), pixels)
    (tmp_path / "photos" / "dark" / "damaged.png").write_bytes(b"\x89PNG")
    return str(tmp_path / "photos")


@pytest.fixture
def backbone(residual, tmp_path):
    """A `.keras` file of a tiny network."""
    residual.save(tmp_path / "backbone.keras")
    return str(tmp_path / "backbone.keras")


def run(script, *arguments, cache):
    """Return what an example prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    environment = os.environ | {"SKCNN_CACHE_DIR": str(cache)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_quickstart(photos, backbone, tmp_path, private_cache):
    output = tmp_path / "output"
    said = run("quickstart.py", photos, "--backbone", backbone, "--output", output, cache=private_cache)
    assert "24 images of 2 classes, 12 to 12 each" in said
    assert said.count("saved, loaded back, same predictions") == 2
    assert "fine-tuning changed the held-out rank-1 accuracy by" in said
    assert sorted(os.listdir(output)) == ["features.joblib", "fine-tuned.joblib", "predictions.png"]


@pytest.mark.slow
def test_fine_tune(photos, backbone, tmp_path, private_cache):
    output = tmp_path / "output"
    options = ["--backbone", backbone, "--unfreeze", "two_a", "--epochs", 3, "--output", output]
    said = run("fine_tune.py", photos, *options, cache=private_cache)
    assert "18 images of 2 classes to train on, 6 held out" in said
    assert "the head alone: fitted in" in said
    assert "fine-tuned: fitted in" in said
    written = ["classifier.joblib", "confusion.png", "history.png", "network.keras", "network.keras.classes.json"]
    assert sorted(os.listdir(output)) == [*written, "predictions.csv"]

    clf = joblib.load(output / "classifier.joblib")
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    network = keras.models.load_model(output / "network.keras")
    np.testing.assert_allclose(network.predict(images, verbose=0), clf.predict_proba(images), atol=1e-5)
    assert json.loads((output / "network.keras.classes.json").read_text()) == ["dark", "light"]


@pytest.mark.slow
def test_fine_tune_best(photos, backbone, tmp_path, private_cache):
    """What is saved and exported is what the reported accuracy is of: averaged with the mirror images."""
    output = tmp_path / "output"
    options = ["--best", "--backbone", backbone, "--unfreeze", 1, "--epochs", 2, "--output", output]
    said = run("fine_tune.py", photos, *options, cache=private_cache)
    clf = joblib.load(output / "classifier.joblib")
    assert type(clf).__name__ == "TenCropClassifier"
    assert clf.estimator_.augmented_views == 10
    rates = [record["learning_rate"] for record in clf.history_[1:]]
    assert rates[0] > rates[1] > 0
    table = pd.read_csv(output / "predictions.csv")
    assert table["label"].tolist() == clf.predict(table["file"]).tolist()
    right = np.mean(
        [Path(file).parent.name == label for file, label in zip(table["file"], table["label"], strict=True)]
    )
    assert f"held-out accuracy {right:.4f}" in said.splitlines()[2]
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    network = keras.models.load_model(output / "network.keras")
    np.testing.assert_allclose(network.predict(images, verbose=0), clf.predict_proba(images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 2])
def test_train_from_scratch(photos, tmp_path, private_cache, members):
    output = tmp_path / "output"
    options = ["--size", 16, "--epochs", 2, "--members", members, "--output", output]
    said = run("train_from_scratch.py", photos, *options, cache=private_cache)
    assert "18 images of 2 classes to train on, 6 held out" in said
    assert said.count("held-out accuracy") == (1 if members == 1 else 3)
    assert "as they are" in said
    networks = [f"network-{number}.keras" for number in range(1, members + 1)]
    exports = [name + ending for name in networks for ending in ("", ".classes.json")]
    pictures = ["confusion.png", "history.png", "robustness.png"]
    assert set(os.listdir(output)) == {"classifier.joblib", *exports, *pictures, "predictions.csv", "training"}
    # Called again, it reads what is complete.
    again = run("train_from_scratch.py", photos, *options, cache=private_cache)
    assert again.splitlines()[:-10] == said.splitlines()[:-10]


@pytest.mark.slow
def test_pack_and_train(photos, tmp_path, private_cache):
    output = tmp_path / "packed"
    options = ["--size", 16, "--epochs", 2, "--output", output]
    said = run("pack_and_train.py", photos, *options, cache=private_cache)
    assert "17 images to train on, 7 held out, of 16 x 16" in said
    assert said.count("held-out accuracy") == 2
    assert set(os.listdir(output)) == {"train-16.hdf5", "test-16.hdf5"}
    files = {path: path.read_bytes() for path in output.iterdir()}
    run("pack_and_train.py", photos, *options, cache=private_cache)
    assert files == {path: path.read_bytes() for path in output.iterdir()}


@pytest.mark.slow
def test_grid_search_unfreeze_depth(photos, backbone, tmp_path, private_cache):
    picture = tmp_path / "depths.png"
    options = ["--backbone", backbone, "--depths", 0, 1, 2, "--epochs", 2, "--folds", 2, "--output", picture]
    said = run("grid_search_unfreeze_depth.py", photos, *options, cache=private_cache)
    rows = {tuple(line.split()[:2]) for line in said.splitlines() if "+-" in line}
    assert rows == {("0", "-"), ("1", "3e-05"), ("2", "3e-05"), ("1", "0.0001"), ("2", "0.0001")}
    assert "best: {'clf__" in said
    assert picture.stat().st_size > 5_000


@pytest.mark.slow
def test_ensemble(photos, backbone, tmp_path, private_cache):
    picture = tmp_path / "output" / "ranks.png"
    options = ["--backbone", backbone, "--members", 2, "--epochs", 2, "--output", picture]
    said = run("ensemble.py", photos, *options, cache=private_cache)
    lines = said.splitlines()
    for name in ("one network", "snapshot, 2 members", "soup, 2 members", "independent, 2 members"):
        assert sum(line.startswith(f"{name}: held-out accuracy ") for line in lines) == 1
    assert sum("points per extra second" in line for line in lines) >= 1
    assert [line.split()[0] for line in lines if line.startswith(("member", "ensemble", "all  ", "dark", "light"))] == [
        *["member", "member", "ensemble"],
        *["all", "dark", "light"],
    ]
    assert picture.stat().st_size > 5_000


@pytest.mark.slow
def test_ten_crop(photos, backbone, tmp_path, private_cache):
    said = run("ten_crop.py", photos, "--backbone", backbone, "--average", "max", cache=private_cache)
    assert [line.split(":")[0] for line in said.splitlines() if "held-out accuracy" in line] == [
        "one crop",
        "crops predicted",
        "crops predicted and trained on",
    ]
    assert said.count("images  single  averaged  corrected  made_wrong") == 2
    assert said.count("points per extra second") >= 1
    assert not list(private_cache.rglob("shard-*"))  # the caches were its own
