"""Ensembles of fine-tuned networks: what they gain in accuracy, and what they cost.

Name the parts to run ("accuracy", "soup", "cost", "soup-time", "snapshot-time"); without a name all of them run. With
``--keep FILE`` and ``--seed``, the first two can be run in pieces: they print their tables when all seeds are done.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from _machine import data_folder, print_machine
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skcnn import CNNEnsembleClassifier, FineTunedCNNClassifier
from skcnn.datasets import load_image_folder

SEEDS = 3
MEMBERS = 5
# Of the parts that take times: what an epoch costs is the same in all of them.
COST_EPOCHS, SNAPSHOT_EPOCHS = 3, 10
TRUNK_LIMIT, SOUP_TIME_LIMIT, SOUP_DROP_LIMIT = 1.5, 1.02, 0.003
BEST = "the best member on the images held out"
# Of each way: accuracy, log loss, seconds of the fit.
Figures = dict[str, tuple[float, float, float]]


def member(cache: Any, **settings: Any) -> FineTunedCNNClassifier:
    """Return a classifier whose last block is trained: what it does by default."""
    return FineTunedCNNClassifier(cache=cache, **settings)


def seconds(function: Any, *args: Any) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def print_accuracy(title: str, by_seed: list[Figures]) -> None:
    """Print a table of accuracy, log loss and seconds."""
    results = {name: [figures[name] for figures in by_seed] for name in by_seed[0]}
    print(f"\n#### {title}\n\nMean of {SEEDS} splits 75/25, ± its standard error; activations in the store.\n")
    print("| | rank-1 | log loss | fit |\n| --- | --- | --- | --- |")
    for name, rows in results.items():
        scores, losses, times = zip(*rows, strict=True)
        error = statistics.stdev(scores) / SEEDS**0.5
        mean = statistics.mean
        print(f"| {name} | {mean(scores):.4f} ± {error:.4f} | {mean(losses):.3f} | {mean(times):.1f} s |", flush=True)


def judged(clf: Any, test: Any, y_test: Any, fit_seconds: float) -> tuple[float, float, float]:
    """Return accuracy, log loss and the seconds that were given."""
    probabilities = clf.predict_proba(test)
    predicted = clf.classes_[probabilities.argmax(axis=1)]
    return float(np.mean(predicted == y_test)), log_loss(y_test, probabilities), fit_seconds


def compare_methods(cache: Any, seed: int, train: Any, test: Any, y_train: Any, y_test: Any) -> Figures:
    """Compare one classifier, independent members and snapshots, fitted on the same images."""
    variants = {
        "one classifier": member(cache, random_state=seed),
        f"{MEMBERS} independent": CNNEnsembleClassifier(member(cache), MEMBERS, random_state=seed),
        f"{MEMBERS} snapshots": CNNEnsembleClassifier(member(cache), MEMBERS, method="snapshot", random_state=seed),
    }
    figures = {}
    for name, clf in variants.items():
        taken = seconds(clf.fit, train, y_train)
        figures[name] = judged(clf, test, y_test, taken)
    return figures


def compare_averages(cache: Any, seed: int, train: Any, test: Any, y_train: Any, y_test: Any) -> Figures:
    """Compare soup, learned weights and equal weights of the same members with the best of them."""
    soup = CNNEnsembleClassifier(member(cache), MEMBERS, method="soup", random_state=seed)
    taken = seconds(soup.fit, train, y_train)
    frozen = [(f"m{number}", FrozenEstimator(each)) for number, each in enumerate(soup.estimators_)]
    # The same seed holds out the same images.
    weighted = CNNEnsembleClassifier(frozen, weights="validation", random_state=seed).fit(train, y_train)
    equal = CNNEnsembleClassifier(frozen).fit(train, y_train)
    scores = [judged(each, test, y_test, taken / MEMBERS) for each in soup.estimators_]
    held_out = soup.validation_scores_
    # Several may be the best on so few images; their mean is taken.
    best = [row for row, score in zip(scores, held_out, strict=True) if score == held_out.max()]
    return {
        "a member, mean of five": tuple(np.mean(scores, axis=0).tolist()),
        BEST: tuple(np.mean(best, axis=0).tolist()),
        "the best member on the test images themselves": max(scores),
        f"soup of {(soup.weights_ > 0).sum()}": judged(soup, test, y_test, taken),
        'weights="validation"': judged(weighted, test, y_test, taken),
        "equal weights": judged(equal, test, y_test, taken),
    }


def by_seed(data: Any, compare: Any, seeds: list[int], keep: Path | None) -> list[Figures] | None:
    """Return the figures of each seed; None where they were not run for all seeds yet."""
    kept = json.loads(keep.read_text()) if keep is not None and keep.exists() else {}
    figures = kept.setdefault(compare.__name__, {})
    with tempfile.TemporaryDirectory() as cache:
        todo = [seed for seed in seeds if str(seed) not in figures]
        if todo:  # all activations, and a traced model
            member(cache, epochs=1).fit(data.paths, data.labels)
        for seed in todo:
            split = train_test_split(data.paths, data.labels, test_size=0.25, stratify=data.labels, random_state=seed)
            figures[str(seed)] = compare(cache, seed, *split)
            if keep is not None:
                keep.write_text(json.dumps(kept))
    return [figures[str(seed)] for seed in range(SEEDS)] if len(figures) == SEEDS else None


def bench_accuracy(data: Any, seeds: list[int], keep: Path | None) -> None:
    """Print what members gain that are fitted on all training images."""
    figures = by_seed(data, compare_methods, seeds, keep)
    if figures is not None:
        print_accuracy("Accuracy, all training images", figures)


def bench_soup(data: Any, seeds: list[int], keep: Path | None) -> None:
    """Print what is gained where a part of the training images is held out."""
    figures = by_seed(data, compare_averages, seeds, keep)
    if figures is None:
        return
    sizes = [next(name for name in each if name.startswith("soup")) for each in figures]
    figures = [{"soup" if name in sizes else name: row for name, row in each.items()} for each in figures]
    print_accuracy("Accuracy, a fifth of the training images held out", figures)
    drop = statistics.mean(each[BEST][0] - each["soup"][0] for each in figures)
    print(f"\nThe soups: {', '.join(sizes)} members. Below the best member: {100 * drop:+.2f} points; asked for: "
          f"at most {100 * SOUP_DROP_LIMIT:.1f}.", flush=True)  # fmt: skip


def bench_cost(data: Any, seeds: list[int], keep: Path | None) -> None:
    """Time an ensemble in an empty store against one member's trunk and five tails."""
    with tempfile.TemporaryDirectory() as folder:
        caches = [Path(folder) / str(number) for number in range(3)]
        # The networks are loaded and traced once for all.
        member(caches[0], epochs=1).fit(data.paths[::20], data.labels[::20])
        ensemble = CNNEnsembleClassifier(member(caches[1], epochs=COST_EPOCHS), MEMBERS, random_state=0)
        together = seconds(ensemble.fit, data.paths, data.labels)
        singles = [clone(each).set_params(cache=caches[2]) for each in ensemble.estimators_]
        cold = seconds(singles[0].fit, data.paths, data.labels)
        tails = [seconds(each.fit, data.paths, data.labels) for each in singles]
        images = data.paths[::10]
        expected = np.mean([each.predict_proba(images) for each in singles], axis=0)
        np.testing.assert_allclose(ensemble.predict_proba(images), expected, atol=1e-4)
    trunk = cold - tails[0]
    limit = TRUNK_LIMIT * trunk + sum(tails)
    title = f"{MEMBERS} members in an empty store, {len(data.paths)} images, {COST_EPOCHS} epochs"
    print(f"\n#### {title}; equal predictions asserted\n")
    print("| one member's trunk | five tails | ensemble | of the trunk, beside the tails | asked for |")
    print("| --- | --- | --- | --- | --- |")
    print(f"| {trunk:.1f} s | {sum(tails):.1f} s | {together:.1f} s | {(together - sum(tails)) / trunk:.2f} x "
          f"| at most {TRUNK_LIMIT} x, which is {limit:.1f} s |", flush=True)  # fmt: skip


