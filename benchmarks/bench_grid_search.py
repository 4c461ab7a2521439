"""A cold grid search over C from paths: skcnn, a plain Keras transformer, and that one under joblib.Memory."""

from __future__ import annotations

import tempfile
import time

import keras
import numpy as np
from _machine import data_folder, print_machine
from joblib import Memory
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from skcnn import CNNFeatureExtractor
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.datasets import load_image_folder

GRID = {"clf__C": [0.001, 0.01, 0.1, 1, 10, 100]}
MODEL: keras.Model | None = None


class PlainKerasFeatures(TransformerMixin, BaseEstimator):
    """What people write: read, crop and resize with Keras, predict, every time."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        features = []
        for start in range(0, len(X), 32):
            images = [
                keras.utils.load_img(path, target_size=(224, 224), keep_aspect_ratio=True) for path in X[start:][:32]
            ]
            features.append(MODEL.predict_on_batch(np.stack([np.asarray(image, np.float32) for image in images])))
        return np.concatenate(features)


def search(features, data, memory=None) -> tuple[float, GridSearchCV]:
    pipe = Pipeline([("features", features), ("clf", LogisticRegression(solver="newton-cg"))], memory=memory)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    start = time.perf_counter()
    fitted = GridSearchCV(pipe, GRID, cv=folds, refit=False).fit(data.paths[::2], data.labels[::2])
    return time.perf_counter() - start, fitted


def classifier_alone(classifier, data, features) -> tuple[float, float]:
    """Return the time that the same fits take on ready-made features, and the best accuracy."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    start = time.perf_counter()
    fitted = GridSearchCV(Pipeline([("clf", classifier)]), GRID, cv=folds, refit=False).fit(features, data.labels[::2])
    return time.perf_counter() - start, fitted.best_score_


def main() -> None:
    global MODEL
    data = load_image_folder(data_folder("flowers17"))
    print("### Grid search over 6 values of C, 5 folds, from paths, cold; half of Flowers-17 (680 images)\n")
    print_machine()
    # Both engines are loaded before any clock starts, as a notebook that has run once has them.
    network = FrozenNetwork(resolve_backbone("efficientnet_lite0"))
    MODEL = network.build()
    MODEL.predict_on_batch(np.zeros((32, 224, 224, 3), np.float32))
    network.load().run(np.zeros((32, 224, 224, 3), np.uint8))

    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as memory:
        ours, fitted = search(CNNFeatureExtractor(cache=cache), data)
        stored = CNNFeatureExtractor(cache=cache).fit_transform(data.paths[::2])
        newton, newton_score = classifier_alone(LogisticRegression(solver="newton-cg"), data, stored)
        lbfgs, lbfgs_score = classifier_alone(LogisticRegression(max_iter=1000), data, stored)
        remembered, under_memory = search(PlainKerasFeatures(), data, Memory(memory, verbose=0))
        plain, baseline = search(PlainKerasFeatures(), data)
    scores = [search.best_score_ for search in (fitted, under_memory, baseline)]
    assert max(scores) - min(scores) <= 0.015, scores
    print("\n| search | time | best accuracy | skcnn is | asked for |\n| --- | --- | --- | --- | --- |")
    print(f"| skcnn | {ours:.1f} s | {scores[0]:.4f} | | |")
    print(f"| plain Keras transformer | {plain:.1f} s | {scores[2]:.4f} | {plain / ours:.1f} x faster | 30 x |")
    ratio = remembered / ours
    print(f"| the same, Pipeline(memory=...) | {remembered:.1f} s | {scores[1]:.4f} | {ratio:.1f} x faster | 8 x |")
    assert abs(newton_score - lbfgs_score) <= 0.01
    print(f"\nOf skcnn's time, the 30 fits take {newton:.1f} s on ready-made features.")
    print(f"With the default solver lbfgs they take {lbfgs:.1f} s ({lbfgs / newton:.1f} x), for a best accuracy of")
    print(f"{lbfgs_score:.4f} against {newton_score:.4f}.")


if __name__ == "__main__":
    main()
