"""An epoch of `CNNClassifier` on stored pixels, beside the same epoch of plain Keras on arrays in memory.

The network, its first weights, the batches and their order are the same, and the weights that are trained are compared
at the end. Beside that stands how much plain Keras differs from itself after one kernel was multiplied by 1 + 2e-7 at
the beginning: in deep networks the last digits decide. Name some of the networks; without names all of them run.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from typing import Any, NamedTuple

import keras
import numpy as np
from _machine import data_folder, print_machine

from skcnn import CNNClassifier
from skcnn.architectures import ARCHITECTURES
from skcnn.datasets import load_image_folder
from skcnn.images import ResizeCrop, as_image_sequence
from skcnn.training import epoch_order
from skcnn.training._model import begin_at_random

RATE = 0.01


class Case(NamedTuple):
    """A network, the side of its images, and how many there are."""

    name: str
    side: int
    n_images: int


CASES = {each.name: each for each in (Case("minivggnet", 64, 512), Case("alexnet", 227, 128), Case("resnet", 64, 64))}


def seconds_of_skcnn(case: Case, paths: Any, labels: Any, epochs: int, cache: str) -> tuple[list[float], Any]:
    """Return the seconds of each epoch but the first, and the fitted classifier."""
    settings: dict[str, Any] = {"optimizer": keras.optimizers.SGD(RATE), "schedule": None, "random_state": 0}
    clf = CNNClassifier(case.name, input_size=case.side, epochs=epochs, cache=cache, verbose=0, **settings)
    clf.fit(paths, labels)
    return [record["seconds"] for record in clf.history_[1:]], clf


def seconds_of_keras(
    case: Case, pixels: np.ndarray, targets: np.ndarray, epochs: int, factor: float = 1.0
) -> tuple[list[float], Any]:
    """Return the seconds of each epoch but the first, and the trained model; the first kernel is multiplied."""
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    model = ARCHITECTURES[case.name](pixels.shape[1:], targets.shape[1])
    begin_at_random(model, (seed, 0))
    kernel = next(weight for weight in model.weights if weight.name == "kernel")
    kernel.assign(kernel * np.float32(factor))
    model.compile(keras.optimizers.SGD(RATE), "categorical_crossentropy", metrics=["accuracy"])
    seconds = []
    for epoch in range(epochs):
        order = epoch_order(len(pixels), (seed, 1), epoch)
        ordered = pixels[order], targets[order]
        begin = time.perf_counter()
        model.fit(*ordered, batch_size=32, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - begin)
    return seconds[1:], model


def compare(case: Case, epochs: int) -> None:
    """Print a row for one network."""
    data = load_image_folder(data_folder("flowers17"))
    chosen = np.random.default_rng(0).permutation(len(data.paths))[: case.n_images]
    paths, labels = data.paths[chosen], data.labels[chosen]
    images = as_image_sequence(paths).with_step(ResizeCrop(case.side, case.side))
    pixels = np.stack([*images]).astype(np.float32) * np.float32(1 / 255)
    targets = np.eye(len(set(labels)), dtype=np.float32)[np.unique(labels, return_inverse=True)[1]]
    with tempfile.TemporaryDirectory() as cache:
        seconds_of_skcnn(case, paths, labels, 1, cache)  # the pixels are stored, and the network is traced
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours, clf = seconds_of_skcnn(case, paths, labels, epochs, cache)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    theirs, model = seconds_of_keras(case, pixels, targets, epochs)
    _, other = seconds_of_keras(case, pixels, targets, epochs, 1 + 2e-7)

    def difference(weights: list[np.ndarray]) -> str:
        pairs = zip(model.weights, weights, strict=True)
        return f"{max(np.abs(weight - value).max() for weight, value in pairs if weight.trainable):.1e}"

    ratio = statistics.median(ours) / statistics.median(theirs)
    row = (case.name, case.side, case.n_images, epochs)
    times = f"{statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | {ratio:.2f}"
    differences = f"{difference(clf.weights_)} | {difference(other.get_weights())}"
    print("|", " | ".join(map(str, row)), "|", times, "|", differences, f"| {grown:.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", choices=[[], *CASES])
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    print_machine()
    print()
    print(
        "| network | side | images | epochs | skcnn, s | Keras, s | ratio | largest difference of weights | MiB more |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.networks or CASES:
        compare(CASES[name], arguments.epochs)


if __name__ == "__main__":
    main()
