"""Cold extraction against the plain Keras way, and against the limit of the machine."""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _machine import data_folder, print_machine

REPEATS = 3

# Each row runs in a process of its own, so that its peak memory is its own and nothing is warm. Networks are loaded
# and run once on a handful of images before the clock starts, for every contender alike.
CONTENDERS = {
    "Keras: image_dataset_from_directory + predict": "keras",
    "skcnn float32, exact": "skcnn float32 exact",
    "skcnn float32, fast": "skcnn float32 fast",
    "skcnn bfloat16, fast": "skcnn bfloat16 fast",
    "limit: bare decode + bare network, float32, exact": "limit float32 exact",
    "limit: bare decode + bare network, float32, fast": "limit float32 fast",
    "limit: bare decode + bare network, bfloat16, fast": "limit bfloat16 fast",
}
AGAINST_KERAS = {"skcnn float32 exact": 1.8, "skcnn float32 fast": 2.1, "skcnn bfloat16 fast": 3.5}


def timed(function) -> tuple[float, object]:
    import time

    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def run_keras(folder: Path) -> tuple[float, np.ndarray]:
    """The script a user would write: a dataset from the folder, the network with its normalisation, predict."""
    import keras

    from skcnn.backbones import FrozenNetwork, resolve_backbone

    model = FrozenNetwork(resolve_backbone("efficientnet_lite0")).build()

    def dataset():
        return keras.utils.image_dataset_from_directory(
            folder,
            labels=None,
            shuffle=False,
            image_size=(224, 224),
            batch_size=32,
            crop_to_aspect_ratio=True,
            verbose=False,
        )

    model.predict(dataset().take(2), verbose=0)
    return timed(lambda: model.predict(dataset(), verbose=0))


def run_skcnn(folder: Path, precision: str, decode: str) -> tuple[float, np.ndarray]:
    from skcnn import CNNFeatureExtractor
    from skcnn.datasets import load_image_folder

    paths = load_image_folder(folder).paths
    with tempfile.TemporaryDirectory() as cache:
        extractor = CNNFeatureExtractor(cache=cache, precision=precision, decode=decode)
        CNNFeatureExtractor(cache=None, precision=precision, decode=decode).fit_transform(paths[:64])
        return timed(lambda: extractor.fit_transform(paths))


def run_limit(folder: Path, precision: str, decode: str) -> tuple[float, np.ndarray]:
    """Decode and resize alone on all cores, then the compiled network alone on ready-made batches: times added."""
    from concurrent.futures import ThreadPoolExecutor

    from skcnn.backbones import FrozenNetwork, resolve_backbone
    from skcnn.backbones._openvino import OpenVINORunner
    from skcnn.datasets import load_image_folder
    from skcnn.images import ResizeCrop, decode_image
    from skcnn.images._steps import FAST_MARGIN

    paths = load_image_folder(folder).paths
    enough, resize = math.ceil(FAST_MARGIN * 224), ResizeCrop(224, 224)
    at_least = (enough, enough) if decode == "fast" else None

    def load(path: str) -> np.ndarray:
        return resize(decode_image(Path(path).read_bytes(), at_least=at_least))

    with ThreadPoolExecutor(os.cpu_count()) as executor:
        list(executor.map(load, paths[:64]))
        decoding, images = timed(lambda: list(executor.map(load, paths)))
    runner = OpenVINORunner(FrozenNetwork(resolve_backbone("efficientnet_lite0")).build(), precision)
    pixels = np.stack(images)
    runner.run(pixels[:64])
    batches = [pixels[start : start + 256] for start in range(0, len(pixels), 256)]
    running, features = timed(lambda: np.concatenate([runner.run(batch) for batch in batches]))
    return decoding + running, features


