"""The interface of backbones: describe one without loading it, and load it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from typing import Any, ClassVar

import numpy as np

from skcnn._locks import Lock
from skcnn._private import layer_numbers, set_layer_numbers
from skcnn.backbones._fork import check_not_forked
from skcnn.exceptions import BackboneError

DIGEST_BYTES = 20
RANDOM_SEED = 0
# What stands for random weights in a fingerprint; to be changed with `randomise`.
RANDOM = "random 1"

_build_lock = Lock(reentrant=True)

# The user's setting while threads run networks, and how many do.
_floatx = "float32"
_floatx_users = 0
_floatx_lock = Lock()


class Backbone(ABC):
    """A network to take activations from.

    Attributes
    ----------
    name : str
        What to call it in messages.
    depends_on_release : bool
        Whether `identity` names the release of Keras that builds it, as "keras".
    """

    name: str
    depends_on_release: ClassVar[bool] = False

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return everything that decides what the network computes, as JSON types, without loading it."""

    def identity_up_to(self, layer: str) -> dict[str, Any]:
        """Return everything that decides what one layer gives, as JSON types; at least the item "backbone"."""
        return {"backbone": self.identity(), "layer": layer}

    @abstractmethod
    def input_shape(self) -> tuple[int | None, int | None, int]:
        """Return the (height, width, channels) the network was made for, without loading it; None where any fits."""

    @abstractmethod
    def build(self, input_size: tuple[int, int] | None = None, *, load_weights: bool = True) -> Any:
        """Return the network as a Keras functional model of already normalised pixels, without inner models.

        Parameters
        ----------
        input_size : (int, int), default=None
            Height and width; None for the backbone's own.
        load_weights : bool, default=True
            False where only the shape of the graph matters.
        """

    def with_top(self) -> Backbone:
        """Return the network up to the scores of its own classes, if this is not it already."""
        return self

    @property
    def tells_imagenet_classes(self) -> bool:
        """Whether it was published with the 1,000 classes of ImageNet."""
        return False

    def state(self) -> Hashable:
        """Return a key that changes whenever the network has to be loaded anew in this process."""
        return json.dumps(self.identity(), sort_keys=True)

    @property
    def in_memory(self) -> bool:
        """Whether the network is loaded already, so that nothing of its graph is looked up on disk."""
        return False

    @property
    def default_layer(self) -> str | None:
        """The layer to cut at when none is named, whose output is an image; None where only the graph tells."""
        return None

    @property
    def normalisation(self) -> str | None:
        """Name and version of what `normalise` does; None for a network that takes pixels as they are.

        It is part of every fingerprint: raise the version where `normalise` would give other values.
        """
        return None

    @property
    def range_is_known(self) -> bool:
        """Whether the range of pixels that the network expects is known."""
        return True

    def normalise(self, pixels: Any) -> Any:
        """Apply the backbone's own normalisation to symbolic RGB pixels in [0, 255]."""
        return pixels


@contextlib.contextmanager
def float32_default() -> Iterator[None]:
    """Let Keras take float32 where nothing else is said, whatever the user's `floatx`, which would change activations.

    It is a setting of the process: the first thread that needs it changes it, and the last one puts it back.
    """
    from skcnn._keras import keras

    global _floatx, _floatx_users
    with _floatx_lock:
        if not _floatx_users:
            _floatx = keras.config.floatx()
            keras.config.set_floatx("float32")
        _floatx_users += 1
    try:
        yield
    finally:
        with _floatx_lock:
            _floatx_users -= 1
            if not _floatx_users:
                keras.config.set_floatx(_floatx)


@contextlib.contextmanager
def quiet_build() -> Iterator[None]:
    """Build a Keras graph in float32 and leave no trace in the state of the process.

    It may be entered again by the thread that is inside; other threads wait, for Python's generator is one for all.
    A thread that draws from that generator meanwhile may draw the same numbers again.

    Keras draws the seeds of its initialisers from Python's global generator; it numbers unnamed layers through the life
    of a process, while a fingerprint needs names that are the same in each; and a global mixed-precision policy or
    `floatx` would change the activations.
    """
    check_not_forked()
    from skcnn._keras import keras

    if keras.config.backend() != "tensorflow":
        msg = f"skcnn runs Keras on TensorFlow, and this process has Keras on {keras.config.backend()!r}, which gives"
        raise BackboneError(f"{msg} other activations; set KERAS_BACKEND=tensorflow, or leave it unset")
    if keras.config.image_data_format() != "channels_last":
        msg = "skcnn feeds images as (height, width, channels); set keras.config.set_image_data_format('channels_last')"
        raise BackboneError(msg)
    with _build_lock, float32_default():
        state, policy = random.getstate(), keras.config.dtype_policy()
        numbers = layer_numbers()
        try:
            keras.config.set_dtype_policy("float32")
            set_layer_numbers(None)
            yield
        finally:
            set_layer_numbers(numbers)
            keras.config.set_dtype_policy(policy)
            random.setstate(state)


def randomise(model: Any, seed: int = RANDOM_SEED) -> None:
    """Give every kernel of a network seeded random values (He normal), the same in every process.

    Biases, batch-norm statistics and scales keep the constants they were built with.
    """
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name.endswith("kernel"):
            # A depthwise kernel is (height, width, channels, 1): each output sees one channel.
            fan_in = np.prod(weight.shape[:2] if weight.shape[-1] == 1 else weight.shape[:-1])
            weight.assign(generator.normal(0, np.sqrt(2 / fan_in), weight.shape).astype(np.float32))


def weights_file(weights: Any) -> str:
    """Return the path of a weights file, or refuse `weights`."""
    if not isinstance(weights, (str, os.PathLike)):
        msg = f"weights must be 'imagenet', None (random) or the path of a weights file. Got {weights!r} instead."
        raise BackboneError(msg)
    path = os.path.expanduser(os.fspath(weights))
    if not os.path.isfile(path):
        raise BackboneError(f"weights={path!r} is neither 'imagenet', None (random) nor a file that exists")
    return path


def file_digest(path: str | os.PathLike) -> str:
    """Return the hex digest of a file's content; a file that did not change is read once per process."""
    stat = os.stat(path)
    return _file_digest(os.path.abspath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, size: int, mtime_ns: int, ctime_ns: int) -> str:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
