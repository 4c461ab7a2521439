"""Pack a folder of images into one file for training and one for testing, and train from them.

    python examples/pack_and_train.py photos/
    python examples/pack_and_train.py photos/ --size 32 --epochs 30 --output packed/

The files are written once: called again, it opens them, and features and pixels are not computed again. A call that was
killed while it packed goes on where it ended.
"""

import argparse
import time
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, classification_report
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skcnn import CNNFeatureExtractor, from_scratch_recipe, load_image_folder
from skcnn.datasets import open_hdf5, pack_hdf5


def main() -> None:
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    files = {part: arguments.output / f"{part}-{arguments.size}.hdf5" for part in ("train", "test")}
    if not all(file.exists() for file in files.values()):
        pack(arguments, files)
    train, test = open_hdf5(files["train"]), open_hdf5(files["test"])
    print(
        f"{len(train.images)} images to train on, {len(test.images)} held out, of {arguments.size} x {arguments.size}"
    )
    print("means of red, green and blue:", train.channel_means.round(1))

    begin = time.perf_counter()
    pipe = make_pipeline(CNNFeatureExtractor(), StandardScaler(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(pipe, {"logisticregression__C": [0.001, 0.01, 0.1, 1]}, cv=3)
    search.fit(train.images, train.labels)
    print(f"features: held-out accuracy {search.score(test.images, test.labels):.4f}, {search.best_params_}, "
          f"in {time.perf_counter() - begin:.1f} s")  # fmt: skip

    clf = from_scratch_recipe(input_size=arguments.size, epochs=arguments.epochs, random_state=0, verbose=1)
    clf.fit(train.images, train.labels)
    guesses = clf.predict(test.images)
    print(classification_report(test.labels, guesses, digits=3, zero_division=0))
    print(f"from scratch: held-out accuracy {accuracy_score(test.labels, guesses):.4f}")
    for file in files.values():
        print(f"{file.stat().st_size / 1e3:10.0f} kB  {file}")


def pack(arguments: argparse.Namespace, files: dict[str, Path]) -> None:
    """Write both files; what cannot be read is left out."""
    photos = load_image_folder(arguments.folder)
    X_train, X_test, y_train, y_test = train_test_split(
        photos.paths, photos.labels, test_size=0.25, stratify=photos.labels, random_state=42
    )
    for part, images, labels in (("train", X_train, y_train), ("test", X_test, y_test)):
        pack_hdf5(images, labels, files[part], arguments.size, on_error="skip", overwrite=True, verbose=1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder with one folder of images per class")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="from scratch (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("packed"), help="where the files are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
