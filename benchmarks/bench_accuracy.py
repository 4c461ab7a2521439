"""What the recipe for small data sets reaches: held-out accuracy, against the probe that it begins with.

Name a data set ("flowers17", "cifar10", "digits"). Fits that were made before are taken from the file of results, and
no fit is begun after `--minutes`, so that running it again and again ends with the whole table:

    python benchmarks/bench_accuracy.py flowers17 --folder /tmp/accuracy --minutes 5
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _machine import data_folder, print_machine
from bench_fine_tuning_defaults import cifar10
from sklearn.model_selection import train_test_split

from skcnn import Augmentation, FineTunedCNNClassifier, TenCropClassifier
from skcnn.datasets import load_digits_images, load_image_folder
from skcnn.images import as_image_sequence
from skcnn.training import LinearHead

PROBE: dict[str, Any] = {"unfreeze": 0}
AUGMENTATION = {"rotation": 20, "width_shift": 0, "height_shift": 0, "shear": 0, "zoom": 0, "crop": (0.5, 1),
                "brightness": 20, "contrast": 0.2}  # fmt: skip
RECIPE: dict[str, Any] = {
    "unfreeze": 10,
    "epochs": 20,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "shrinkage": None,
    "label_smoothing": 0.1,
    "head": LinearHead(dropout=0.3),
    "augmented_views": 10,
}
SEEDS = range(3)
# Of each data set: the splits, what its augmentation has of its own, and the settings that are compared.
SPLITS = {"flowers17": range(2), "cifar10": range(1), "digits": range(1)}
ITS_OWN: dict[str, dict[str, Any]] = {"flowers17": {}, "cifar10": {}, "digits": {"horizontal_flip": False}}
SETTINGS = {"the probe": PROBE, "the recipe": RECIPE, "the recipe, unfreeze=7": {**RECIPE, "unfreeze": 7}}


def flowers17(split: int, folder: Path) -> dict[str, Any]:
    """Return what to train on, and what to judge by: a quarter, held out, and its mirror images with it."""
    data = load_image_folder(data_folder("flowers17"))
    train, test, y_train, y_test = train_test_split(
        data.paths, data.labels, test_size=0.25, stratify=data.labels, random_state=split
    )
    return {"train": (train, y_train), "test": (test, y_test)}


def cifar10_subset(split: int, folder: Path) -> dict[str, Any]:
    """Return 100 images of each class to train on, and the 2,000 of the test."""
    train, test, y_train, y_test = cifar10(split, folder)
    return {"train": (train, y_train), "test": (test, y_test)}


def digits(split: int, folder: Path) -> dict[str, Any]:
    """Return 600 digits to train on, and 600 others: as they are, moved by a pixel of eight, and inverted."""
    data = load_digits_images(folder / "digits")
    train, test, y_train, y_test = train_test_split(
        data.paths, data.labels, train_size=600, test_size=600, stratify=data.labels, random_state=split
    )
    pixels = np.stack(as_image_sequence(test).load())
    moved = np.pad(pixels, ((0, 0), (0, 0), (1, 0), (0, 0)), mode="edge")[:, :, :-1]
    return {
        "train": (train, y_train),
        "test": (test, y_test),
        "moved": (moved, y_test),
        "inverted": (255 - pixels, y_test),
    }


DATA: dict[str, Callable[[int, Path], dict[str, Any]]] = {
    "flowers17": flowers17,
    "cifar10": cifar10_subset,
    "digits": digits,
}


def run(name: str, setting: str, split: int, seed: int, folder: Path) -> dict[str, float]:
    """Fit once; return accuracies and the time of the fit."""
    data = DATA[name](split, folder)
    settings = dict(SETTINGS[setting])
    if "augmented_views" in settings:
        settings["augmentation"] = Augmentation(**{**AUGMENTATION, **ITS_OWN[name]})
    clf = FineTunedCNNClassifier(cache=folder / "cache", random_state=seed, **settings)
    start = time.perf_counter()
    clf.fit(*data.pop("train"))
    results = {"seconds": time.perf_counter() - start}
    results |= {kind: clf.score(*judged) for kind, judged in data.items()}
    if ITS_OWN[name].get("horizontal_flip", True):
        results["mirrored"] = TenCropClassifier(clf, resize=224, crop_size=224).score(*data["test"])
    return results


def tasks(name: str, settings: list[str]) -> Iterator[tuple[str, int, int]]:
    """Yield setting, split and seed of all fits; nothing in the probe is drawn."""
    for setting in settings:
        for split in SPLITS[name]:
            for seed in SEEDS if setting != "the probe" else [0]:
                yield setting, split, seed


def print_results(name: str, settings: list[str], results: dict[str, dict[str, float]]) -> None:
    """Print a row for each setting: the mean of each figure, and what each fit reached."""
    keys = {setting: [] for setting in settings}
    for setting, split, seed in tasks(name, settings):
        keys[setting].append(f"{name}, {setting}, split {split}, seed {seed}")
    kinds = [kind for kind in next(iter(results.values())) if kind != "seconds"]
    print(f"\n#### {name}: {len(SPLITS[name])} split(s), {len(SEEDS)} seeds\n")
    print(f"| | {' | '.join(kinds)} | on the test images, each fit | a fit takes |\n|{' --- |' * (len(kinds) + 3)}")
    for setting, rows in keys.items():
        means = " | ".join(f"{np.mean([results[row][kind] for row in rows]):.4f}" for kind in kinds)
        each = ", ".join(f"{results[row]['test']:.4f}" for row in rows)
        seconds = sorted(round(results[row]["seconds"]) for row in rows)
        span = " to ".join(str(value) for value in dict.fromkeys([seconds[0], seconds[-1]]))
        print(f"| {setting} | {means} | {each} | {span} s |")


def main() -> None:
    """Make the fits that are missing, and print the table when there are all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", choices=DATA, help="all if none is named")
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--folder", type=Path, help="keeps results and features from run to run")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no other fit is begun")
    options = parser.parse_args()
    begin = time.perf_counter()
    print("### Accuracy of the recipe, efficientnet_lite0 at 224\n")
    print_machine()
    recipe = ", ".join(f"{name}={value!r}" for name, value in {**RECIPE, **AUGMENTATION}.items())
    print(f"\nThe recipe: {recipe}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "results.json"
        results = json.loads(file.read_text()) if file.exists() else {}
        for name in [options.data] if options.data else DATA:
            own = {}
            for setting, split, seed in tasks(name, options.settings):
                key = f"{name}, {setting}, split {split}, seed {seed}"
                if key not in results:
                    if time.perf_counter() - begin > 60 * options.minutes:
                        print(f"\n{name} is not complete; run it again")
                        return
                    results[key] = run(name, setting, split, seed, folder)
                    file.write_text(json.dumps(results, indent=1))
                own[key] = results[key]
            print_results(name, options.settings, own)


if __name__ == "__main__":
    main()
