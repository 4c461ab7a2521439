"""Average over ten crops of each image instead of one: what it gains, and what it costs.

    python examples/ten_crop.py photos/                      # a folder with one folder of images per class
    python examples/ten_crop.py photos/ --average max --no-flips

Every classifier begins with an empty cache of its own, which is deleted in the end: the seconds are those of images
that the network has not seen. Ten crops of images whose features are stored take a fraction of them.
"""

import argparse
import tempfile

from _gain import measure, print_gain
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skcnn import AspectAwareResize, CNNFeatureExtractor, TenCropClassifier
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.datasets import load_image_folder


def main() -> None:
    arguments = parse_arguments()
    photos = load_image_folder(arguments.folder, verify=True)
    split = train_test_split(photos.paths, photos.labels, test_size=0.25, stratify=photos.labels, random_state=42)
    X_train, X_test, _, y_test = split
    print(f"{len(X_train)} images of {len(photos.target_names)} classes to train on, {len(X_test)} held out")

    side = FrozenNetwork(resolve_backbone(arguments.backbone)).input_shape[0]
    options = {
        "resize": round(side * 256 / 224),
        "crop_size": side,
        "horizontal_flips": arguments.flips,
        "average": arguments.average,
    }
    # Loading the network is no part of what is compared.
    features_and_regression(arguments.backbone, side, cache=None)[:-2].fit_transform(X_train[:2])
    with tempfile.TemporaryDirectory() as folder:
        caches = [f"{folder}/{name}" for name in ("one", "predicted", "trained")]
        one, predicted, trained = (features_and_regression(arguments.backbone, side, cache) for cache in caches)
        classifiers = {
            "one crop": one,
            "crops predicted": TenCropClassifier(predicted, **options),
            "crops predicted and trained on": TenCropClassifier(trained, **options, fit_crops=True),
        }
        measured = {}
        for name, clf in classifiers.items():
            measured[name] = measure(clf, *split)
            print_gain(name, measured[name], measured["one crop"])
            if clf is not one:
                print(f"{clf.view_scores(X_test, y_test)}\n", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder with one folder of images per class")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument(
        "--average", choices=("mean", "geometric", "max"), default="mean", help="(default: %(default)s)"
    )
    parser.add_argument("--no-flips", dest="flips", action="store_false", help="five crops, without mirror images")
    return parser.parse_args()


def features_and_regression(backbone, side: int, cache) -> Pipeline:
    return Pipeline(
        [
            ("resize", AspectAwareResize((side, side))),
            ("features", CNNFeatureExtractor(backbone, cache=cache)),
            ("scale", StandardScaler()),
            ("clf", LogisticRegression(C=0.01, max_iter=1000)),
        ]
    )


if __name__ == "__main__":
    main()