def print_ratio(title: str, first: str, second: str, pairs: list[tuple[float, float]], limit: str) -> None:
    """Print the medians of two ways that were timed in turn, and the median of their ratios."""
    one, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"\n#### {title}; median of {len(pairs)}, in turn\n")
    print(f"| {first} | {second} | ratio | asked for |\n| --- | --- | --- | --- |")
    print(f"| {one:.3f} s | {other:.3f} s | {ratio:.3f} | {limit} |", flush=True)


def bench_soup_time(data: Any, seeds: list[int], keep: Path | None) -> None:
    """Time predictions of a soup and of one of its members in turn."""
    with tempfile.TemporaryDirectory() as cache:
        soup = CNNEnsembleClassifier(member(cache, epochs=2), 3, method="soup", random_state=0)
        soup.fit(data.paths, data.labels)
        one = soup.estimators_[0]
        pairs = []
        for number in range(30):
            # Each is the first of the two as often as the other.
            order = [one, soup] if number % 2 else [soup, one]
            times = {id(each): seconds(each.predict_proba, data.paths) for each in order}
            pairs.append((times[id(one)], times[id(soup)]))
    title = f"Prediction of a soup, {len(data.paths)} images"
    print_ratio(title, "one member", "soup", pairs[2:], f"at most {SOUP_TIME_LIMIT}")


def bench_snapshot_time(data: Any, seeds: list[int], keep: Path | None) -> None:
    """Time the training of snapshots and of one classifier in turn."""
    with tempfile.TemporaryDirectory() as cache:
        task = data.paths[::2], data.labels[::2]
        one = member(cache, random_state=0, epochs=SNAPSHOT_EPOCHS)
        snapshots = CNNEnsembleClassifier(clone(one), MEMBERS, method="snapshot", random_state=0)
        for each in (one, snapshots):
            each.fit(*task)
        pairs = [(seconds(one.fit, *task), seconds(snapshots.fit, *task)) for _ in range(7)]
    title = f"Training of {MEMBERS} snapshots, {len(task[0])} images, {SNAPSHOT_EPOCHS} epochs"
    print_ratio(title, "one classifier", "snapshots", pairs, "one member's training")


PARTS = {
    "accuracy": bench_accuracy,
    "soup": bench_soup,
    "cost": bench_cost,
    "soup-time": bench_soup_time,
    "snapshot-time": bench_snapshot_time,
}


def main() -> None:
    """Run the parts that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", default=[*PARTS], help=", ".join(PARTS))
    parser.add_argument("--seed", type=int, choices=range(SEEDS), help="the only one to run now")
    parser.add_argument("--keep", type=Path, help="a JSON file that keeps the figures of seeds that were run")
    parser.add_argument("--every", type=int, default=1, help="take only every n-th image, for a shorter run")
    options = parser.parse_args()
    seeds = [*range(SEEDS)] if options.seed is None else [options.seed]
    whole = load_image_folder(data_folder("flowers17"))
    data = SimpleNamespace(paths=whole.paths[:: options.every], labels=whole.labels[:: options.every])
    print("### Ensembles, Flowers-17, efficientnet_lite0 at 224\n")
    print_machine()
    for part in options.parts:
        PARTS[part](data, seeds, options.keep)


if __name__ == "__main__":
    main()
