"""Flowers-17 end to end: accuracy, each image once through the network, warm runs, overwritten and renamed files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _machine import data_folder, print_machine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skcnn import AspectAwareResize, CNNFeatureExtractor, make_rank_k_scorer, rank_k_accuracy_score
from skcnn.datasets import load_image_folder


def make_search(cache: Path, n_jobs: int | None = None) -> GridSearchCV:
    features = CNNFeatureExtractor(cache=cache)
    clf = LogisticRegression(solver="newton-cg")
    pipe = Pipeline([("resize", AspectAwareResize((224, 224))), ("features", features), ("clf", clf)])
    scoring = {"rank1": make_rank_k_scorer(1), "rank5": make_rank_k_scorer(5)}
    return GridSearchCV(pipe, {"clf__C": [0.01, 0.1, 1, 10, 100]}, cv=5, scoring=scoring, refit="rank1", n_jobs=n_jobs)


def search_and_evaluate(data, cache: Path, n_jobs: int | None = None) -> None:
    X_train, X_test, y_train, y_test = train_test_split(
        data.paths, data.labels, test_size=0.25, stratify=data.labels, random_state=42
    )
    start = time.perf_counter()
    search = make_search(cache, n_jobs).fit(X_train, y_train)
    probabilities = search.predict_proba(X_test)
    seconds = time.perf_counter() - start
    info = search.best_estimator_["features"].cache_info()
    rank1, rank5 = (rank_k_accuracy_score(y_test, probabilities, k=k, labels=search.classes_) for k in (1, 5))
    print(f"| search of 5 x 5 fits and final evaluation, n_jobs={n_jobs} | {seconds:.1f} s |")
    assert rank1 >= 0.94
    assert rank5 >= 0.995
    print(f"| held-out rank-1, rank-5 (C={search.best_params_['clf__C']}) | {rank1:.4f}, {rank5:.4f} |")
    # Every row that was ever computed is in the store, once or more: as many rows as images means each exactly once.
    assert info.images == len(data.paths), info
    if n_jobs is None:
        assert info.misses == len(data.paths), info
        print(f"| images through the network, hits | {info.misses}, {info.hits} |")
    else:
        print(f"| images in the store, all processes | {info.images} |")


NEW_PROCESS = """
import sys, time
import numpy as np
from skcnn import CNNFeatureExtractor
from skcnn.datasets import load_image_folder
paths = load_image_folder(sys.argv[1]).paths
extractor = CNNFeatureExtractor(cache=sys.argv[2])
start = time.perf_counter()
features = extractor.fit_transform(paths)
seconds = time.perf_counter() - start
if sys.argv[3] == "warm":
    assert not {"keras", "tensorflow", "openvino"} & set(sys.modules), "a network was loaded"
np.save(sys.argv[4], features)
print(seconds)
"""


def cold_and_warm(folder: Path, cache: Path, repeats: int = 5) -> None:
    def run(kind: str, output: Path) -> float:
        command = [sys.executable, "-c", NEW_PROCESS, str(folder), str(cache), kind, str(output)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    with tempfile.TemporaryDirectory() as scratch:
        cold_file, warm_file = Path(scratch, "cold.npy"), Path(scratch, "warm.npy")
        cold = run("cold", cold_file)
        warm = np.median([run("warm", warm_file) for _ in range(repeats)])
        np.testing.assert_array_equal(np.load(cold_file), np.load(warm_file))
    assert warm <= cold / 100
    print(f"| fit_transform in a new process, cold (imports and loads the network) | {cold:.2f} s |")
    print(f"| the same, warm (no network is loaded; median of {repeats}) | {warm:.3f} s, {cold / warm:.0f} x less |")


def overwrite_and_rename(folder: Path, cache: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "copy")
        shutil.copytree(folder, copy)
        paths = load_image_folder(copy).paths
        extractor = CNNFeatureExtractor(cache=cache).fit(paths)
        before = extractor.transform(paths)

        stored = extractor.cache_info().images
        time.sleep(2.1)  # files younger than that are read again in any case
        extractor.transform(paths)
        Path(paths[0]).write_bytes(Path(paths[-1]).read_bytes() + b"\0")
        after = extractor.transform(paths)
        assert (after[0] != before[0]).any()
        assert extractor.cache_info().images == stored + 1
        np.testing.assert_array_equal(after[1:], before[1:])
        computed = extractor.cache_info().images - stored
        print(f"| images computed after one file of {len(paths)} was overwritten | {computed} |")

        renamed = Path(scratch, "renamed")
        os.replace(copy, renamed)
        paths = load_image_folder(renamed).paths
        np.testing.assert_array_equal(extractor.transform(paths), after)
        print(f"| images computed after all were renamed | {extractor.cache_info().images - stored - 1} |")


def main() -> None:
    folder = data_folder("flowers17")
    data = load_image_folder(folder)
    print("### Flowers-17, 75/25 stratified, efficientnet_lite0 + logistic regression\n")
    print_machine()
    print("\n| what | figure |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        cold_and_warm(folder, Path(scratch, "new-process"))
        search_and_evaluate(data, Path(scratch, "search"))
        search_and_evaluate(data, Path(scratch, "workers"), n_jobs=2)
        overwrite_and_rename(folder, Path(scratch, "search"))


if __name__ == "__main__":
    main()
