"""Search how much of a network to train on a folder of images, and how fast.

    python examples/grid_search_unfreeze_depth.py photos/           # a folder with one folder of images per class
    python examples/grid_search_unfreeze_depth.py photos/ --depths 0 2 6 --learning-rates 1e-5 1e-4 --folds 5

The lower layers run once for each image and each distinct cut. All folds, learning rates and epochs read the stored
result. A picture of the accuracies is written to --output.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline

from skcnn import AspectAwareResize, FineTunedCNNClassifier
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.datasets import load_image_folder


def main() -> None:
    arguments = parse_arguments()
    photos = load_image_folder(arguments.folder, verify=True)
    X_train, X_test, y_train, y_test = train_test_split(
        photos.paths, photos.labels, test_size=0.25, stratify=photos.labels, random_state=42
    )
    side = FrozenNetwork(resolve_backbone(arguments.backbone)).input_shape[:2]
    clf = FineTunedCNNClassifier(arguments.backbone, epochs=arguments.epochs, random_state=0)
    pipe = Pipeline([("resize", AspectAwareResize(side)), ("clf", clf)])
    # Where nothing is unfrozen there is no second phase, and so no learning rate to choose.
    rates, depths = arguments.learning_rates, [depth for depth in arguments.depths if depth]
    grid = [{"clf__unfreeze": [0]}] if 0 in arguments.depths else []
    grid += [{"clf__unfreeze": depths, "clf__learning_rate": rates}] if depths else []

    folds = StratifiedKFold(arguments.folds, shuffle=True, random_state=0)
    print(f"searching on {len(X_train)} images of {len(photos.target_names)} classes ...", flush=True)
    start = time.perf_counter()
    search = GridSearchCV(pipe, grid, cv=folds, verbose=2).fit(X_train, y_train)
    print(f"done in {time.perf_counter() - start:.1f} s")
    print_table(search)
    print(f"best: {search.best_params_}, held-out accuracy {search.score(X_test, y_test):.4f}")
    plot(search, arguments.output)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder with one folder of images per class")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--depths", type=int, nargs="+", default=[0, 1, 4, 10], help="(default: %(default)s)")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[3e-5, 1e-4], help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--folds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("depths.png"), help="the picture (default: %(default)s)")
    return parser.parse_args()


def print_table(search: GridSearchCV) -> None:
    results = search.cv_results_
    print("unfreeze  learning rate  accuracy          seconds per fit")
    for index, settings in enumerate(results["params"]):
        rate = settings.get("clf__learning_rate")
        score = f"{results['mean_test_score'][index]:.4f} +- {results['std_test_score'][index]:.4f}"
        seconds = results["mean_fit_time"][index]
        print(f"{settings['clf__unfreeze']:8}  {'-' if rate is None else f'{rate:g}':>13}  {score}  {seconds:15.1f}")


def plot(search: GridSearchCV, file: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("no picture: pip install 'skcnn[plots]' brings matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    results = search.cv_results_
    settings = results["params"]
    depths = sorted({each["clf__unfreeze"] for each in settings})
    rates = sorted({each["clf__learning_rate"] for each in settings if "clf__learning_rate" in each})
    figure, axis = plt.subplots(figsize=(5, 3.3), layout="constrained")
    for rate in rates or [None]:
        chosen = [index for index, each in enumerate(settings) if each.get("clf__learning_rate", rate) == rate]
        places = [depths.index(settings[index]["clf__unfreeze"]) for index in chosen]
        label = None if rate is None else f"learning rate {rate:g}"
        mean, deviation = results["mean_test_score"][chosen], results["std_test_score"][chosen]
        axis.errorbar(places, mean, deviation, marker="o", capsize=4, label=label)
    axis.set_xticks(np.arange(len(depths)), depths)
    axis.set(xlabel="unfreeze: convolution layers that are trained", ylabel="cross-validated accuracy")
    if rates:
        axis.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=300)
    print(f"a picture of the accuracies: {file}")


if __name__ == "__main__":
    main()
