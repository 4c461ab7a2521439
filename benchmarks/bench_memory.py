"""Memory as work grows: features larger than memory should be, images of a transform, fits in one process.

Name the parts to run ("rows", "transform", "fits"); without a name all of them run.
"""

from __future__ import annotations

import subprocess
import sys

from _machine import print_machine

COUNTS = (5_000, 10_000, 20_000)
ROW_COUNTS = (10_000, 100_000)
# A process keeps the models of four shapes. Of ten, each has to be made again in every round.
DEPTHS_IN_TURN = (((0, 1, 4, 10), 20), (tuple(range(1, 11)), 40))

TRANSFORM = """
import resource, sys, tempfile
import numpy as np
from pathlib import Path
from skcnn import CNNFeatureExtractor

count = int(sys.argv[1])
with tempfile.TemporaryDirectory() as scratch:
    paths = []
    generator = np.random.default_rng(0)
    for index in range(count):
        path = Path(scratch, f"{index}.ppm")
        path.write_bytes(b"P6 160 120 255\\n" + generator.bytes(160 * 120 * 3))
        paths.append(str(path))
    extractor = CNNFeatureExtractor("MobileNetV3Small", weights=None, input_size=32, cache=Path(scratch, "cache"))
    features = extractor.fit_transform(paths)
    assert features.shape == (count, 576) and np.isfinite(features).all()
    assert extractor.cache_info().misses == count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


EXTRACT = """
import re, sys, tempfile, threading, time
import numpy as np
from pathlib import Path
from skcnn.features import extract

count = int(sys.argv[1])


class Positions:
    # Stands in for a network cut at a layer of (14, 14, 112): rows of that shape, computed in no time.
    name, normalises, dtype = "positions", False, "float16"
    input_shape = output_shape = (1, 1, 3)
    description = {"network": "positions"}

    def load(self, engine):
        return self

    def run(self, batch):
        return np.repeat(batch[:, 0, 0, :1].astype(np.float32), 14 * 14 * 112, axis=1).reshape(-1, 14, 14, 112)


def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def watch():
    while not done.wait(0.02):
        peaks.append(anonymous())


images = [np.frombuffer(index.to_bytes(3, "little"), np.uint8).reshape(1, 1, 3) for index in range(count)]
with tempfile.TemporaryDirectory() as scratch:
    extract(images[:64], Positions(), scratch)
    before, peaks, done = anonymous(), [0.0], threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    features = extract(images, Positions(), scratch, batch_size=256)
    generator = np.random.default_rng(0)
    for _ in range(200):
        rows = generator.integers(0, count, 32)
        assert (features[rows][:, 13, 13, 111] == rows % 256).all()
    total = sum(float(features[start : start + 256][:, 0, 0, 0].sum()) for start in range(0, count, 256))
    done.set()
assert features.shape == (count, 14, 14, 112) and total == sum(index % 256 for index in range(count))
print(features.nbytes / 1e6, max(peaks) - before)
"""


FIT = """
import re, sys, tempfile
import numpy as np
from pathlib import Path
from skcnn import FineTunedCNNClassifier


def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024


images = np.random.default_rng(0).integers(0, 256, (128, 224, 224, 3), dtype=np.uint8)
labels = np.arange(128) % 4
with tempfile.TemporaryDirectory() as scratch:
    fits, *depths = map(int, sys.argv[1:])
    for index in range(fits):
        settings = {"unfreeze": depths[index % len(depths)], "learning_rate": 1e-4 / (1 + index // len(depths))}
        clf = FineTunedCNNClassifier(**settings, epochs=3, cache=scratch, random_state=index).fit(images, labels)
        assert clf.predict(images).shape == (128,)
        print(anonymous())
"""


def run(code: str, *numbers: int) -> list[float]:
    """Return the numbers that a process prints."""
    command = [sys.executable, "-c", code, *map(str, numbers)]
    return [
        float(number) for number in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    ]


def bench_rows() -> None:
    """Show that the rows of an extraction are not held."""
    print("\n### Memory of features of shape (14, 14, 112), float16, extracted and then read in batches\n")
    print_machine()
    print("\n| images | rows on disk | memory taken |\n| --- | --- | --- |")
    for count in ROW_COUNTS:
        size, taken = run(EXTRACT, count)
        print(f"| {count:,} | {size:,.0f} MB | {taken:.0f} MiB |")
        assert taken < 400


def bench_fits() -> None:
    """Show that fits of one process, one after the other, do not add up."""
    print("\n### Memory of fits of `FineTunedCNNClassifier` in one process\n")
    print_machine()
    print("\n128 images of 224 pixels, efficientnet_lite0, 3 epochs; the learning rate falls from round to round.")
    print("\n| depths in turn | fits | most anonymous memory in the second and the last round |\n| --- | --- | --- |")
    for depths, fits in DEPTHS_IN_TURN:
        taken = run(FIT, fits, *depths)
        second, last = max(taken[len(depths) : 2 * len(depths)]), max(taken[-len(depths) :])
        print(f"| unfreeze in {depths} | {fits} | {second:.0f} and {last:.0f} MiB |", flush=True)
        assert last - second < 100


def bench_transform() -> None:
    """Show that memory does not grow with the images of a transform."""
    print("\n### Peak resident memory of a cold transform (160 x 120 images, MobileNetV3Small at 32 pixels)\n")
    print_machine()
    print("\n| images | pixels in all | features returned | peak resident |\n| --- | --- | --- | --- |")
    peaks = []
    for count in COUNTS:
        peaks += run(TRANSFORM, count)
        pixels, features = count * 160 * 120 * 3 / 1e6, count * 576 * 4 / 1e6
        print(f"| {count:,} | {pixels:,.0f} MB | {features:.0f} MB | {peaks[-1]:.0f} MiB |")
    assert max(peaks) < 1500
    assert peaks[-1] - peaks[0] < 100  # three quarters of 20,000 rows of 2.3 kB, and what is known of their files


PARTS = {"rows": bench_rows, "transform": bench_transform, "fits": bench_fits}


def main() -> None:
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
