"""Packed HDF5 files: how fast they are written and read, against decoding the photographs and a bare memory map.

    python benchmarks/bench_packed.py

Flowers-17 is packed at 256 x 256 and read in shuffled batches of 64; rows of 64 x 64 are read at random.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from _machine import data_folder, print_machine

from skcnn import AspectAwareResize, load_image_folder
from skcnn._parallel import available_threads, bounded_map
from skcnn.datasets import open_hdf5, pack_hdf5
from skcnn.features import RawPixels, extract

BATCH = 64
REPEATS = 5


def seconds(*actions: Callable[[], object]) -> list[float]:
    """Return the median seconds of each action, taken in turn."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(REPEATS):
        for action, times in zip(actions, taken, strict=True):
            begin = time.perf_counter()
            action()
            times.append(time.perf_counter() - begin)
    return [statistics.median(times) for times in taken]


def batches(rows: object, order: np.ndarray) -> int:
    """Read rows in batches; return their sum, so that all are read."""
    return sum(int(rows[order[start : start + BATCH]].sum()) for start in range(0, len(order), BATCH))  # type: ignore[index]


def main() -> None:
    print_machine()
    data = load_image_folder(data_folder("flowers17"))
    images = AspectAwareResize(256).fit_transform(data.paths)
    order = np.random.default_rng(0).permutation(len(data.paths))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "flowers.hdf5"
        pack = lambda **settings: pack_hdf5(data.paths, data.labels, file, overwrite=True, verbose=0, **settings)  # noqa: E731

        def decode() -> None:
            threads = available_threads()
            for _ in bounded_map(
                lambda index: images[index], range(len(images)), n_threads=threads, window=4 * threads
            ):
                pass

        decoding, packing = seconds(decode, pack)
        print(f"\n{len(order)} photographs at 256 x 256, medians of {REPEATS}\n")
        print("| | seconds | images a second |\n| --- | --- | --- |")
        print(f"| decoding and resizing alone | {decoding:.2f} | {len(order) / decoding:,.0f} |")
        print(f"| packing | {packing:.2f} | {len(order) / packing:,.0f} |")
        print(f"\npacking has {decoding / packing:.2f} of the speed of decoding and resizing alone")

        sizes = {"none": file.stat().st_size}
        packed = extract(open_hdf5(file).images, RawPixels((256, 256, 3)), None)
        with h5py.File(file, "r") as content:
            dataset = content["images"]
            bare = np.memmap(file, np.uint8, "r", dataset.id.get_offset(), dataset.shape)
        assert batches(packed, order) == batches(bare, order)

        def decode_batches() -> None:
            for start in range(0, len(order), BATCH):
                np.stack(images[order[start : start + BATCH]].load())

        of_files, of_packed, of_map = seconds(
            decode_batches, lambda: batches(packed, order), lambda: batches(bare, order)
        )
        print("\n| shuffled batches of 64 | images a second |\n| --- | --- |")
        for name, taken in (("decoded", of_files), ("packed", of_packed), ("a bare memory map", of_map)):
            print(f"| {name} | {len(order) / taken:,.0f} |")
        slower = of_packed / of_map
        print(f"\n{of_files / of_packed:.1f} x faster than decoding, {slower:.2f} x the time of a bare memory map")

        print(
            "\n| compression | MB | packing, seconds | images a second in shuffled batches |\n| --- | --- | --- | --- |"
        )
        print(f"| none | {sizes['none'] / 1e6:.0f} | {packing:.2f} | {len(order) / of_packed:,.0f} |")
        for compression in ("lzf", "gzip"):
            begin = time.perf_counter()
            pack(compression=compression)
            taken = time.perf_counter() - begin
            rows = extract(open_hdf5(file).images, RawPixels((256, 256, 3)), None)
            assert np.array_equal(rows[order[:BATCH]], bare[order[:BATCH]])
            (reading,) = seconds(lambda rows=rows: batches(rows, order))  # type: ignore[misc]
            print(f"| {compression} | {file.stat().st_size / 1e6:.0f} | {taken:.2f} | {len(order) / reading:,.0f} |")

        pixels = np.random.default_rng(0).integers(0, 256, (20_000, 64, 64, 3), dtype=np.uint8)
        pack_hdf5(pixels, None, file, size=None, overwrite=True, verbose=0)
        small = extract(open_hdf5(file).images, RawPixels((64, 64, 3)), None)
        with h5py.File(file, "r") as content:
            dataset = content["images"]
            bare = np.memmap(file, np.uint8, "r", dataset.id.get_offset(), dataset.shape)
        order = np.random.default_rng(1).permutation(len(pixels))
        of_packed, of_map = seconds(lambda: batches(small, order), lambda: batches(bare, order))
        print(f"\n20,000 rows of 64 x 64 x 3 in random order: {len(order) / of_packed:,.0f} a second, "
              f"{of_packed / of_map:.2f} x the time of a bare memory map")  # fmt: skip


if __name__ == "__main__":
    main()
