"""Networks of the user's own in files."""

from __future__ import annotations

import functools
import json
import os
import warnings
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from skcnn._source_code import describe_code
from skcnn.backbones._archive import (
    check_items,
    check_members,
    network_digest,
    no_network,
    opened_weights,
    read_config,
    remedy_for_keras_2,
)
from skcnn.backbones._backbone import Backbone, file_digest, quiet_build
from skcnn.backbones._hdf5_trial import check_hdf5
from skcnn.backbones._lambdas import holds_lambda
from skcnn.backbones._models import ModelBackbone, OwnBackbone, check_fixed_size, check_graph, image_shape
from skcnn.backbones._nested import inline_nested
from skcnn.backbones._pixel_range import Part, parts_of_config, parts_of_model
from skcnn.backbones._registered import registered_code, required_code
from skcnn.exceptions import BackboneError

# What other files with networks are called -> what they are.
OTHER_FILES = {
    ".onnx": "an ONNX network",
    ".pb": "a graph of TensorFlow 1, or part of a SavedModel, whose folder may be what you mean",
    ".pt": "a PyTorch network",
    ".pth": "a PyTorch network",
    ".safetensors": "a file of weights without a network",
    ".tflite": "a TensorFlow Lite network",
}


def backbone_in_file(path: str) -> Backbone | None:
    """Return the backbone in a file; None where the value is no path of a network.

    Raises
    ------
    BackboneError
        For files and folders of other kinds than Keras loads, naming the remedy.
    """
    path = os.path.expanduser(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".keras" and not os.path.isdir(path):
        return FileBackbone(path)
    if suffix in (".h5", ".hdf5"):
        return LegacyFileBackbone(path)
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        msg = (
            f"{path!r} is a SavedModel, which has no layers to cut. Take all of it as one layer: "
            "inputs = keras.Input((height, width, 3)); "
            f"layer = keras.layers.TFSMLayer({path!r}, call_endpoint='serve'); and pass "
            "keras.Model(inputs, layer(inputs)) with layer=-1. The endpoint is 'serving_default' where another program "
            "than Keras 3 wrote it. Or save the network anew, with model.save('network.keras')"
        )
        raise BackboneError(msg)
    if os.path.isdir(path):
        raise BackboneError(f"backbone {path!r} is a folder; give the path of a .keras file")
    if os.path.isfile(path):
        kind = OTHER_FILES.get(suffix, "no .keras file")
        raise BackboneError(f"{path!r} is {kind}; skcnn takes what Keras wrote with model.save('network.keras')")
    return None


class FileBackbone(OwnBackbone):
    """A ``.keras`` file, loaded in Keras's safe mode.

    Archives that expand to many times their size, or whose weights point to other files, are refused. Beyond that a
    file is as safe to load as the installed Keras makes it; the required version is not open to CVE-2025-1550 and
    CVE-2025-8747. Load only files whose maker you trust.

    Parameters
    ----------
    path : path
        The file.
    """

    def __init__(self, path: str | os.PathLike):
        self.name = self.path = existing_file(path)

    def identity(self) -> dict[str, Any]:
        """Return the digest of layers and weights in the file, and of the code it names but does not hold."""
        found = required_code(read_config(self.path), self.path)
        return {
            "file": network_digest(self.path, file_digest(self.path)),
            **({"code": describe_code(*found)} if found else {}),
        }

    def state(self) -> Hashable:
        """Return the digest of the file, and which classes are registered under the names it uses."""
        return file_digest(self.path), *map(id, required_code(read_config(self.path), self.path))

    def code(self) -> list[Any]:
        """Return the registered classes and functions that the file names but does not hold."""
        return known_code(read_config(self.path))

    def parts(self) -> Iterable[Part]:
        """Read them from the archive's configuration, without Keras where that is possible."""
        return self._outline()[1]

    def input_shape(self) -> tuple[int | None, int | None, int]:
        """Read the shape of the images from the archive's configuration, without Keras where that is possible."""
        return self._outline()[0]

    def _outline(self) -> tuple[Any, Iterable[Part]]:
        """Return the shape of the images, and the parts."""
        config = read_config(self.path)
        inputs = inputs_in(config)
        if len(inputs) == 1 and not any(map(is_model_class, known_code(config))):
            return image_shape(inputs, repr(self.path)), parts_of_config(config)
        return outline_of(self.path, self.state())

    def build(self, input_size: tuple[int, int] | None = None, *, load_weights: bool = True) -> Any:
        from skcnn._keras import keras

        check_fixed_size(self.name, self.input_shape(), input_size)
        check_members(self.path)
        with opened_weights(self.path):
            pass  # which checks them
        check_no_lambda(read_config(self.path), self.path)
        load = functools.partial(keras.saving.load_model, self.path, compile=False, safe_mode=True)
        return inline_nested(check_graph(loaded(self.path, load)))


class LegacyFileBackbone(ModelBackbone):
    """An ``.h5`` file of a whole model, as Keras wrote them before version 3.

    It is loaded to say anything of it, and is then the same network as the model in memory. It is loaded in Keras's
    safe mode; what is said of `FileBackbone` holds here, too.

    Parameters
    ----------
    path : path
        The file.
    """

    def __init__(self, path: str | os.PathLike):
        self.name = self.path = existing_file(path)

    @property
    def model(self) -> Any:
        """The loaded model; the last two are kept."""
        return load_legacy(self.path, file_digest(self.path))


def existing_file(path: str | os.PathLike) -> str:
    """Return the path of a file, or refuse it."""
    name = os.path.expanduser(os.fspath(path))
    if not os.path.isfile(name):
        raise BackboneError(f"backbone {name!r}: there is no such file")
    return name


@functools.lru_cache(maxsize=2)
def load_legacy(path: str, digest: str) -> Any:
    """Load an ``.h5`` file of this content."""
    import h5py

    from skcnn._keras import keras

    check_hdf5(path, digest)
    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            check_items(file, path, os.path.getsize(path))
        architecture = None if config is None else json.loads(config)
    except BackboneError:
        raise
    except Exception as error:  # h5py raises nearly every built-in error on damaged files
        raise BackboneError(f"{path!r} is no HDF5 file, or a damaged one: {error}") from error
    remedy = f"Build the network anew in code, fill it with model.load_weights({path!r}), and pass the model"
    if architecture is None:
        msg = f"{path!r} holds weights without their network, or something else. {remedy}; "
        raise BackboneError(
            f"{msg}weights of a network with a name go beside it: backbone='ResNet50', weights={path!r}"
        )
    check_no_lambda(architecture, path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Do not pass an `input_shape`")  # as Keras 2 did
        try:
            return loaded(path, functools.partial(keras.saving.load_model, path, compile=False, safe_mode=True))
        except BackboneError as error:
            raise BackboneError(f"{error}. {remedy}") from error


def loaded(path: str, load: Callable[[], Any]) -> Any:
    """Load a file, or say that it cannot be loaded."""
    with quiet_build():
        try:
            return load()
        except Exception as error:  # zip, h5py and deserialisation errors alike
            raise BackboneError(f"{path!r} cannot be loaded by Keras: {error}{remedy_for_keras_2(path)}") from error


@functools.lru_cache(maxsize=16)
def outline_of(path: str, state: Hashable) -> tuple[Any, tuple[Part, ...]]:
    """Build the network of a ``.keras`` file without its weights; return the shape of its images, and its parts."""
    from skcnn._keras import keras

    config = read_config(path)
    check_no_lambda(config, path)
    model = loaded(path, functools.partial(keras.saving.deserialize_keras_object, config, safe_mode=True))
    if not is_model_class(type(model)):
        raise no_network(path)
    return ModelBackbone(model).input_shape(), tuple(parts_of_model(check_graph(model)))


def known_code(config: dict[str, Any]) -> list[Any]:
    """Return the classes and functions that a configuration names and that are registered."""
    return [code for code in registered_code(config).values() if code is not None]


def inputs_in(config: dict[str, Any]) -> list[tuple[int | None, ...]]:
    """Return the shapes of the inputs that a configuration tells of; none where it lists no layers."""
    try:
        layers = [layer for layer in config["config"]["layers"] if layer["class_name"] == "InputLayer"]
        return [tuple(layer["config"]["batch_shape"]) for layer in layers]
    except (KeyError, TypeError):
        return []


def is_model_class(code: Any) -> bool:
    """Whether something is a class of Keras models."""
    from skcnn._keras import keras

    return isinstance(code, type) and issubclass(code, keras.Model)


def check_no_lambda(config: Any, path: str) -> None:
    """Refuse the configuration of a model that holds code."""
    if holds_lambda(config):
        msg = (
            f"{path!r} holds code, in a Lambda layer, and it is not safe to run it. If you trust who made the "
            f"file, load it and pass the model: keras.saving.load_model({path!r}, safe_mode=False)"
        )
        raise BackboneError(msg)
