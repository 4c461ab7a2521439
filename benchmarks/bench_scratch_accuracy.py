"""Held-out accuracy of networks from random weights: published trainings, and the recipe.

Name trainings; without names all of them run. Each is ended and gone on with as often as one likes: it goes on from its
checkpoint in `--folder`, and one that is complete is read from there. So this fits into short pieces:

    timeout 450 python benchmarks/bench_scratch_accuracy.py flowers --folder /tmp/scratch
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _machine import data_folder, print_machine
from bench_fine_tuning_defaults import cifar10 as training_part_of_cifar10
from sklearn.model_selection import train_test_split

from skcnn import Augmentation, CNNClassifier, from_scratch_recipe
from skcnn._keras import keras  # with oneDNN, as where skcnn loads it
from skcnn.datasets import load_image_folder
from skcnn.training import TimeBasedDecay


class Images(NamedTuple):
    """What to train on and what to judge by."""

    train: Any
    y_train: np.ndarray
    test: Any
    y_test: np.ndarray


def flowers17(folder: Path) -> Images:
    """Return the published split: a quarter is held out, not stratified."""
    data = load_image_folder(data_folder("flowers17"))
    train, test, y_train, y_test = train_test_split(data.paths, data.labels, test_size=0.25, random_state=42)
    return Images(train, y_train, test, y_test)


def cifar10(folder: Path) -> Images:
    """Return 1,000 images of each class to train on, and 200 others of each."""
    train, y_train = training_part_of_cifar10(folder)
    test = load_image_folder(folder / "cifar10-subset" / "test")
    return Images(train, y_train, test.paths, test.labels)


def minivggnet_flowers(augmentation: Augmentation | None = None) -> Callable[..., Any]:
    """Return a function that makes the published training of Flowers-17."""

    def make(**settings: Any) -> CNNClassifier:
        training: dict[str, Any] = {
            "optimizer": keras.optimizers.SGD(0.05),
            "schedule": None,
            "batch_size": 32,
            "epochs": 100,
        }
        return CNNClassifier("minivggnet", input_size=64, augmentation=augmentation, **training, **settings)

    return make


def minivggnet_cifar10(**settings: Any) -> CNNClassifier:
    """Return the published training of CIFAR-10."""
    augmentation = Augmentation(rotation=10, width_shift=0.1, height_shift=0.1, shear=0, zoom=0)
    training: dict[str, Any] = {
        "optimizer": keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
        "schedule": TimeBasedDecay(),
        "batch_size": 64,
        "epochs": 40,
    }
    return CNNClassifier("minivggnet", input_size=32, augmentation=augmentation, **training, **settings)


def recipe(input_size: int, epochs: int, **changes: Any) -> Callable[..., Any]:
    """Return a function that makes the recipe for images of a size, perhaps changed."""
    return lambda **settings: from_scratch_recipe(input_size=input_size, epochs=epochs, **changes, **settings)


def defaults(input_size: int, epochs: int) -> Callable[..., Any]:
    """Return a function that makes a classifier with the network of the published training and the defaults."""
    return lambda **settings: CNNClassifier("minivggnet", input_size=input_size, epochs=epochs, **settings)


# What trainings of CIFAR-10 add that take longer: larger shifts, and a square that is cut out.
STRONGER = Augmentation.only(width_shift=4, height_shift=4, horizontal_flip="alternate", fill_mode="reflect", cutout=12)


class Training(NamedTuple):
    """What is trained on which images, from how many seeds."""

    images: Callable[[Path], Images]
    make: Callable[..., Any]
    seeds: int


TRAININGS = {
    "flowers": Training(flowers17, minivggnet_flowers(), 3),
    "flowers-augmented": Training(flowers17, minivggnet_flowers(Augmentation()), 3),
    "flowers-defaults": Training(flowers17, defaults(64, epochs=100), 1),
    "flowers-recipe": Training(flowers17, recipe(64, epochs=100), 3),
    "cifar10": Training(cifar10, minivggnet_cifar10, 5),
    "cifar10-defaults": Training(cifar10, defaults(32, epochs=40), 1),
    "cifar10-recipe": Training(cifar10, recipe(32, epochs=38), 3),
    "cifar10-recipe-stronger": Training(cifar10, recipe(32, epochs=38, augmentation=STRONGER), 3),
}


def train(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Return accuracy, minutes and probabilities of one training, from its file if it is complete."""
    result = folder / f"{name}-{seed}.json"
    if result.exists():
        return json.loads(result.read_text())
    training = TRAININGS[name]
    images = training.images(folder)
    settings: dict[str, Any] = {"cache": folder / "store", "checkpoint_dir": folder / f"{name}-{seed}"}
    clf = training.make(random_state=seed, verbose=1, **settings).fit(images.train, images.y_train)
    probabilities = clf.predict_proba(images.test)
    record = {
        "accuracy": float(np.mean(clf.classes_[probabilities.argmax(axis=1)] == images.y_test)),
        "minutes": sum(record["seconds"] for record in clf.history_) / 60,
        "epochs": len(clf.history_),
        "probabilities": probabilities.round(6).tolist(),
        "classes": clf.classes_.tolist(),
        "labels": images.y_test.tolist(),
    }
    result.write_text(json.dumps(record))
    return record


def averaged(records: list[dict[str, Any]]) -> float:
    """Return the accuracy of the mean of the probabilities."""
    mean = np.mean([record["probabilities"] for record in records], axis=0)
    classes, labels = (np.array(records[0][name]) for name in ("classes", "labels"))
    return float(np.mean(classes[mean.argmax(axis=1)] == labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*TRAININGS], help=", ".join(TRAININGS))
    parser.add_argument("--folder", type=Path, required=True, help="of checkpoints and results")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="default: all that the table needs")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print_machine()
    print("\n| training | epochs | minutes | accuracy, mean | of each seed | averaged |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.names:
        seeds = arguments.seeds or range(TRAININGS[name].seeds)
        records = [train(name, seed, arguments.folder) for seed in seeds]
        accuracies = [record["accuracy"] for record in records]
        minutes = statistics.mean(record["minutes"] for record in records)
        each = ", ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        figures = f"{records[0]['epochs']} | {minutes:.1f} | {statistics.mean(accuracies):.4f} | {each}"
        print(f"| {name} | {figures} | {averaged(records):.4f} |", flush=True)


if __name__ == "__main__":
    main()
