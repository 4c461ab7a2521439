"""Training with augmentation: fresh views in each epoch against plain Keras on the same views; stored views.

Name the parts to run ("fresh", "parts", "stored"); without a name all of them run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import Any

import keras
import numpy as np
from _machine import data_folder, median_seconds, print_machine
from sklearn.model_selection import train_test_split

from skcnn import Augmentation, FineTunedCNNClassifier
from skcnn.backbones import FrozenNetwork, cut_for, resolve_backbone
from skcnn.backbones._tail import TunableNetwork
from skcnn.datasets import load_image_folder
from skcnn.features._trunk_extractor import TrunkExtractor
from skcnn.images import ResizeCrop, as_image_sequence
from skcnn.training import LinearHead, build_head, epoch_order
from skcnn.training._fine_tuned_network import TAIL_ORDER

AUGMENTATION = Augmentation(crop=(0.5, 1), brightness=20, contrast=0.2)
TOP_BLOCK = 4  # convolution layers: the one on top, and the last block
EPOCHS, BATCH_SIZE, RATE, SEED = 4, 32, 1e-4, 0
TOLERANCE = 0.02  # of accuracies and probabilities that should be the same


class AugmentedBatches(keras.utils.PyDataset):
    """The views that skcnn trains on, in its order, as pixels; Keras makes them ahead, in threads."""

    def __init__(self, images: Any, targets: np.ndarray, n_images: int, seed: int):
        super().__init__(workers=2, max_queue_size=8)
        self.images, self.targets, self.n_images, self.seed = images, targets, n_images, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.n_images // BATCH_SIZE)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        order = epoch_order(self.n_images, (self.seed, TAIL_ORDER), self.epoch)
        batch = order[number * BATCH_SIZE :][:BATCH_SIZE]
        views = self.images.pick_views(batch, self.epoch * self.n_images + batch)
        return np.asarray(list(views), np.float32), self.targets[batch]


class WholeNetwork(keras.Model):
    """A network and a head; a functional model would not keep batch normalisation in inference mode."""

    def __init__(self, features: keras.Model, head: keras.Model):
        super().__init__()
        self.features, self.head = features, head

    def call(self, pixels: Any, training: bool = False) -> Any:
        """Return logits."""
        return self.head(self.features(pixels, training=False), training=training)


def whole_network(head_weights: list[np.ndarray]) -> WholeNetwork:
    """Return the network with a head of these weights, the top block trainable."""
    network = FrozenNetwork(resolve_backbone("efficientnet_lite0"))
    graph = network.truncated()
    pixels = keras.Input(network.input_shape)
    features = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(graph(network.normalise(pixels))))
    trained = cut_for(graph, TOP_BLOCK).trained
    for layer in graph.layers:
        layer.trainable = layer.name in trained
    head = build_head(*head_weights[0].shape)
    head.set_weights(head_weights)
    model = WholeNetwork(features, head)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(RATE), loss, metrics=["accuracy"])
    return model


def classifier(cache: str, **settings: Any) -> FineTunedCNNClassifier:
    """Return the classifier, without dropout: Keras would draw other numbers."""
    fixed = {"unfreeze": TOP_BLOCK, "epochs": EPOCHS, "learning_rate": RATE, "batch_size": BATCH_SIZE}
    fixed |= {"schedule": None, "shrinkage": None}
    head = LinearHead(dropout=0)
    return FineTunedCNNClassifier(**{"head": head, **fixed, "random_state": SEED, "cache": cache, **settings})


def tuning_seconds(clf: FineTunedCNNClassifier) -> list[float]:
    """Return what each epoch of the second phase took."""
    return [record["seconds"] for record in clf.history_ if record["phase"] == "fine-tune"]


def keras_pipeline(paths: np.ndarray, targets: np.ndarray) -> Any:
    """Return what people write in Keras: tf.data decodes and resizes files, layers of Keras augment them."""
    import tensorflow as tf

    layers = [
        keras.layers.RandomFlip("horizontal", seed=0),
        keras.layers.RandomRotation(20 / 360, fill_mode="nearest", seed=1),
        keras.layers.RandomZoom((-0.3, 0.0), fill_mode="nearest", seed=2),
        keras.layers.RandomBrightness(20 / 255, value_range=(0, 255), seed=3),
        keras.layers.RandomContrast(0.2, value_range=(0, 255), seed=4),
    ]

    def load(path: Any, target: Any) -> tuple[Any, Any]:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        side = tf.reduce_min(tf.shape(image)[:2])
        return tf.image.resize(tf.image.resize_with_crop_or_pad(image, side, side), (224, 224), antialias=True), target

    def augment(pixels: Any, target: Any) -> tuple[Any, Any]:
        for layer in layers:
            pixels = layer(pixels, training=True)
        return pixels, target

    files = tf.data.Dataset.from_tensor_slices((list(paths), targets)).shuffle(len(paths), seed=SEED)
    decoded = files.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH_SIZE)
    return decoded.map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def keras_epochs(model: WholeNetwork, batches: Any) -> list[float]:
    """Train; return what each epoch took."""
    seconds = []
    for epoch in range(EPOCHS):
        batches.epoch = epoch
        start = time.perf_counter()
        model.fit(batches, epochs=1, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - start)
    return seconds


def bench_fresh(paths: np.ndarray, labels: np.ndarray) -> None:
    """Time epochs of fresh views, the probe and the first epoch left out, on some of the images."""
    train, test, y_train, y_test = train_test_split(paths, labels, train_size=0.375, stratify=labels, random_state=0)
    test, y_test = test[:340], y_test[:340]
    with tempfile.TemporaryDirectory() as cache:
        probe = classifier(cache, unfreeze=0).fit(train, y_train)
        clf = classifier(cache, augmentation=AUGMENTATION).fit(train, y_train)
        probabilities = clf.predict_proba(test)
        score = clf.score(test, y_test)

    seed = int(np.random.RandomState(SEED).randint(np.iinfo(np.int32).max))
    views_seed = int(np.random.SeedSequence(seed).generate_state(2)[1])
    step = AUGMENTATION.views(EPOCHS * len(train), (224, 224), seed=views_seed)
    targets = np.eye(len(clf.classes_), dtype=np.float32)[np.searchsorted(clf.classes_, y_train)]
    pixels = np.asarray(as_image_sequence(test).with_step(ResizeCrop(224, 224))).astype(np.float32)
    datasets = {
        "its own layers of augmentation": keras_pipeline(train, targets),
        "the same views, which skcnn makes": AugmentedBatches(
            as_image_sequence(train).with_step(step), targets, len(train), seed
        ),
    }
    own = statistics.median(tuning_seconds(clf)[1:])
    print("\n#### A fresh view of each image in each epoch, the top block unfrozen\n")
    print(f"{len(train)} images, {len(test)} held out; an epoch is the median of those from the second to the "
          f"{EPOCHS}th. On the same views the probabilities have to be the same.\n")  # fmt: skip
    print("| plain Keras, with | an epoch | of skcnn | skcnn is | asked for | accuracy of plain Keras, of skcnn |")
    print("| --- | --- | --- | --- | --- | --- |")
    for title, batches in datasets.items():
        model = whole_network(probe.head_weights_)
        theirs = statistics.median(keras_epochs(model, batches)[1:])
        expected = np.asarray(keras.ops.softmax(model.predict(pixels, verbose=0)))
        their_score = np.mean(clf.classes_[expected.argmax(axis=1)] == y_test)
        print(f"| {title} | {theirs:.1f} s | {own:.1f} s | {theirs / own:.1f} x faster | 2 x "
              f"| {their_score:.4f}, {score:.4f} |", flush=True)  # fmt: skip
        assert abs(their_score - score) <= TOLERANCE, (their_score, score)
    difference = float(abs(expected - probabilities).max())
    print(f"\nOn the same views the probabilities differ by at most {difference:.4f}.")
    assert difference < TOLERANCE


def bench_parts(paths: np.ndarray, labels: np.ndarray) -> None:
    """Time what an epoch of fresh views is made of, one part after the other, and the whole."""
    train, _, y_train, _ = train_test_split(paths, labels, train_size=256, stratify=labels, random_state=0)
    images = as_image_sequence(train)
    positions = np.arange(len(train))
    views = images.with_step(AUGMENTATION.views(len(train), (224, 224))).pick_views(positions, positions)
    trunk = TrunkExtractor(
        TunableNetwork(FrozenNetwork(resolve_backbone("efficientnet_lite0")), TOP_BLOCK).trunk, "auto"
    )
    pixels = list(views.stream(ahead=2 * BATCH_SIZE))
    batches = [pixels[start : start + BATCH_SIZE] for start in range(0, len(pixels), BATCH_SIZE)]
    trunk.run(batches[0])
    with tempfile.TemporaryDirectory() as cache:
        tail = tuning_seconds(classifier(cache).fit(train, y_train))[1:]
        whole = tuning_seconds(classifier(cache, augmentation=AUGMENTATION).fit(train, y_train))[1:]
    seconds = {
        "decoding": median_seconds(lambda: list(images.stream(ahead=2 * BATCH_SIZE)), 5),
        "decoding and warping": median_seconds(lambda: list(views.stream(ahead=2 * BATCH_SIZE)), 5),
        "the trunk": median_seconds(lambda: [trunk.run(batch) for batch in batches], 5),
        "training the tail on stored activations": statistics.median(tail),
        "an epoch": statistics.median(whole),
    }
    print(f"\n#### What an epoch of fresh views is made of, {len(train)} images, each part by itself\n")
    print("| part | of each image |\n| --- | --- |")
    for part, total in seconds.items():
        print(f"| {part} | {total / len(train) * 1e3:.1f} ms |", flush=True)


def bench_stored(paths: np.ndarray, labels: np.ndarray) -> None:
    """Time fits on stored views against fits without augmentation, everything stored before."""
    train, _, y_train, _ = train_test_split(paths, labels, train_size=0.75, stratify=labels, random_state=0)
    kinds = {"without augmentation": {}, "ten stored views": {"augmentation": AUGMENTATION, "augmented_views": 10}}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as cache:
        for repeat in range(4):  # the first one fills the store
            for kind, settings in kinds.items():
                start = time.perf_counter()
                clf = classifier(cache, epochs=10, **settings).fit(train, y_train)
                elapsed = time.perf_counter() - start
                if repeat:
                    seconds[kind].append(elapsed)
                else:
                    print(f"\n{kind}: the first fit takes {elapsed:.1f} s", flush=True)
                assert len(tuning_seconds(clf)) == 10
    print(f"\n#### Ten stored views, the top block unfrozen, 10 epochs\n\n{len(train)} images; the median of 3 fits.\n")
    print("| without augmentation | ten stored views | ratio | asked for |\n| --- | --- | --- | --- |")
    plain, stored = (statistics.median(times) for times in seconds.values())
    print(f"| {plain:.1f} s | {stored:.1f} s | {stored / plain:.2f} | at most 1.3 |")


PARTS = {"fresh": bench_fresh, "parts": bench_parts, "stored": bench_stored}


def main() -> None:
    """Run the parts that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", default=[*PARTS], help="fresh, parts, stored")
    options = parser.parse_args()
    data = load_image_folder(data_folder("flowers17"))
    print("### Augmentation, Flowers-17, efficientnet_lite0 at 224\n")
    print_machine()
    for part in options.parts:
        PARTS[part](data.paths, data.labels)


if __name__ == "__main__":
    main()
