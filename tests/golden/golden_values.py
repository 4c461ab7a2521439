"""Write what tomorrow's code is compared with: fingerprints, and fitted estimators.

Run ``python tests/golden/golden_values.py fingerprints`` or ``... pickles`` where a change was meant, and say in
CHANGELOG.md what becomes of the features that users have stored and of the estimators they have pickled. Pickles are
written with the oldest versions (``.venv-oldest/bin/python``, once ``make test-oldest`` has made it), which newer ones
have to read.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent
FINGERPRINTS = GOLDEN / "fingerprints.json"
PREDICTIONS = GOLDEN / "predictions.npz"
LABELS = np.array(["cat", "dog", "emu"] * 4)


def network(*, with_all: bool = False) -> Any:
    """Return a small network whose weights are the same everywhere, with one layer of each usual kind if asked."""
    import keras

    from skcnn.backbones._backbone import quiet_build

    with quiet_build():
        pixels = keras.Input((16, 16, 3), name="pixels")
        x = keras.layers.Rescaling(1 / 255, name="scale")(pixels)
        x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv1")(x)
        x = keras.layers.Conv2D(6, 3, activation="relu", name="conv2")(x)
        if with_all:
            x = keras.layers.BatchNormalization(name="norm")(x)
            x = keras.layers.Conv2DTranspose(4, 2, name="transposed")(x)
            x = keras.layers.DepthwiseConv2D(2, name="depthwise")(x)
            x = keras.layers.SeparableConv2D(4, 2, name="separable")(x)
            x = keras.layers.Reshape((-1, 4), name="positions")(x)
            x = keras.layers.LayerNormalization(name="layer_norm")(x)
            x = keras.layers.MultiHeadAttention(1, 2, name="attention")(x, x)
            x = keras.layers.Dense(3, name="dense")(x)
        model = keras.Model(pixels, x, name="golden")
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.3, weight.shape).astype(np.float32) for weight in model.get_weights()]
    model.set_weights(weights)
    return model


def images() -> np.ndarray:
    """Return twelve pictures of three classes that differ in colour."""
    random = np.random.default_rng(1)
    colours = random.integers(60, 196, (3, 3))[np.arange(12) % 3]
    pixels = colours[:, None, None, :] + random.integers(-40, 40, (12, 20, 24, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def descriptions() -> dict[str, Any]:
    """Return what decides rows, for networks, steps, pixels and images of all kinds, as JSON types."""
    from skcnn.backbones import FrozenNetwork, resolve_backbone
    from skcnn.cache._digests import digest_array, digest_bytes
    from skcnn.features import RawPixels
    from skcnn.images import (
        Augmentation,
        Crop,
        FlipHorizontal,
        ResizeCrop,
        SubtractMean,
        TenCrop,
        ToGrey,
        as_image_sequence,
    )

    lite, random = resolve_backbone("efficientnet_lite0"), resolve_backbone("efficientnet_lite0", None)
    networks = {
        "lite": FrozenNetwork(lite),
        "lite, another layer and size": FrozenNetwork(lite, layer="block5a_project_bn", input_size=(160, 224)),
        "lite, max pooling": FrozenNetwork(lite, pooling="max", preprocess=None),
        "lite, random weights": FrozenNetwork(random, pooling=None, precision="bfloat16"),
        "a model of one's own": FrozenNetwork(resolve_backbone(network()), pooling="flatten"),
        "layers of all kinds": FrozenNetwork(resolve_backbone(network(with_all=True)), layer="dense", pooling=None),
    }
    steps = {
        "resize": ResizeCrop(224, 192, "cubic"),
        "crop": Crop(1, 2, 30, 40),
        "flip": FlipHorizontal(),
        "grey": ToGrey(),
        "mean": SubtractMean((1, 2.5, 3), (1, 1, 2)),
        "ten crops": TenCrop(32, 32),
        "five crops": TenCrop(32, 32, horizontal_flips=False),
        "augmentation": Augmentation().views(4, (32, 32)),
        "every change": Augmentation(
            rotation=10, zoom=(0.8, 1.1), vertical_flip=True, brightness=20, contrast=(0.5, 1.5), channel_shift=9,
            invert=0.1, crop=(0.5, 1), fill_mode="reflect", seed=3,
        ).views(2, (8, 8), seed=5),
    }  # fmt: skip
    pixels = np.arange(12).reshape(2, 2, 3)
    sequence = as_image_sequence(["a.jpg"]).with_step(ResizeCrop(8, 8)).describe()
    sequence["decode"].pop("pixels")  # which depends on the libraries that are installed
    return {
        **{f"network: {name}": each.description for name, each in networks.items()},
        **{f"step: {name}": each.describe() for name, each in steps.items()},
        "pixels": RawPixels((32, 48, 3)).description,
        "images": sequence,
        "digest of bytes": digest_bytes(b"skcnn").hex(),
        "digest of uint8": digest_array(pixels.astype(np.uint8)).hex(),
        "digest of float32": digest_array(pixels.astype(np.float32)).hex(),
    }


def fingerprints() -> dict[str, Any]:
    """Return each description with its fingerprint, as JSON has them."""
    from skcnn.cache._manifest import fingerprint_of

    found = {
        name: {"description": each, "fingerprint": fingerprint_of({"description": each, "dtype": "float32"})}
        for name, each in descriptions().items()
    }
    return json.loads(json.dumps(found))


def estimators() -> dict[str, Any]:
    """Return estimators of each kind, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from skcnn import (
        AspectAwareResize,
        CNNEnsembleClassifier,
        CNNFeatureExtractor,
        FineTunedCNNClassifier,
        MeanSubtract,
        TenCropClassifier,
    )
    from skcnn.images import Augmentation
    from skcnn.training import CosineDecay, DenseHead, EarlyStopping

    settings = {"cache": None, "engine": "keras", "random_state": 0, "shrinkage": None}
    tuned = FineTunedCNNClassifier(network(), unfreeze=1, epochs=2, schedule=None, **settings)
    full = FineTunedCNNClassifier(
        network(), unfreeze="all", epochs=2, head=DenseHead(5, batch_norm=True, epochs=2), schedule=CosineDecay(),
        early_stopping=EarlyStopping(patience=2), augmentation=Augmentation(), warm_start=True, **settings,
    )  # fmt: skip
    extractor = CNNFeatureExtractor(network(), cache=None, engine="keras")
    return {
        "extractor": make_pipeline(extractor, LogisticRegression()),
        "steps": make_pipeline(
            AspectAwareResize(16), MeanSubtract(cache=None), extractor.set_params(preprocess=None), LogisticRegression()
        ),
        "classifier": tuned,
        "classifier_with_all": full,
        "ten_crop": TenCropClassifier(tuned, resize=18, crop_size=16),
        "ensemble": CNNEnsembleClassifier(tuned, 2, random_state=0),
        "soup": CNNEnsembleClassifier(tuned, 2, method="soup", validation_fraction=0.5, random_state=0),
    }


def main(what: str) -> None:
    """Write the fingerprints, or fit the estimators, pickle them and write what they predict."""
    if what == "fingerprints":
        FINGERPRINTS.write_text(json.dumps(fingerprints(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    predictions = {}
    for name, estimator in estimators().items():
        fitted = estimator.fit(images(), LABELS)
        (GOLDEN / f"{name}.pickle").write_bytes(pickle.dumps(fitted, protocol=4))
        predictions[name] = fitted.predict_proba(images())
    np.savez_compressed(PREDICTIONS, **predictions)


if __name__ == "__main__":
    main(sys.argv[1])
