"""Small networks on handwritten digits as they are, moved and inverted, and what repairs them.

The digits of scikit-learn are 8 x 8 pixels; here they are enlarged to 20 x 20 in a frame of 28 x 28, as those of MNIST
are. The networks and trainings are those of the published table for MNIST, but for the number of epochs: there are
1,347 images to train on, not 60,000.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _machine import print_machine
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skcnn import Augmentation, CNNClassifier
from skcnn.architectures import Architecture
from skcnn.inspection import RobustnessDisplay, robustness_scores

SIDE, FRAME = 20, 4
MOVED = Augmentation.only(width_shift=0.2, fill_mode="constant")
CONVNET = Architecture("convnet", filters=(16, 32))
# Network, augmentation, and whether inverted images are added to those that are trained on.
NETWORKS: dict[str, tuple[Any, Augmentation | None, bool]] = {
    "dense 512": ("mlp", None, False),
    "dense 1,024": (Architecture("mlp", units=(1024,)), None, False),
    "dense 512, 512": (Architecture("mlp", units=(512, 512)), None, False),
    "dense 512, 512, dropout 0.5": (Architecture("mlp", units=(512, 512), dropout=0.5), None, False),
    "convolutions 16": (Architecture("convnet", filters=(16,)), None, False),
    "convolutions 16, 32": (CONVNET, None, False),
    "the same, moved": (CONVNET, MOVED, False),
    "the same, moved, inverted added": (CONVNET, MOVED, True),
}
CHANGES = {"moved by 4": lambda image: np.roll(image, 4, axis=1), "inverted": lambda image: 255 - image}


def enlarged_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits in frames of 28 x 28 pixels: (1797, 28, 28, 1), uint8; and their labels."""
    digits, labels = load_digits(return_X_y=True)
    levels = np.rint(digits.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    large = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for image in levels]
    return np.pad(np.array(large), ((0, 0), (FRAME, FRAME), (FRAME, FRAME)))[..., np.newaxis], labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picture", type=Path, default=None, help="where to write the table as a picture")
    arguments = parser.parse_args()
    images, labels = enlarged_digits()
    train, test, y_train, y_test = train_test_split(images, labels, stratify=labels, random_state=0)
    fitted = {}
    with tempfile.TemporaryDirectory() as cache:
        settings: dict[str, Any] = {"input_size": 28, "channels": 1, "optimizer": "rmsprop", "learning_rate": 1e-3,
                                    "schedule": None, "random_state": 0, "cache": cache, "verbose": 0}  # fmt: skip
        print_machine()
        print("\n| network | parameters | seconds | as they are | moved by 4 | inverted |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, (architecture, augmentation, adds_inverted) in NETWORKS.items():
            X, y = train, y_train
            if adds_inverted:  # of a tenth of the images, as published
                some = len(X) // 10
                X, y = np.concatenate([X, 255 - X[:some]]), np.concatenate([y, y[:some]])
            clf = CNNClassifier(architecture, epochs=arguments.epochs, augmentation=augmentation, **settings)
            start = time.perf_counter()
            fitted[name] = clf.fit(X, y)
            seconds = time.perf_counter() - start
            parameters = sum(weight.size for weight in clf.weights_)
            scores = robustness_scores({name: clf}, test, y_test, changes=CHANGES).row(name)
            figures = " | ".join(f"{accuracy:.4f}" for accuracy in scores.values())
            print(f"| {name} | {parameters:,} | {seconds:.0f} | {figures} |", flush=True)
        if arguments.picture is not None:
            display = RobustnessDisplay.from_estimator(fitted, test, y_test, changes=CHANGES)
            display.figure_.savefig(arguments.picture, dpi=150)


if __name__ == "__main__":
    main()
