"""Fine-tuning on stored activations against plain Keras: the same graph, the same frozen layers, arrays in memory.

Name the parts to run ("head", "tail", "parts", "disk", "search"); without a name all of them run. The search takes
longest: "search --depths 0 1 --results FILE" and then "search --depths 4 10 --results FILE" do it in two runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from _machine import data_folder, print_machine
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split

from skcnn import AspectAwareResize, FineTunedCNNClassifier
from skcnn.backbones import FrozenNetwork, cut_for, resolve_backbone
from skcnn.datasets import load_image_folder
from skcnn.training import DenseHead, _loop, release_models

LAST_THREE_BLOCKS = 10  # convolution layers, with the one on top
DEPTHS = [0, 1, 4, LAST_THREE_BLOCKS]
HEAD_RATE, TAIL_RATE, DROPOUT = 1e-3, 1e-4, 0.2
DISK_BUDGET = 150_000  # bytes of each image, which the README states
TOLERANCE = 0.02  # of accuracies that should be the same


class PlainKeras(ClassifierMixin, BaseEstimator):
    """What people write: the whole network in Keras, its lower layers frozen, and `fit` on pixels in memory."""

    def __init__(self, unfreeze=0, head_epochs=25, epochs=20, seed=0):
        self.unfreeze = unfreeze
        self.head_epochs = head_epochs
        self.epochs = epochs
        self.seed = seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> PlainKeras:
        """Train the head, then the head with the unfrozen layers."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        network = FrozenNetwork(resolve_backbone("efficientnet_lite0"))
        graph = network.truncated()
        pixels = keras.Input(network.input_shape)
        features = keras.layers.GlobalAveragePooling2D()(graph(network.normalise(pixels)))
        self.model_ = WholeNetwork(keras.Model(pixels, features), len(self.classes_), self.seed)
        graph.trainable = False
        self._train(X, codes, self.head_epochs, keras.optimizers.RMSprop(HEAD_RATE))
        trained = cut_for(graph, self.unfreeze).trained
        if trained:
            graph.trainable = True
            for layer in graph.layers:
                layer.trainable = layer.name in trained
            self._train(X, codes, self.epochs, keras.optimizers.AdamW(TAIL_RATE))
        return self

    def _train(self, X: np.ndarray, codes: np.ndarray, epochs: int, optimizer: Any) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model_.compile(optimizer, loss, metrics=["accuracy"])
        self.model_.fit(X, codes, batch_size=32, epochs=epochs, verbose=0)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return labels."""
        return self.classes_[self.model_.predict(X, verbose=0).argmax(axis=1)]


class WholeNetwork(keras.Model):
    """A network and a head; a functional model would not keep batch normalisation in inference mode."""

    def __init__(self, features: keras.Model, n_classes: int, seed: int):
        super().__init__()
        self.features = features
        self.dropout = keras.layers.Dropout(DROPOUT, seed=seed)
        self.logits = keras.layers.Dense(n_classes, kernel_initializer=keras.initializers.GlorotUniform(seed))

    def call(self, pixels: Any, training: bool = False) -> Any:
        """Return logits."""
        return self.logits(self.dropout(self.features(pixels, training=False), training=training))


def ours(cache: str, head_epochs: int = 25, **parameters: Any) -> FineTunedCNNClassifier:
    """Return the classifier that does the same."""
    head = DenseHead(None, dropout=DROPOUT, epochs=head_epochs, learning_rate=HEAD_RATE)
    same = {"learning_rate": TAIL_RATE, "schedule": None, "shrinkage": None}
    return FineTunedCNNClassifier(head=head, cache=cache, random_state=0, **same, **parameters)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall time of a call, and what it returns."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def pixels_of(paths: np.ndarray) -> np.ndarray:
    """Decode and resize images: what plain Keras is given, and no part of its time."""
    return np.asarray(AspectAwareResize(224).fit_transform(paths)).astype(np.float32)


def some_of(data: Any, fraction: float) -> tuple[np.ndarray, ...]:
    """Return paths and labels of so many training images, and of all test images."""
    train, test, y_train, y_test = train_test_split(
        data.paths, data.labels, test_size=0.25, stratify=data.labels, random_state=0
    )
    if fraction < 1:
        train, _, y_train, _ = train_test_split(train, y_train, train_size=fraction, stratify=y_train, random_state=0)
    return train, test, y_train, y_test


def print_table(title: str, note: str, rows: list[tuple[str, float, float, str, float, float]]) -> None:
    """Print work, times, the ratio reached and asked for, and both accuracies, which have to be the same."""
    print(f"\n#### {title}\n\n{note}\n")
    print("| work | plain Keras | skcnn | skcnn is | asked for | accuracy of plain Keras, of skcnn |")
    print("| --- | --- | --- | --- | --- | --- |")
    for work, theirs, own, asked, their_score, own_score in rows:
        print(f"| {work} | {theirs:.1f} s | {own:.2f} s | {theirs / own:.1f} x faster | {asked} "
              f"| {their_score:.4f}, {own_score:.4f} |", flush=True)  # fmt: skip
        assert abs(their_score - own_score) <= TOLERANCE, (their_score, own_score)


def bench_head(data: Any) -> None:
    """Time the head alone, 25 epochs: with an empty store, and with activations stored before."""
    train, test, y_train, y_test = some_of(data, 1)
    plain, pixels = PlainKeras(), pixels_of(train)
    theirs, _ = timed(lambda: plain.fit(pixels, y_train))
    score = plain.score(pixels_of(test), y_test)
    with tempfile.TemporaryDirectory() as cache:
        clf = ours(cache, unfreeze=0)
        empty, _ = timed(lambda: clf.fit(train, y_train))
        empty_score = clf.score(test, y_test)
        stored = statistics.median(timed(lambda: clf.fit(train, y_train))[0] for _ in range(5))
        stored_score = clf.score(test, y_test)
    print_table(
        "The head alone, 25 epochs",
        f"{len(train)} images to train on, {len(test)} held out. Stored: median of 5 fits.",
        [
            ("empty store", theirs, empty, "20 x", score, empty_score),
            ("activations stored", theirs, stored, "150 x", score, stored_score),
        ],
    )


def bench_tail(data: Any) -> None:
    """Time the head and 20 epochs of the last three blocks, on half of the images, with an empty store."""
    train, test, y_train, y_test = some_of(data, 0.5)
    plain, pixels = PlainKeras(LAST_THREE_BLOCKS), pixels_of(train)
    theirs, _ = timed(lambda: plain.fit(pixels, y_train))
    score = plain.score(pixels_of(test), y_test)
    with tempfile.TemporaryDirectory() as cache:
        clf = ours(cache, unfreeze=LAST_THREE_BLOCKS)
        own, _ = timed(lambda: clf.fit(train, y_train))
        own_score = clf.score(test, y_test)
    head, tail = (
        sum(record["seconds"] for record in clf.history_ if record["phase"] == phase) for phase in ("head", "fine-tune")
    )
    print_table(
        "The head, 25 epochs, and then the last three blocks with it, 20 epochs",
        f"{len(train)} images to train on (half of them), {len(test)} held out; empty store.",
        [("head and tail", theirs, own, "4 x", score, own_score)],
    )
    print(f"\nOf skcnn's time, the head takes {head:.1f} s and the tail {tail:.1f} s.")


def bench_parts(data: Any) -> None:
    """Time warm fits without one of the things that make them fast; what is trained has to be the same."""
    train, _, y_train, _ = some_of(data, 0.25)
    works = {
        "head alone, 40 epochs": {"unfreeze": 0, "head_epochs": 40},
        "head, 1 epoch, and unfreeze=4, 1 epoch": {"unfreeze": 4, "head_epochs": 1, "epochs": 1},
    }
    unchanged = {"MAX_STEPS_AT_ONCE": _loop.MAX_STEPS_AT_ONCE, "feed": _loop.feed}
    changes: dict[str, dict[str, Any]] = {
        "as it is": {},
        "models of earlier fits are not used again": {},
        "each step of the head by itself": {"MAX_STEPS_AT_ONCE": 1},
        "Keras makes the dataset": {"feed": lambda batches, first, last, errors: batches.epochs(last - first, first)},
    }
    print(f"\n#### What makes a fit fast\n\n{len(train)} images, activations stored; median of 7 fits.\n")
    print("| work | | a fit takes | as it is: 1 |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as cache:
        for work, parameters in works.items():
            clf = ours(cache, **parameters).fit(train, y_train)
            expected, first = clf.head_weights_, 0.0
            for title, change in changes.items():
                vars(_loop).update(unchanged | change)
                clf.fit(train, y_train)
                seconds = []
                for _ in range(7):
                    if "earlier fits" in title:
                        release_models()
                    seconds.append(timed(lambda clf=clf: clf.fit(train, y_train))[0])
                    for now, then in zip(clf.head_weights_, expected, strict=True):
                        np.testing.assert_allclose(now, then, atol=1e-5)
                median = statistics.median(seconds)
                first = first or median
                print(f"| {work} | {title} | {median:.2f} s | {median / first:.1f} |", flush=True)
    vars(_loop).update(unchanged)


def bench_search(data: Any, depths: list[int], results: Path | None) -> None:
    """Time a search over depths, on a third of the images, with an empty store; print it with those in `results`."""
    train, _, y_train, _ = some_of(data, 1 / 3)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)

    def search(clf: Any, X: Any) -> tuple[float, GridSearchCV]:
        return timed(lambda: GridSearchCV(clf, {"unfreeze": depths}, cv=folds, refit=False).fit(X, y_train))

    theirs, plain = search(PlainKeras(head_epochs=10, epochs=10), pixels_of(train))
    with tempfile.TemporaryDirectory() as cache:
        own, fitted = search(ours(cache, head_epochs=10, epochs=10), train)
    rows = json.loads(results.read_text()) if results and results.exists() else []
    rows.append([depths, theirs, own, plain.best_score_, fitted.best_score_])
    if results:
        results.write_text(json.dumps(rows))
    searched, their_times, own_times, their_scores, own_scores = zip(*rows, strict=True)
    done = [depth for some in searched for depth in some]
    total = (sum(their_times), sum(own_times), "8 x", max(their_scores), max(own_scores))
    print_table(
        "GridSearchCV over the depth, 3 folds, 10 epochs in each phase",
        f"{len(train)} images (a third of those to train on), {len(train) * 2 // 3} in each fit; empty store. The best "
        "accuracy of the search is shown.",
        [(f"unfreeze in {done}, {3 * len(done)} fits", *total)],
    )


def bench_disk(data: Any) -> None:
    """Show what a search over depths and learning rates stores of all images."""
    grid = {"unfreeze": DEPTHS, "learning_rate": [3e-5, TAIL_RATE]}
    with tempfile.TemporaryDirectory() as cache:
        search = GridSearchCV(ours(cache, head_epochs=1, epochs=1), grid, cv=3, refit=False)
        search.fit(data.paths, data.labels)
        stores = [
            (
                json.loads(manifest.read_text()),
                sum(file.stat().st_size for file in manifest.parent.iterdir()),
            )
            for manifest in Path(cache).glob("*/manifest.json")
        ]
        total = sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file())
    fits = 3 * len(search.cv_results_["params"])
    print(f"\n#### What is stored by a search over unfreeze in {DEPTHS} and two learning rates, {fits} fits\n")
    print(f"{len(data.paths)} images.\n\n| activations of | shape | of each image |\n| --- | --- | --- |")
    for manifest, size in sorted(stores, key=lambda store: store[1]):
        layer, shape = manifest["description"]["trunk"]["layer"], tuple(manifest["row_shape"])
        print(f"| {layer} | {shape} | {size / len(data.paths) / 1e3:.1f} kB |")
    print(f"| all of it, with what is known of the files | | {total / len(data.paths) / 1e3:.1f} kB |")
    print(f"\nThat is {total / 1e6:.0f} MB. The budget is {DISK_BUDGET / 1e3:.0f} kB of each image.")
    assert total < DISK_BUDGET * len(data.paths)


PARTS = {"head": bench_head, "tail": bench_tail, "parts": bench_parts, "disk": bench_disk}


def main() -> None:
    """Run the parts that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="part", default=[*PARTS, "search"], help="head, tail, parts, disk, search"
    )
    parser.add_argument("--depths", nargs="*", type=int, default=DEPTHS, help="what to search over")
    parser.add_argument("--results", type=Path, help="a file that adds up the searches of several runs")
    options = parser.parse_args()
    data = load_image_folder(data_folder("flowers17"))
    print("### Fine-tuning against plain Keras, Flowers-17, 75/25 stratified, efficientnet_lite0 at 224\n")
    print_machine()
    for part in options.parts:
        if part == "search":
            bench_search(data, options.depths, options.results)
        else:
            PARTS[part](data)


if __name__ == "__main__":
    main()
