"""Fine-tune a pretrained network on a folder of images, and keep everything that is needed afterwards.

    python examples/fine_tune.py photos/                           # a folder with one folder of images per class
    python examples/fine_tune.py photos/ --unfreeze 10 --epochs 40 --backbone efficientnet_lite1
    python examples/fine_tune.py photos/ --best                    # slower and better: augmentation, schedule, mirror
    python examples/fine_tune.py letters/ --best --no-flip         # where a mirror image is of another class

What is written to --output: the fitted classifier that the last figures are of, its network for use without skcnn, its
predictions of the held-out images, and pictures of how it was trained and of what it confuses.
"""

import argparse
import time
from pathlib import Path

import joblib
from _pictures import can_plot, plot
from sklearn.metrics import accuracy_score, classification_report
from sklearn.model_selection import train_test_split

from skcnn import FineTunedCNNClassifier, fine_tuning_recipe, load_image_folder, prediction_table


def main() -> None:
    arguments = parse_arguments()
    photos = load_image_folder(arguments.folder, verify=True)
    X_train, X_test, y_train, y_test = train_test_split(
        photos.paths, photos.labels, test_size=0.25, stratify=photos.labels, random_state=42
    )
    print(f"{len(X_train)} images of {len(photos.target_names)} classes to train on, {len(X_test)} held out")

    settings = {"epochs": arguments.epochs, "random_state": 0, "verbose": 1}
    if arguments.best:
        depth = {} if arguments.unfreeze is None else {"unfreeze": arguments.unfreeze}
        tuned = fine_tuning_recipe(arguments.backbone, horizontal_flip=not arguments.no_flip, **depth, **settings)
    else:
        depth = 4 if arguments.unfreeze is None else arguments.unfreeze
        tuned = FineTunedCNNClassifier(arguments.backbone, unfreeze=depth, **settings)
    # The head alone first: what fine-tuning has to beat. Its features are used again by the second fit.
    head = FineTunedCNNClassifier(arguments.backbone, unfreeze=0, **settings)
    for name, clf in {"the head alone": head, "fine-tuned": tuned}.items():
        start = time.perf_counter()
        clf.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        guesses = clf.predict(X_test)
        print(f"{name}: fitted in {seconds:.1f} s, held-out accuracy {accuracy_score(y_test, guesses):.4f}")
    print(classification_report(y_test, guesses, digits=3, zero_division=0))

    arguments.output.mkdir(parents=True, exist_ok=True)
    joblib.dump(clf, arguments.output / "classifier.joblib")
    clf.export(arguments.output / "network.keras", overwrite=True)
    prediction_table(clf, X_test).to_csv(arguments.output / "predictions.csv", index=False)
    if can_plot():
        plot(clf, y_test, guesses, arguments.output)
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
    parser.add_argument("--no-flip", action="store_true", help="with --best: mirror images are of another class")
    parser.add_argument("--output", type=Path, default=Path("fine-tuned"), help="where results are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
