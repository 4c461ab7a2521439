"""Train a network from random weights on a folder of images, and go on where it was ended.

    python examples/train_from_scratch.py photos/                                  # the recipe: few epochs
    python examples/train_from_scratch.py photos/ --size 64 --epochs 100
    python examples/train_from_scratch.py digits/ --no-flip                        # a mirror image is of another class
    python examples/train_from_scratch.py photos/ --architecture minivggnet --size 64 --members 5

Call it again with the same arguments after it was ended, and it goes on from its last epoch. What is written to
--output: the state of the training and its curves, the fitted classifier, its networks for use without skcnn, its
predictions of the held-out images, and pictures of what it confuses and of how it does on images that are moved, darker
or inverted.
"""

import argparse
from pathlib import Path

import joblib
from _pictures import can_plot, plot
from sklearn.metrics import accuracy_score, classification_report
from sklearn.model_selection import train_test_split

from skcnn import CNNEnsembleClassifier, from_scratch_recipe, load_image_folder, prediction_table, rank_k_accuracy_score
from skcnn.inspection import RobustnessDisplay, robustness_scores


def main() -> None:
    arguments = parse_arguments()
    photos = load_image_folder(arguments.folder, verify=True)
    X_train, X_test, y_train, y_test = train_test_split(
        photos.paths, photos.labels, test_size=0.25, stratify=photos.labels, random_state=42
    )
    print(f"{len(X_train)} images of {len(photos.target_names)} classes to train on, {len(X_test)} held out")

    clf = from_scratch_recipe(
        arguments.architecture,
        input_size=arguments.size,
        epochs=arguments.epochs,
        horizontal_flip=not arguments.no_flip,
        checkpoint_dir=arguments.output / "training",
        random_state=0,
        verbose=1,
    )
    if arguments.members > 1:
        clf = CNNEnsembleClassifier(clf, arguments.members, random_state=0)
    clf.fit(X_train, y_train)
    members = clf.estimators_ if arguments.members > 1 else [clf]
    if arguments.members > 1:
        for number, member in enumerate(members, 1):
            print(f"network {number}: held-out accuracy {member.score(X_test, y_test):.4f}")
    probabilities = clf.predict_proba(X_test)
    guesses = clf.classes_[probabilities.argmax(axis=1)]
    print(classification_report(y_test, guesses, digits=3, zero_division=0))
    print(f"held-out accuracy {accuracy_score(y_test, guesses):.4f}")
    if len(clf.classes_) > 5:
        rank5 = rank_k_accuracy_score(y_test, probabilities, k=5, labels=clf.classes_)
        print(f"among the five likeliest classes: {rank5:.4f}")

    joblib.dump(clf, arguments.output / "classifier.joblib")
    for number, member in enumerate(members, 1):
        member.export(arguments.output / f"network-{number}.keras", overwrite=True)
    prediction_table(clf, X_test).to_csv(arguments.output / "predictions.csv", index=False)
    print(robustness_scores(clf, X_test, y_test))
    if can_plot():
        plot(members[0], y_test, guesses, arguments.output)
        display = RobustnessDisplay.from_estimator(clf, X_test, y_test)
        display.figure_.savefig(arguments.output / "robustness.png", dpi=300)
    for file in sorted(path for path in arguments.output.rglob("*") if path.is_file()):
        print(f"{file.stat().st_size / 1e3:10.0f} kB  {file}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder with one folder of images per class")
    parser.add_argument("--architecture", default="whitened_vgg", help="a network of skcnn or keras.applications")
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--members", type=int, default=1, help="networks that are averaged (default: %(default)s)")
    parser.add_argument("--no-flip", action="store_true", help="mirror images are of another class")
    parser.add_argument("--output", type=Path, default=Path("from-scratch"), help="where results are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
