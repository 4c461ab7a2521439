"""What the defaults of `FineTunedCNNClassifier` were chosen by: held-out accuracy, one setting changed at a time.

Three seeds, each with a split, an order and a dropout of its own. Name a data set ("flowers17", "cifar10") and perhaps
the settings to run, by number; without names all of them run, which takes an hour.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _machine import data_folder, print_machine
from sklearn.model_selection import train_test_split

from skcnn import FineTunedCNNClassifier
from skcnn.datasets import load_image_folder
from skcnn.training import DenseHead, LinearHead

SEEDS = range(3)
BASE: dict[str, Any] = {"unfreeze": 4, "epochs": 10, "learning_rate": 1e-4, "label_smoothing": 0.0}
CHANGES: list[dict[str, Any]] = [
    {"unfreeze": 0},
    {},
    {"unfreeze": 1},
    {"unfreeze": 10},
    {"epochs": 5},
    {"epochs": 20},
    {"learning_rate": 3e-5},
    {"learning_rate": 3e-4},
    {"label_smoothing": 0.1},
    {"epochs": 20, "label_smoothing": 0.1},
    {"unfreeze": 10, "label_smoothing": 0.1},
    {"head": DenseHead(None)},
    {"head": LinearHead(C=0.1)},
    {"head": LinearHead(dropout=0.0)},
]


def flowers17(seed: int, scratch: Path) -> tuple[Any, ...]:
    """Return paths and labels: three quarters to train on, one quarter held out."""
    data = load_image_folder(data_folder("flowers17"))
    return tuple(train_test_split(data.paths, data.labels, test_size=0.25, stratify=data.labels, random_state=seed))


def cifar10(seed: int, scratch: Path) -> tuple[Any, ...]:
    """Return paths and labels: 100 images of each class to train on, chosen by the seed, and the 2,000 of the test."""
    if not (scratch / "cifar10-subset").is_dir():
        with tarfile.open(data_folder("flowers17").parent / "cifar10-subset.tar") as archive:
            archive.extractall(scratch, filter="data")
    train, test = (load_image_folder(scratch / "cifar10-subset" / part) for part in ("train", "test"))
    paths, _, labels, _ = train_test_split(
        train.paths, train.labels, train_size=1000, stratify=train.labels, random_state=seed
    )
    return paths, test.paths, labels, test.labels


DATA = {"flowers17": flowers17, "cifar10": cifar10}


def bench(name: str, numbers: list[int]) -> None:
    """Print the accuracy of settings on the held-out images of one data set."""
    print("\n| | settings | accuracy of each seed | mean | a fit takes |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for number in numbers:
            change = CHANGES[number]
            scores, seconds = [], []
            for seed in SEEDS:
                train, test, y_train, y_test = DATA[name](seed, Path(scratch))
                clf = FineTunedCNNClassifier(cache=Path(scratch, "cache"), random_state=seed, **(BASE | change))
                start = time.perf_counter()
                clf.fit(train, y_train)
                seconds.append(time.perf_counter() - start)
                scores.append(clf.score(test, y_test))
            shown = ", ".join(f"{key}={value!r}" for key, value in change.items()) or "the base"
            each = ", ".join(f"{score:.4f}" for score in scores)
            print(f"| {number} | {shown} | {each} | {np.mean(scores):.4f} | {min(seconds):.0f} s |", flush=True)


def main() -> None:
    """Run what was named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", choices=DATA, help="all if none is named")
    parser.add_argument("settings", nargs="*", type=int, help=f"0 to {len(CHANGES) - 1}")
    options = parser.parse_args()
    base = ", ".join(f"{key}={value!r}" for key, value in BASE.items())
    for name in [options.data] if options.data else DATA:
        print(f"### Defaults of fine-tuning: {name}; the base is {base}\n")
        print_machine()
        bench(name, options.settings or list(range(len(CHANGES))))


if __name__ == "__main__":
    main()
