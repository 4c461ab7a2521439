"""Resident memory of a cold transform, as the number of images grows."""

from __future__ import annotations

import subprocess
import sys

from _machine import print_machine

COUNTS = (5_000, 10_000, 20_000)

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


def main() -> None:
    print("### Peak resident memory of a cold transform (160 x 120 images, MobileNetV3Small at 32 pixels)\n")
    print_machine()
    print("\n| images | pixels in all | features returned | peak resident |\n| --- | --- | --- | --- |")
    peaks = []
    for count in COUNTS:
        result = subprocess.run(
            [sys.executable, "-c", TRANSFORM, str(count)], check=True, capture_output=True, text=True
        )
        peaks.append(float(result.stdout))
        pixels, features = count * 160 * 120 * 3 / 1e6, count * 576 * 4 / 1e6
        print(f"| {count:,} | {pixels:,.0f} MB | {features:.0f} MB | {peaks[-1]:.0f} MiB |")
    assert max(peaks) < 1500
    assert peaks[-1] - peaks[0] < 100  # three quarters of 20,000 rows of 2.3 kB, and what is known of their files


if __name__ == "__main__":
    main()