def child(contender: str, folder: str, output: str) -> None:
    kind, *options = contender.split()
    run = {"keras": run_keras, "skcnn": run_skcnn, "limit": run_limit}[kind]
    seconds, features = run(Path(folder), *options)
    np.save(output, features)
    print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def measure(contender: str, folder: Path, output: Path) -> dict:
    command = [sys.executable, __file__, "--child", contender, "--folder", str(folder), "--output", str(output)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def compare(folder: Path, contenders: dict[str, str], n_images: int) -> dict[str, dict]:
    """Run every contender several times in turn; return the run of median time of each, with its features."""
    runs: dict[str, list[dict]] = {contender: [] for contender in contenders.values()}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(REPEATS):  # in turn, so that a slow minute hits all alike
            for contender in runs:
                output = Path(scratch, "features.npy")
                run = measure(contender, folder, output)
                runs[contender].append({**run, "features": np.load(output)})
    medians = {key: sorted(each, key=lambda run: run["seconds"])[REPEATS // 2] for key, each in runs.items()}
    print(f"\n| work ({n_images} images, median of {REPEATS}) | time | images/s | peak memory |")
    print("| --- | --- | --- | --- |")
    for title, contender in contenders.items():
        run = medians[contender]
        print(f"| {title} | {run['seconds']:.2f} s | {n_images / run['seconds']:.0f} | {run['peak']:.0f} MiB |")
    return medians


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the smallest cosine between equal rows."""
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    return float(cross_val_score(LogisticRegression(solver="newton-cg"), features, labels, cv=5).mean())


def bench_flowers() -> None:
    from skcnn.datasets import load_image_folder

    folder = data_folder("flowers17")
    labels = load_image_folder(folder).labels
    print("### Cold extraction, Flowers-17, efficientnet_lite0 at 224\n")
    print_machine()
    runs = compare(folder, CONTENDERS, len(labels))
    for contender in AGAINST_KERAS:
        limit = runs[contender.replace("skcnn", "limit")]["features"]
        assert cosine(runs[contender]["features"], limit) > 0.9999
    print("\n| work | against Keras | asked for | of the limit | asked for | accuracy (Keras) |")
    print("| --- | --- | --- | --- | --- | --- |")
    baseline = accuracy(runs["keras"]["features"], labels)
    for contender, asked in AGAINST_KERAS.items():
        run, limit = runs[contender], runs[contender.replace("skcnn", "limit")]
        score = accuracy(run["features"], labels)
        assert abs(score - baseline) <= 0.01, (score, baseline)
        print(
            f"| {contender} | {runs['keras']['seconds'] / run['seconds']:.2f} x | {asked} x | "
            f"{limit['seconds'] / run['seconds']:.2f} | 0.9 | {score:.4f} ({baseline:.4f}) |"
        )


def bench_large(count: int = 48) -> None:
    import cv2

    print("\n### Cold extraction of 4000 x 3000 JPEGs, efficientnet_lite0 at 224")
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "photos").mkdir()
        for index in range(count):
            noise = np.random.default_rng(index).integers(0, 256, (60, 80, 3), dtype=np.uint8)
            photo = cv2.resize(noise, (4000, 3000), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(Path(scratch, "photos", f"{index:03d}.jpg")), photo)
        contenders = {title: key for title, key in CONTENDERS.items() if key in ("keras", *list(AGAINST_KERAS)[:2])}
        runs = compare(Path(scratch), contenders, count)
    print("\n| work | against Keras | asked for | smallest cosine with exact |\n| --- | --- | --- | --- |")
    exact = runs["skcnn float32 exact"]
    for contender, asked in {"skcnn float32 exact": 0.75, "skcnn float32 fast": 1.5}.items():
        ratio = runs["keras"]["seconds"] / runs[contender]["seconds"]
        similarity = cosine(exact["features"], runs[contender]["features"])
        print(f"| {contender} | {ratio:.2f} x | {asked} x | {similarity:.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("flowers", "large"), help="only one of the two; default: both")
    parser.add_argument("--child")
    parser.add_argument("--folder")
    parser.add_argument("--output")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.folder, arguments.output)
        return
    for part, bench in {"flowers": bench_flowers, "large": bench_large}.items():
        if arguments.part in (None, part):
            bench()


if __name__ == "__main__":
    main()
