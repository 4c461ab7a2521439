"""A warm transform against a bare memory-mapped gather of the same rows, in one process."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from _machine import median_seconds, print_machine

from skcnn import CNNFeatureExtractor
from skcnn.cache._shards import open_shard
from skcnn.images import as_image_sequence

N_IMAGES, WIDTH, REPEATS = 50_000, 1280, 11


def write_images(folder: Path) -> list[str]:
    """Write many different tiny images, spread over folders as datasets are."""
    header = b"P6 2 2 255\n"
    pixels = np.random.default_rng(0).integers(0, 256, (N_IMAGES, 12), dtype=np.uint8)
    paths = []
    for index, image in enumerate(pixels):
        path = folder / f"class-{index % 50:02d}" / f"{index:06d}.ppm"
        if index < 50:
            path.parent.mkdir()
        path.write_bytes(header + image.tobytes())
        paths.append(str(path))
    return paths


def wide_network() -> keras.Model:
    """Return a cheap network of 1,280 features."""
    inputs = keras.Input((2, 2, 3))
    kernel = keras.initializers.RandomNormal(seed=0)
    return keras.Model(inputs, keras.layers.Dense(WIDTH, kernel_initializer=kernel)(keras.layers.Flatten()(inputs)))


def verify(cache: Path) -> None:
    """Compare all stored rows with their checksums, as each process does when it first reads them."""
    for path in cache.rglob("shard-*.h5"):
        open_shard(path, (WIDTH,), np.dtype("float32")).verify()


def main() -> None:
    print(f"### Warm transform of {N_IMAGES:,} stored rows of width {WIDTH:,}\n")
    print_machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch, "images"), Path(scratch, "cache")
        folder.mkdir()
        paths = write_images(folder)
        time.sleep(2.1)  # what is younger than two seconds is read again to be sure
        extractor = CNNFeatureExtractor(wide_network(), layer=-1, cache=cache, batch_size=512)
        features = extractor.fit_transform(paths)

        order = np.random.default_rng(1).permutation(N_IMAGES)
        np.save(Path(scratch, "bare.npy"), features)
        bare = np.load(Path(scratch, "bare.npy"), mmap_mode="r")
        shuffled = as_image_sequence(paths)[order]
        np.testing.assert_array_equal(extractor.transform(shuffled), bare[order])

        data = as_image_sequence([Path(path).read_bytes() for path in paths])
        np.testing.assert_array_equal(extractor.transform(data[order]), bare[order])
        extractor.transform(data)

        print("\n| rows | from | bare memmap gather | warm transform | ratio | bare os.stat of the files |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, rows in (("in stored order", np.arange(N_IMAGES)), ("shuffled", order)):
            gather = median_seconds(lambda rows=rows: bare[rows], REPEATS)
            for kind, images in (("paths", as_image_sequence(paths)), ("encoded bytes", data)):
                X = images[rows]
                warm = median_seconds(lambda X=X: extractor.transform(X), REPEATS)
                line = f"| {name} | {kind} | {gather:.3f} s | {warm:.3f} s | {warm / gather:.2f} |"
                files = [paths[row] for row in rows] if kind == "paths" else []
                asking = median_seconds(lambda files=files: [os.stat(file) for file in files], REPEATS)
                print(line + (f" {asking:.3f} s |" if files else " |"))
        seconds = median_seconds(lambda: verify(cache), REPEATS)
        size = features.nbytes / 1e9
        print(
            f"\nVerifying the checksums of all rows, once in each process: {seconds:.3f} s ({size / seconds:.1f} GB/s)"
        )


if __name__ == "__main__":
    main()
