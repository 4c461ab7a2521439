"""From a folder of images to a cross-validated classifier, and what each part of it costs.

    python examples/quickstart.py                     # every third of scikit-learn's digits, written as PNG files
    python examples/quickstart.py photos/             # a folder with one folder of images per class
    python examples/quickstart.py photos/ --backbone efficientnet_lite1

A picture of some predictions and the fitted pipeline are written to --output.
"""

import argparse
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skcnn import AspectAwareResize, CNNFeatureExtractor, make_rank_k_scorer, rank_k_accuracy_score
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.datasets import load_digits_images, load_image_folder


def main() -> None:
    arguments = parse_arguments()
    data = load_image_folder(arguments.folder, verify=True) if arguments.folder else every_third(load_digits_images())
    print_summary(data)

    side = FrozenNetwork(resolve_backbone(arguments.backbone)).input_shape[:2]
    features = CNNFeatureExtractor(arguments.backbone, verbose=1)
    # On stored features, fitting the classifier is what a search costs. They are not scaled, which slows the
    # default solver lbfgs down; newton-cg fits the same model many times faster.
    pipe = Pipeline(
        [("resize", AspectAwareResize(side)), ("features", features), ("clf", LogisticRegression(solver="newton-cg"))]
    )
    time_features(pipe[:-1], data.paths)

    search, held_out = grid_search(pipe, data)
    print_scores(search, *held_out)
    save_and_load(search, held_out[0], arguments.output)
    plot_predictions(search, *held_out, arguments.output)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="a folder with one folder of images per class; default: the digits")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--output", type=Path, default=Path("quickstart-output"), help="where results are written")
    return parser.parse_args()


def every_third(data):
    """Return a third of the images, which show the way as well as all of them."""
    data.paths, data.labels = data.paths[::3], data.labels[::3]
    return data


def print_summary(data) -> None:
    names, counts = np.unique(data.labels, return_counts=True)
    print(f"{len(data.paths)} images of {len(names)} classes, {counts.min()} to {counts.max()} each")
    shown = ", ".join(f"{name} ({count})" for name, count in zip(names[:8], counts[:8], strict=True))
    print(f"  {shown}{', ...' if len(names) > 8 else ''}")


def time_features(transformers, paths) -> None:
    for attempt in ("first", "second"):
        start = time.perf_counter()
        transformers.fit_transform(paths)
        print(f"{attempt} pass over all images: {time.perf_counter() - start:.2f} s")
    info = transformers["features"].cache_info()
    print(
        f"  {info.misses} went through the network in this run, {info.rows} rows ({info.bytes / 1e6:.1f} MB) are stored"
    )


def grid_search(pipe, data):
    X_train, X_test, y_train, y_test = train_test_split(
        data.paths, data.labels, test_size=0.25, stratify=data.labels, random_state=42
    )
    n_classes = len(data.target_names)
    print("grid search over C, 5 settings x 5 folds: fitting 25 classifiers on stored features ...", flush=True)
    scoring = {f"rank{k}": make_rank_k_scorer(k) for k in (1, 5) if k < n_classes}
    start = time.perf_counter()
    search = GridSearchCV(pipe, {"clf__C": [0.01, 0.1, 1, 10, 100]}, cv=5, scoring=scoring, refit="rank1")
    search.fit(X_train, y_train)
    print(f"  done in {time.perf_counter() - start:.1f} s")
    return search, (X_test, y_test)


def print_scores(search, X_test, y_test) -> None:
    print(f"best C: {search.best_params_['clf__C']} (cross-validated rank-1 {search.best_score_:.4f})")
    probabilities = search.predict_proba(X_test)
    for k in (1, 5):
        if k < len(search.classes_):
            score = rank_k_accuracy_score(y_test, probabilities, k=k, labels=search.classes_)
            print(f"held-out rank-{k} accuracy: {score:.4f}")


def save_and_load(search, X_test, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    file = output / "pipeline.joblib"
    joblib.dump(search.best_estimator_, file)
    loaded = joblib.load(file)
    assert (loaded.predict(X_test) == search.predict(X_test)).all()
    print(f"saved, loaded back, same predictions: {file} ({file.stat().st_size / 1e3:.0f} kB)")


def plot_predictions(search, X_test, y_test, output: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("no picture: pip install 'skcnn[plots]' brings matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = np.random.default_rng(0).permutation(len(X_test))[:12]
    probabilities = search.predict_proba(X_test[chosen])
    images = AspectAwareResize((224, 224)).fit_transform(X_test[chosen])
    figure, axes = plt.subplots(3, 4, figsize=(10, 8.4), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, truth, row in zip(axes.flat, images, y_test[chosen], probabilities, strict=False):
        guess = search.classes_[row.argmax()]
        axis.imshow(image)
        wrong = "" if guess == truth else f"\n(is {truth})"
        axis.set_title(f"{guess} {row.max():.0%}{wrong}", color="black" if guess == truth else "crimson", fontsize=11)
    figure.suptitle("Held-out images and what the classifier says")
    file = output / "predictions.png"
    figure.savefig(file, dpi=110)
    print(f"a picture of some predictions: {file}")


if __name__ == "__main__":
    main()
