"""Ten crops against one: what they gain in accuracy, and what they cost.

Name the parts to run ("features", "fine-tuning", "cold", "warm"); without a name all of them run.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _machine import data_folder, median_seconds, print_machine
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skcnn import CNNFeatureExtractor, FineTunedCNNClassifier, TenCropClassifier
from skcnn.datasets import load_image_folder
from skcnn.images import ResizeCrop, TenCrop, as_image_sequence

SPLITS = 5
COLD_LIMIT, WARM_LIMIT = 8.5, 12
TIMED_IMAGES = 200

# Run by a new process: what a second prediction loads.
PREDICT_AGAIN = """
import pickle, sys
clf, images, expected = pickle.load(sys.stdin.buffer)
assert (clf.predict_proba(images) == expected).all()
loaded = {"keras", "tensorflow", "openvino", "cv2"} & sys.modules.keys()
assert not loaded, loaded
"""


def regression(cache: Any = True) -> Any:
    """Return features and logistic regression."""
    return make_pipeline(CNNFeatureExtractor(cache=cache), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))


def splits_of(data: Any) -> Any:
    """Yield the training and test images of each split, and their labels."""
    shuffled = StratifiedShuffleSplit(SPLITS, test_size=0.25, random_state=0)
    for train, test in shuffled.split(data.paths, data.labels):
        yield data.paths[train], data.labels[train], data.paths[test], data.labels[test]


def summary(values: list[float]) -> str:
    """Return mean and standard error."""
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) / len(values) ** 0.5:.4f}"


def bench_accuracy(title: str, data: Any, make: Any, variants: dict[str, dict[str, Any]]) -> None:
    """Print the accuracy of one crop and of ten on the same splits."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for seed, (train, y_train, test, y_test) in enumerate(splits_of(data)):
        single = make(seed).fit(train, y_train)
        for name, settings in variants.items():
            if settings.get("fit_crops"):
                ten = TenCropClassifier(clone(single)).set_params(**settings).fit(train, y_train)
            else:  # these variants share the fitted classifier
                ten = TenCropClassifier(single, **settings)
            predicted, before = ten.predict(test), single.predict(test)
            results[name].append(
                {
                    "single": (before == y_test).mean(),
                    "averaged": (predicted == y_test).mean(),
                    "corrected": int(((predicted == y_test) & (before != y_test)).sum()),
                    "made_wrong": int(((predicted != y_test) & (before == y_test)).sum()),
                }
            )
    print(f"\n#### {title}\n\n{SPLITS} stratified splits 75/25, {len(y_test)} test images in each; mean ± its error.\n")
    print(
        "| ten-crop | one crop | ten crops | gained | corrected | made wrong |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name, rows in results.items():
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        gained = [row["averaged"] - row["single"] for row in rows]
        print(f"| {name} | {summary(columns['single'])} | {summary(columns['averaged'])} | {summary(gained)} "
              f"| {sum(columns['corrected'])} | {sum(columns['made_wrong'])} |", flush=True)  # fmt: skip


def bench_features(data: Any) -> None:
    """Compare on features and logistic regression."""
    with tempfile.TemporaryDirectory() as cache:
        variants = {
            "as it is": {},
            "5 crops": {"horizontal_flips": False},
            'average="geometric"': {"average": "geometric"},
            'average="max"': {"average": "max"},
            "resize=240": {"resize": 240},
            "fit_crops=True": {"fit_crops": True},
        }
        title = "Accuracy, features and logistic regression"
        bench_accuracy(title, data, lambda seed: regression(cache), variants)


def bench_fine_tuning(data: Any) -> None:
    """Compare on a fine-tuned tail."""
    with tempfile.TemporaryDirectory() as cache:
        variants = {"as it is": {}, 'average="geometric"': {"average": "geometric"}}
        title = "Accuracy, `FineTunedCNNClassifier` with its defaults"
        bench_accuracy(title, data, lambda seed: FineTunedCNNClassifier(cache=cache, random_state=seed), variants)


def fitted(data: Any, cache: Any) -> tuple[Any, TenCropClassifier, np.ndarray]:
    """Return a fitted classifier, ten-crop around it, and other images; network and store are warmed up."""
    order = np.random.default_rng(0).permutation(len(data.paths))
    images, train = data.paths[order[:TIMED_IMAGES]], order[TIMED_IMAGES : 3 * TIMED_IMAGES]
    clf = regression(cache).fit(data.paths[train], data.labels[train])
    return clf, TenCropClassifier(clf), images


def check_average(clf: Any, ten: TenCropClassifier, images: np.ndarray) -> None:
    """Assert that ten-crop is the average over crops that are predicted one by one."""
    crops = as_image_sequence(images).with_step(ResizeCrop(256, 256)).with_step(TenCrop(224, 224))
    expected = np.mean([clf.predict_proba(np.asarray(crops.with_view(view))) for view in range(10)], axis=0)
    np.testing.assert_allclose(ten.predict_proba(images), expected, atol=1e-5)


def bench_cold(data: Any) -> None:
    """Time the first prediction, with an empty store, of one crop and of ten in turn."""
    times: dict[str, list[float]] = {"one": [], "ten": []}
    with tempfile.TemporaryDirectory() as folder:
        clf, ten, images = fitted(data, None)
        check_average(clf, ten, images[:20])
        for repeat in range(3):
            for name, each in (("one", clf), ("ten", ten)):
                clf.set_params(cnnfeatureextractor__cache=Path(folder) / f"{name}{repeat}")
                start = time.perf_counter()
                each.predict_proba(images)
                times[name].append(time.perf_counter() - start)
    one, many = statistics.median(times["one"]), statistics.median(times["ten"])
    print(f"\n#### A first prediction, {len(images)} images, empty store; median of 3\n")
    print("| one crop | ten crops | ratio | asked for |\n| --- | --- | --- | --- |")
    print(f"| {one:.2f} s | {many:.2f} s | {many / one:.1f} | at most {COLD_LIMIT} |", flush=True)


def bench_warm(data: Any) -> None:
    """Time predictions from stored rows, one crop and ten in turn."""
    with tempfile.TemporaryDirectory() as cache:
        clf, ten, images = fitted(data, cache)
        clf.predict_proba(images)
        expected = ten.predict_proba(images)
        check_average(clf, ten, images[:20])
        job = pickle.dumps((ten, images, expected))
        subprocess.run([sys.executable, "-c", PREDICT_AGAIN], input=job, check=True, timeout=120)
        pairs = [
            (median_seconds(lambda: clf.predict_proba(images), 3), median_seconds(lambda: ten.predict_proba(images), 3))
            for _ in range(15)
        ]
    one, many = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"\n#### A second prediction, {len(images)} images; median of 45\n")
    print("A new process, asked for the same, loads neither a network nor an image; asserted.\n")
    print("| one crop | ten crops | ratio | asked for |\n| --- | --- | --- | --- |")
    print(f"| {1e3 * one:.1f} ms | {1e3 * many:.1f} ms | {many / one:.1f} | at most {WARM_LIMIT} |", flush=True)


PARTS = {
    "features": bench_features,
    "fine-tuning": bench_fine_tuning,
    "cold": bench_cold,
    "warm": bench_warm,
}


def main() -> None:
    """Run the parts that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", default=[*PARTS], help=", ".join(PARTS))
    options = parser.parse_args()
    data = load_image_folder(data_folder("flowers17"))
    print("### Ten crops against one, Flowers-17, efficientnet_lite0 at 224\n")
    print_machine()
    for part in options.parts:
        PARTS[part](data)


if __name__ == "__main__":
    main()
