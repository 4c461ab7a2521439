"""What decodes and shrinks a photograph fastest, and whether decoding JPEGs at a smaller scale costs accuracy."""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from _machine import data_folder, median_seconds, print_machine

REPEATS = 9
PHOTO = (3000, 4000)
TARGET = (224, 299)
ENLARGED = {"flowers17": 4, "cifar10-subset": 32}


def photograph(path: str) -> np.ndarray:
    """Return a picture of 12 megapixels with the noise of a camera, BGR."""
    large = cv2.resize(cv2.imread(path), PHOTO[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(large + np.random.default_rng(0).normal(0, 4, large.shape), 0, 255).astype(np.uint8)


def bench_speed() -> None:
    import simplejpeg
    import tensorflow as tf
    from PIL import Image

    from skcnn.datasets import load_image_folder
    from skcnn.images import ResizeCrop, decode_image

    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    pixels = photograph(load_image_folder(data_folder("flowers17")).paths[0])
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    png = cv2.imencode(".png", pixels[::4, ::4])[1].tobytes()

    def opencv(data: bytes) -> np.ndarray:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)

    def pillow(data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)))

    print("### One 4000 x 3000 JPEG of 90 % quality, one thread\n")
    print_machine()
    exact = opencv(jpeg)
    reading = {
        "OpenCV": lambda: opencv(jpeg),
        "Pillow": lambda: pillow(jpeg),
        "TensorFlow": lambda: tf.io.decode_jpeg(jpeg).numpy(),
        "simplejpeg": lambda: simplejpeg.decode_jpeg(jpeg, "RGB"),
        "skcnn, exact": lambda: decode_image(jpeg),
        "skcnn, fast": lambda: decode_image(jpeg, at_least=(224, 224)),
    }
    table(reading, "OpenCV", exact)
    print("\n### The same photograph shrunk to 299 x 224, one thread\n")
    shrinking = {
        "OpenCV, area": lambda: cv2.resize(exact, TARGET[::-1], interpolation=cv2.INTER_AREA),
        "skcnn, area": lambda: ResizeCrop(*TARGET)(exact),
    }
    table(shrinking, "OpenCV, area", shrinking["OpenCV, area"]())
    print("\n### A PNG of 1000 x 750, one thread\n")
    table({"OpenCV": lambda: opencv(png), "skcnn": lambda: decode_image(png)}, "OpenCV", opencv(png))


def table(contenders: dict[str, Callable[[], np.ndarray]], baseline: str, expected: np.ndarray) -> None:
    """Print the time of each contender, the ratio to the baseline, and how far its pixels are from the expected."""
    seconds = {name: median_seconds(call, REPEATS) for name, call in contenders.items()}
    print(f"| work (median of {REPEATS}) | time | ratio | largest difference | mean difference |")
    print("| --- | --- | --- | --- | --- |")
    for name, call in contenders.items():
        pixels = call()
        far = np.abs(pixels.astype(int) - expected) if pixels.shape == expected.shape else None
        differences = "smaller | |" if far is None else f"{far.max()} | {far.mean():.2f} |"
        print(f"| {name} | {seconds[name] * 1e3:.1f} ms | {seconds[name] / seconds[baseline]:.2f} | {differences}")


def bench_accuracy(name: str) -> None:
    """Compare cross-validated accuracy on features of all pixels, of scaled decoding, and of it without a margin."""
    from skcnn.datasets import load_image_folder

    times = ENLARGED[name]
    print(f"### {name}, efficientnet_lite0 at 224 + logistic regression\n")
    print_machine()
    print("\n| images | decode | accuracy | noise | against exact | cosine with exact: smallest, median |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        data = load_image_folder(test_images(Path(scratch)) if name == "cifar10-subset" else data_folder(name))
        enlarged = [enlarge(path, times, Path(scratch, f"{index}.jpg")) for index, path in enumerate(data.paths)]
        for title, paths in {"as they are": list(data.paths), f"enlarged {times} times": enlarged}.items():
            exact = extract(paths, "exact", margin=1)
            baseline = accuracies(exact, data.labels)
            print(
                f"| {title} ({len(paths)}) | exact | {baseline.mean():.4f} | {baseline.std(ddof=1):.4f} | | |",
                flush=True,
            )
            for decode, margin in {"fast": 1.5, "fast, margin 1": 1}.items():
                features = extract(paths, "fast", margin=margin)
                if np.array_equal(features, exact):
                    print(f"| | {decode} | | | equal features | |")
                    continue
                unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (exact, features)]
                cosine = (unit[0] * unit[1]).sum(1)
                scores = accuracies(features, data.labels)
                print(
                    f"| | {decode} | {scores.mean():.4f} | {scores.std(ddof=1):.4f} | "
                    f"{scores.mean() - baseline.mean():+.4f} | {cosine.min():.4f}, {np.median(cosine):.4f} |",
                    flush=True,
                )


def extract(paths: list[str], decode: str, *, margin: float) -> np.ndarray:
    from skcnn import CNNFeatureExtractor
    from skcnn.images import _steps

    kept, _steps.FAST_MARGIN = _steps.FAST_MARGIN, margin
    try:
        return CNNFeatureExtractor(cache=None, decode=decode).fit_transform(paths)
    finally:
        _steps.FAST_MARGIN = kept


def test_images(scratch: Path) -> Path:
    """Unpack the test images of the CIFAR-10 subset; return their folder."""
    with tarfile.open(data_folder("flowers17").parent / "cifar10-subset.tar") as archive:
        archive.extractall(scratch, filter="data")
    return scratch / "cifar10-subset" / "test"


def enlarge(path: str, times: int, target: Path) -> str:
    image = cv2.imread(path)
    large = cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(target), large, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return str(target)


def accuracies(features: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Return the accuracy of 5-fold cross-validation, for five ways to fold."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    folds = [StratifiedKFold(5, shuffle=True, random_state=seed) for seed in range(5)]
    return np.array([cross_val_score(model, features, labels, cv=cv).mean() for cv in folds])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("speed", *ENLARGED), default="speed")
    part = parser.parse_args().part
    if part == "speed":
        bench_speed()
    else:
        bench_accuracy(part)


if __name__ == "__main__":
    main()
