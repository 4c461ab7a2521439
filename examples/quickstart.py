"""From a folder of images to a cross-validated classifier and a fine-tuned network, and what each part of it costs.

    python examples/quickstart.py                     # every third of scikit-learn's digits, written as PNG files
    python examples/quickstart.py photos/             # a folder with one folder of images per class
    python examples/quickstart.py photos/ --backbone efficientnet_lite1

A picture of some predictions and the fitted pipelines are written to --output.
"""

import argparse
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skcnn import (
    AspectAwareResize,
    CNNFeatureExtractor,
    FineTunedCNNClassifier,
    make_rank_k_scorer,
    rank_k_accuracy_score,
)
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

    X_train, X_test, y_train, y_test = train_test_split(
        data.paths, data.labels, test_size=0.25, stratify=data.labels, random_state=42
    )
    search = grid_search(pipe, X_train, y_train)
    before = print_scores(search, X_test, y_test)

    tuned = Pipeline(
        [
            ("resize", AspectAwareResize(side)),
            ("clf", FineTunedCNNClassifier(arguments.backbone, random_state=0, verbose=1)),
        ]
    )
    fine_tune(tuned, X_train, y_train)
    after = print_scores(tuned, X_test, y_test)
    print(f"fine-tuning changed the held-out rank-1 accuracy by {100 * (after - before):+.1f} points")

    arguments.output.mkdir(parents=True, exist_ok=True)
    save_and_load(search.best_estimator_, X_test, arguments.output / "features.joblib")
    save_and_load(tuned, X_test, arguments.output / "fine-tuned.joblib")
    plot_predictions(tuned, X_test, y_test, arguments.output / "predictions.png")


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
    stored = f"features of {info.images} images are stored ({info.bytes / 1e6:.1f} MB)"
    print(f"  {info.misses} images went through the network in this run; {stored}")


def grid_search(pipe, X, y):
    print("grid search over C, 5 settings x 5 folds: fitting 25 classifiers on stored features ...", flush=True)
    start = time.perf_counter()
    search = GridSearchCV(pipe, {"clf__C": [0.01, 0.1, 1, 10, 100]}, cv=5, scoring=make_rank_k_scorer(1)).fit(X, y)
    print(f"  done in {time.perf_counter() - start:.1f} s")
    print(f"best C: {search.best_params_['clf__C']} (cross-validated rank-1 {search.best_score_:.4f})")
    return search


def fine_tune(pipe, X, y) -> None:
    print("fine-tuning: the head and the upper layers, on stored activations of the layers below ...", flush=True)
    start = time.perf_counter()
    pipe.fit(X, y)
    print(f"  done in {time.perf_counter() - start:.1f} s")


def print_scores(classifier, X_test, y_test) -> float:
    probabilities = classifier.predict_proba(X_test)
    scores = {
        k: rank_k_accuracy_score(y_test, probabilities, k=k, labels=classifier.classes_)
        for k in (1, 5)
        if k < len(classifier.classes_)
    }
    for k, score in scores.items():
        print(f"held-out rank-{k} accuracy: {score:.4f}")
    return scores[1]


def save_and_load(classifier, X_test, file: Path) -> None:
    joblib.dump(classifier, file)
    loaded = joblib.load(file)
    assert (loaded.predict(X_test) == classifier.predict(X_test)).all()
    print(f"saved, loaded back, same predictions: {file} ({file.stat().st_size / 1e3:.0f} kB)")


def plot_predictions(classifier, X_test, y_test, file: Path) -> None:
    """Draw twelve held-out images, up to four of them wrong ones."""
    try:
        import matplotlib
    except ImportError:
        print("no picture: pip install 'skcnn[plots]' brings matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    probabilities = classifier.predict_proba(X_test)
    guesses = classifier.classes_[probabilities.argmax(axis=1)]
    order = np.random.default_rng(0).permutation(len(X_test))
    is_right = guesses[order] == y_test[order]
    right, wrong = order[is_right], order[~is_right]
    chosen = np.concatenate([wrong[:4], right])[:12]
    images = AspectAwareResize((224, 224)).fit_transform(X_test[chosen])

    figure, axes = plt.subplots(3, 4, figsize=(6.5, 5.6), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, index, image in zip(axes.flat, chosen, images, strict=False):
        guess, truth = guesses[index], y_test[index]
        mark, colour = ("\N{CHECK MARK}", "seagreen") if guess == truth else ("\N{BALLOT X}", "crimson")
        correction = "" if guess == truth else f", is {truth}"
        axis.imshow(image)
        axis.set_axis_on()
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(color=colour, linewidth=3)
        axis.set_title(f"{mark} {guess} {probabilities[index].max():.0%}{correction}", color=colour, fontsize="small")
    figure.suptitle(f"Held-out images: {len(right)} right and {len(wrong)} wrong, some of each")
    figure.savefig(file, dpi=300)
    print(f"a picture of some predictions: {file}")


if __name__ == "__main__":
    main()
