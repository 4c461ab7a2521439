"""Held-out accuracy of `FineTunedCNNClassifier` under its defaults and other settings, beside that of the probe.

Each seed has a split, an order and a dropout of its own. Name a data set ("flowers17", "cifar10" or "digits"), how many
images of each class to train on (0 for all there are), and perhaps the settings, by number; without names all of them
run, which takes long.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _machine import data_folder, print_machine
from sklearn.model_selection import train_test_split

from skcnn import FineTunedCNNClassifier
from skcnn.datasets import load_digits_images, load_image_folder
from skcnn.training import DenseHead, LinearHead

BEFORE: dict[str, Any] = {"schedule": None, "shrinkage": None}
SETTINGS: list[dict[str, Any]] = [
    {"unfreeze": 0},
    {},
    BEFORE,
    {"shrinkage": None},
    {"shrinkage": 0.5},
    {"epochs": 10},
    {"epochs": 10, "learning_rate": 3e-4},
    {"learning_rate": 3e-5},
    {"label_smoothing": 0.1},
    {"unfreeze": 1},
    {"unfreeze": 10},
    {"head": LinearHead(dropout=0.0)},
    {"head": LinearHead(C=0.1)},
    {"head": DenseHead(None)},
]
MAX_TEST = 500


def flowers17(scratch: Path) -> tuple[Any, Any]:
    """Return paths and labels of 17 species with 80 photographs each."""
    data = load_image_folder(data_folder("flowers17"))
    return data.paths, data.labels


def cifar10(scratch: Path) -> tuple[Any, Any]:
    """Return paths and labels of the training folder: ten classes with 1,000 images each, 32 pixels wide."""
    if not (scratch / "cifar10-subset").is_dir():
        with tarfile.open(data_folder("flowers17").parent / "cifar10-subset.tar") as archive:
            archive.extractall(scratch, filter="data")
    data = load_image_folder(scratch / "cifar10-subset" / "train")
    return data.paths, data.labels


def digits(scratch: Path) -> tuple[Any, Any]:
    """Return paths and labels of scikit-learn's 1,797 digits."""
    data = load_digits_images()
    return data.paths, data.labels


# The number of images of each class that 0 stands for: three quarters of Flowers-17, and a smaller share of the others.
DATA: dict[str, tuple[Callable[[Path], tuple[Any, Any]], int]] = {
    "flowers17": (flowers17, 60),
    "cifar10": (cifar10, 100),
    "digits": (digits, 45),
}


def split(name: str, per_class: int, seed: int, scratch: Path) -> tuple[Any, ...]:
    """Return paths to train on and to test by, and their labels; at most 500 to test by."""
    load, most = DATA[name]
    paths, labels = load(scratch)
    n_classes = len(set(labels))
    n_train = n_classes * (per_class or most)
    n_test = min(MAX_TEST, len(labels) - n_train)
    return tuple(
        train_test_split(list(paths), labels, train_size=n_train, test_size=n_test, stratify=labels, random_state=seed)
    )


def describe(setting: dict[str, Any]) -> str:
    """Return how a setting is shown."""
    return ", ".join(f"{key}={value!r}" for key, value in setting.items()) or "the defaults"


def bench(name: str, per_class: int, seeds: int, numbers: list[int]) -> None:
    """Print, for each setting, the accuracy on held-out images, how steady the loss was, and the time of a fit."""
    head = ("images per class", "settings", "accuracy of each seed", "mean", "above the probe")
    print(f"\n| {' | '.join(head)} | last loss / lowest, of each seed | lowest loss | median fit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    probe = np.zeros(seeds)
    with tempfile.TemporaryDirectory() as scratch:
        for number in numbers:
            scores, seconds, ratios, lowest = [], [], [], []
            for seed in range(seeds):
                train, test, y_train, y_test = split(name, per_class, seed, Path(scratch))
                clf = FineTunedCNNClassifier(cache=Path(scratch, "cache"), random_state=seed, **SETTINGS[number])
                start = time.perf_counter()
                clf.fit(train, y_train)
                seconds.append(time.perf_counter() - start)
                scores.append(clf.score(test, y_test))
                losses = [record["loss"] for record in clf.history_ if record["phase"] == "fine-tune"] or [np.nan]
                ratios.append(losses[-1] / min(losses))
                lowest.append(min(losses))
            if number == 0:
                probe = np.array(scores)
            each = ", ".join(f"{score:.4f}" for score in scores)
            gained = f"{np.mean(scores - probe):+.4f}" if 0 in numbers else ""
            steady = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            row = (per_class or "all", describe(SETTINGS[number]), each, f"{np.mean(scores):.4f}", gained, steady)
            row += (f"{np.median(lowest):.4f}", f"{np.median(seconds):.1f} s")
            print(f"| {' | '.join(map(str, row))} |", flush=True)


def main() -> None:
    """Run what was named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", choices=DATA, help="all if none is named")
    parser.add_argument("per_class", nargs="?", type=int, help="images of each class; 0 for all; else 2, 5, 10 and all")
    parser.add_argument("settings", nargs="*", type=int, help=f"0 to {len(SETTINGS) - 1}")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for name in [options.data] if options.data else DATA:
        print(f"### Defaults of fine-tuning: {name}\n")
        print_machine()
        for per_class in [2, 5, 10, 0] if options.per_class is None else [options.per_class]:
            bench(name, per_class, options.seeds, options.settings or list(range(len(SETTINGS))))


if __name__ == "__main__":
    main()
