"""Seconds of training with oneDNN, which skcnn turns on, and without, each in processes of its own that take turns."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from _machine import print_machine

# Prints the seconds of an image in the fastest of the epochs after the first.
PROGRAM = """
import sys
import numpy as np
from skcnn import CNNClassifier, FineTunedCNNClassifier
name, side, n_images = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(0)
images = random.integers(0, 256, (n_images, side, side, 3), dtype=np.uint8)
settings = {"input_size": side, "epochs": 4, "cache": None, "random_state": 0, "verbose": 0}
if name == "fine-tuned":
    clf = FineTunedCNNClassifier(unfreeze=10, engine="keras", **settings)
else:
    clf = CNNClassifier(name, **settings)
clf.fit(images, random.integers(0, 10, n_images))
print(min(record["seconds"] for record in clf.history_[-3:]) / n_images)
"""
CASES = {"minivggnet": (64, 320), "whitened_vgg": (32, 1280), "fine-tuned": (224, 64)}


def seconds(name: str, onednn: str | None) -> float:
    """Return the seconds of one image, in a new process."""
    side, n_images = CASES[name]
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    if onednn is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = onednn
    command = [sys.executable, "-c", PROGRAM, name, str(side), str(n_images)]
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=400)
    return float(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*CASES], help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print_machine()
    print("\n| network | side | without, ms an image | with, ms an image | ratio |\n| --- | --- | --- | --- | --- |")
    for name in arguments.names:
        pairs = [(seconds(name, "0"), seconds(name, None)) for _ in range(arguments.repeats)]
        without, with_it = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
        side, _ = CASES[name]
        print(f"| {name} | {side} | {without:.2f} | {with_it:.2f} | {without / with_it:.2f} |", flush=True)


if __name__ == "__main__":
    main()
