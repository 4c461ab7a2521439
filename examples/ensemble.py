"""Three kinds of ensembles of fine-tuned networks against one network: what they gain, and what they cost.

    python examples/ensemble.py photos/                      # a folder with one folder of images per class
    python examples/ensemble.py photos/ --members 3 --epochs 10

The frozen layers see each image once, before anything is timed; all networks read the stored result. A picture of the
rank-k accuracies is written to --output.
"""

import argparse
import time
from pathlib import Path

from _gain import measure, print_gain
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skcnn import AspectAwareResize, CNNEnsembleClassifier, FineTunedCNNClassifier
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.datasets import load_image_folder
from skcnn.metrics import RankCurveDisplay, rank_report

METHODS = ("snapshot", "soup", "independent")


def main() -> None:
    arguments = parse_arguments()
    photos = load_image_folder(arguments.folder, verify=True)
    split = train_test_split(photos.paths, photos.labels, test_size=0.25, stratify=photos.labels, random_state=42)
    X_train, X_test, y_train, y_test = split
    print(f"{len(X_train)} images of {len(photos.target_names)} classes to train on, {len(X_test)} held out")

    side = FrozenNetwork(resolve_backbone(arguments.backbone)).input_shape[:2]
    one = FineTunedCNNClassifier(arguments.backbone, epochs=arguments.epochs, random_state=0)
    classifiers = {"one network": one} | {
        f"{method}, {arguments.members} members": CNNEnsembleClassifier(
            one, arguments.members, method=method, random_state=0
        )
        for method in METHODS
    }
    pipes = {name: Pipeline([("resize", AspectAwareResize(side)), ("clf", clf)]) for name, clf in classifiers.items()}
    store_frozen_layers(pipes["one network"], X_train, y_train, X_test)

    measured = {}
    for name, pipe in pipes.items():
        measured[name] = measure(pipe, *split)
        print_gain(name, measured[name], measured["one network"])

    name, pipe = list(pipes.items())[-1]
    probabilities = {name: pipe.predict_proba(X_test) for name, pipe in pipes.items()}
    print(f"\n{name}, each beside their average:")
    print(pipe["clf"].member_scores(pipe["resize"].transform(X_test), y_test))
    print("\ntheir average, class by class:")
    print(rank_report(y_test, probabilities[name], labels=pipe.classes_))
    plot(y_test, probabilities, pipe.classes_, arguments.output)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder with one folder of images per class")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--members", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("ranks.png"), help="the picture (default: %(default)s)")
    return parser.parse_args()


def store_frozen_layers(pipe: Pipeline, X_train, y_train, X_test) -> None:
    start = time.perf_counter()
    clone(pipe).set_params(clf__epochs=1).fit(X_train, y_train).predict(X_test)
    print(f"all images through the frozen layers, and one epoch: {time.perf_counter() - start:.1f} s", flush=True)


def plot(y_test, probabilities, classes, file: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("no picture: pip install 'skcnn[plots]' brings matplotlib")
        return
    matplotlib.use("Agg")
    display = RankCurveDisplay.from_predictions(y_test, probabilities, labels=classes)
    display.ax_.set_title(f"{len(y_test)} held-out images")
    file.parent.mkdir(parents=True, exist_ok=True)
    display.figure_.savefig(file, dpi=300)
    print(f"a picture of the rank-k accuracies: {file}")


if __name__ == "__main__":
    main()
