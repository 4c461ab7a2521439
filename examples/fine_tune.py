"""Fine-tune a pretrained network on a folder of images, and keep everything that is needed afterwards.

    python examples/fine_tune.py photos/                           # a folder with one folder of images per class
    python examples/fine_tune.py photos/ --unfreeze 10 --epochs 40 --backbone efficientnet_lite1
    python examples/fine_tune.py photos/ --best                    # slower and better: augmentation, schedule, mirror

What is written to --output: the fitted pipeline, the network for use without skcnn, and pictures of how it was trained
and of what it confuses.
"""

import argparse
import time
from pathlib import Path

import joblib
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, classification_report
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skcnn import AspectAwareResize, Augmentation, FineTunedCNNClassifier, TenCropClassifier
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.datasets import load_image_folder
from skcnn.inspection import HistoryDisplay

# The recipe for a few thousand photographs or fewer; README says why. Leave out what would change the class of yours:
# horizontal_flip=False for letters, crop=None where a detail at the edge decides.
BEST = {
    "augmentation": Augmentation(
        rotation=20, width_shift=0, height_shift=0, shear=0, zoom=0, crop=(0.5, 1), brightness=20, contrast=0.2
    ),
    "augmented_views": 10,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "label_smoothing": 0.1,
    "dropout": 0.3,
}


def main() -> None:
    arguments = parse_arguments()
    photos = load_image_folder(arguments.folder, verify=True)
    X_train, X_test, y_train, y_test = train_test_split(
        photos.paths, photos.labels, test_size=0.25, stratify=photos.labels, random_state=42
    )
    print(f"{len(X_train)} images of {len(photos.target_names)} classes to train on, {len(X_test)} held out")

    side = FrozenNetwork(resolve_backbone(arguments.backbone)).input_shape[:2]
    settings = {"backbone": arguments.backbone, "epochs": arguments.epochs, "random_state": 0, "verbose": 1}
    settings |= BEST if arguments.best else {}
    # Augmentation cuts views out of the photographs, and needs their pixels.
    resize = "passthrough" if arguments.best else AspectAwareResize(side)
    pipe = Pipeline([("resize", resize), ("clf", FineTunedCNNClassifier(**settings))])

    # The head alone first: what fine-tuning has to beat. Its features are used again by the second fit.
    default = 10 if arguments.best else 4
    depth = default if arguments.unfreeze is None else arguments.unfreeze
    for unfreeze in (0, depth):
        start = time.perf_counter()
        pipe.set_params(clf__unfreeze=unfreeze, clf__augmentation=settings.get("augmentation") if unfreeze else None)
        pipe.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        guesses = pipe.predict(X_test)
        score = accuracy_score(y_test, guesses)
        print(f"unfreeze={unfreeze!r}: fitted in {seconds:.1f} s, held-out accuracy {score:.4f}")
    if arguments.best:
        guesses = TenCropClassifier(pipe, resize=side, crop_size=side).predict(X_test)
        print(f"averaged with the mirror images: held-out accuracy {accuracy_score(y_test, guesses):.4f}")
    print(classification_report(y_test, guesses, digits=3, zero_division=0))

    arguments.output.mkdir(parents=True, exist_ok=True)
    joblib.dump(pipe, arguments.output / "pipeline.joblib")
    pipe["clf"].export(arguments.output / "network.keras", overwrite=True)
    plot(pipe, y_test, guesses, arguments.output)
    for file in sorted(arguments.output.iterdir()):
        print(f"{file.stat().st_size / 1e3:10.0f} kB  {file}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder with one folder of images per class")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument(
        "--unfreeze",
        type=lambda text: int(text) if text.isdecimal() else text,
        help="convolution layers to train, the name of the first layer to train, or all (default: 4; with --best 10)",
    )
    parser.add_argument("--epochs", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--best", action="store_true", help="take the recipe for small data sets; it takes minutes")
    parser.add_argument("--output", type=Path, default=Path("fine-tuned"), help="where results are written")
    return parser.parse_args()


def plot(pipe: Pipeline, y_test, guesses, output: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("no pictures: pip install 'skcnn[plots]' brings matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    HistoryDisplay.from_estimator(pipe).figure_.savefig(output / "history.png", dpi=110)
    side = 3 + 0.35 * len(pipe.classes_)
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    settings = {"normalize": "true", "values_format": ".2f", "xticks_rotation": "vertical", "colorbar": False}
    # The cells of many classes are too small for numbers.
    settings["include_values"] = len(pipe.classes_) <= 10
    ConfusionMatrixDisplay.from_predictions(y_test, guesses, ax=axis, cmap="Blues", **settings)
    axis.set_title("Held-out images: fraction of each true class")
    figure.savefig(output / "confusion.png", dpi=110)


if __name__ == "__main__":
    main()
