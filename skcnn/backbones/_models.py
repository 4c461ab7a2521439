"""Networks of the user's own: a Keras model in memory, or a ``.keras`` file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import types
import weakref
import zipfile
from abc import abstractmethod
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import xxhash

from skcnn._source_code import UnknownCodeError, describe_code, is_trusted
from skcnn.backbones._applications import preprocess_input
from skcnn.backbones._backbone import DIGEST_BYTES, Backbone, file_digest, quiet_build
from skcnn.backbones._lambdas import holds_lambda, is_nameless, named_config
from skcnn.backbones._nested import has_nested, inline_nested
from skcnn.backbones._pixel_range import Part, application_of, expects_raw_pixels, parts_of_config, parts_of_model
from skcnn.exceptions import BackboneError

__all__ = ["FileBackbone", "ModelBackbone", "is_keras_model"]


# Weights hardly compress; a network that was just built, of zeros in part, stays far below this.
MAX_EXPANSION = 20
HARMLESS_BYTES = 64 << 20
MAX_CONFIG_BYTES = 32 << 20

# Of models in memory: the state in which each was digested, and the digest.
_digests: weakref.WeakKeyDictionary[Any, tuple[Hashable, str]] = weakref.WeakKeyDictionary()


def is_keras_model(thing: Any) -> bool:
    """Whether `thing` is a Keras model; Keras is not imported to find out."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(thing, keras.Model)


class OwnBackbone(Backbone):
    """A network of the user's own: what its pixels should be is told by its layers, or not at all."""

    @abstractmethod
    def parts(self) -> Iterable[Part]:
        """Return the layers and operations, those of inner models in their place, without loading weights."""

    @property
    def normalisation(self) -> str | None:
        """Networks of `keras.applications` get what they get by name."""
        module = application_of(self.parts())
        return module and f"{module}.preprocess_input 1"

    def normalise(self, pixels: Any) -> Any:
        """Apply the `preprocess_input` of the module the network is from."""
        module = application_of(self.parts())
        return pixels if module is None else preprocess_input(module, pixels)

    @property
    def range_is_known(self) -> bool:
        """Whether the layers tell what range the pixels should have."""
        return expects_raw_pixels(self.parts()) or application_of(self.parts()) is not None


class ModelBackbone(OwnBackbone):
    """A Keras model in memory. It is read, never changed.

    Parameters
    ----------
    model : keras.Model
        With one input of images and one output.
    """

    def __init__(self, model: Any):
        self.name = model.name
        self.model = model

    def identity(self) -> dict[str, Any]:
        """Return the digest of architecture, code and weights, taken once for each state of the model."""
        state = self.state()
        known = _digests.get(self.model)
        if known is None or known[0] != state:
            _digests[self.model] = known = state, model_digest(check_graph(self.model))
        return {"model": known[1]}

    def state(self) -> Hashable:
        """Return the model's id and a checksum: it may have been trained on, and TensorFlow counts no versions.

        Another model of equal weights may be trained on as well, hence the id.
        """
        return id(self.model), model_checksum(check_graph(self.model))

    def parts(self) -> Iterable[Part]:
        """Walk through the graph."""
        return parts_of_model(check_graph(self.model))

    @property
    def in_memory(self) -> bool:
        """The model is at hand, unless inner models have to be opened first."""
        return not has_nested(self.model)

    def input_shape(self) -> tuple[int | None, int | None, int]:
        """Return the shape of the model's input."""
        return check_graph(self.model).input_shape[1:]

    def build(self, input_size: tuple[int, int] | None = None, *, load_weights: bool = True) -> Any:
        """Return the model itself, its inner models opened; it cannot be built for another size."""
        check_fixed_size(self.name, self.input_shape(), input_size)
        return inline_nested(check_graph(self.model))


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
        self.path = os.fspath(path)
        self.name = self.path
        if not os.path.isfile(self.path):
            raise BackboneError(f"backbone {self.path!r}: there is no such file")

    def identity(self) -> dict[str, Any]:
        """Return the digest of the file, and of the code it names but does not hold."""
        found = self._required()
        return {"file": file_digest(self.path), **({"code": describe_code(*found)} if found else {})}

    def state(self) -> Hashable:
        """Return the digest of the file, and which classes are registered under the names it uses."""
        return file_digest(self.path), *map(id, self._required())

    def registered(self) -> dict[str, Any]:
        """Return the classes and functions that the file names but does not hold; None for those not registered."""
        return registered_code(self._config())

    def _required(self) -> list[Any]:
        found = self.registered()
        missing = [name for name, code in found.items() if code is None]
        if missing:
            msg = f"{self.path!r} uses {missing}, which are not registered; import the module that registers them first"
            raise BackboneError(msg)
        return list(found.values())

    def parts(self) -> Iterable[Part]:
        """Read them from the archive's configuration, without Keras."""
        self.input_shape()  # refuses a file that is no network of images
        return parts_of_config(self._config())

    def input_shape(self) -> tuple[int | None, int | None, int]:
        """Read the shape of the input layer from the archive's configuration, without Keras."""
        try:
            shapes = [layer["config"]["batch_shape"] for layer in self._config()["config"]["layers"] if is_input(layer)]
            (shape,) = shapes
            height, width, channels = shape[1:]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BackboneError):
                raise
            msg = f"{self.path!r} is no .keras file of a network that takes one batch of images"
            raise BackboneError(msg) from error
        return height, width, channels

    def _config(self) -> Any:
        """Read the architecture from the archive, without Keras."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                check_archive(archive, os.path.getsize(self.path))
                config = json.loads(archive.read("config.json"))
        except BackboneError:
            raise
        except Exception as error:  # a damaged archive leads to any
            raise BackboneError(f"{self.path!r} is no .keras file: {error!r}") from error
        if isinstance(config, dict):
            # How it was trained does not matter, and may name functions that are not there.
            config.pop("compile_config", None)
        return config

    def build(self, input_size: tuple[int, int] | None = None, *, load_weights: bool = True) -> Any:
        """Load the file."""
        import keras

        check_fixed_size(self.name, self.input_shape(), input_size)
        check_weights(self.path)
        if holds_lambda(self._config()):
            msg = (
                f"{self.path!r} holds code, in a Lambda layer, and it is not safe to run it. If you trust who made the "
                f"file, load it and pass the model: keras.saving.load_model({self.path!r}, safe_mode=False)"
            )
            raise BackboneError(msg)
        with quiet_build():
            try:
                model = keras.saving.load_model(self.path, compile=False, safe_mode=True)
            except Exception as error:  # zip, h5py and deserialisation errors alike
                raise BackboneError(f"{self.path!r} cannot be loaded by Keras: {error}") from error
        return inline_nested(check_graph(model))


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive that expands to far more than the weights of a network would.

    Raises
    ------
    BackboneError
    """
    config = archive.getinfo("config.json").file_size
    expanded = sum(entry.file_size for entry in archive.infolist())
    if config > MAX_CONFIG_BYTES or expanded > max(HARMLESS_BYTES, MAX_EXPANSION * size):
        msg = (
            f"{archive.filename!r} has {size:,} bytes and would expand to {expanded:,} (its config.json to "
            f"{config:,}), which no network does; it is not loaded"
        )
        raise BackboneError(msg)


def check_weights(path: str) -> None:
    """Refuse a ``.keras`` file whose weights expand to far more than the file holds, or point to other files.

    Raises
    ------
    BackboneError
    """
    import h5py

    size, expanded = os.path.getsize(path), 0
    foreign: list[str] = []

    def count(name: str, item: Any) -> None:
        nonlocal expanded
        if isinstance(item, h5py.Dataset):
            expanded += item.nbytes
            if item.external or item.is_virtual:
                foreign.append(name)

    def note_external_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            foreign.append(name)

    try:
        with zipfile.ZipFile(path) as archive:
            weights = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(weights, "r") as file:
            file.visititems(count)
            file.visititems_links(note_external_link)
    except Exception as error:  # a damaged archive leads to any
        raise BackboneError(f"{path!r} is no .keras file: {error!r}") from error
    if foreign:
        raise BackboneError(f"the weights of {path!r} point to other files ({foreign[0]!r} does); it is not loaded")
    if expanded > max(HARMLESS_BYTES, MAX_EXPANSION * size):
        msg = f"{path!r} has {size:,} bytes and its weights would take {expanded:,}, which no network does; "
        raise BackboneError(f"{msg}it is not loaded")


def is_input(layer: dict[str, Any]) -> bool:
    """Whether a layer's configuration is that of an input."""
    return layer["class_name"] == "InputLayer"


def check_graph(model: Any) -> Any:
    """Return a model whose graph is known, with one input of images and one output; refuse any other."""
    if not model.built or not getattr(model, "inputs", None):
        msg = (
            f"the model {model.name!r} has no graph of layers to cut: build it as a functional or Sequential model "
            "with a keras.Input"
        )
        raise BackboneError(msg)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.inputs[0].shape) != 4:
        msg = (
            f"the model {model.name!r} has inputs of shape {[tuple(tensor.shape) for tensor in model.inputs]} and "
            f"{len(model.outputs)} output(s); a backbone takes one batch of images and gives one output"
        )
        raise BackboneError(msg)
    return model


def check_fixed_size(name: str, shape: tuple[int | None, int | None, int], input_size: tuple[int, int] | None) -> None:
    """Refuse to feed a model images of a size it was not made for."""
    if input_size and any(own not in (None, asked) for own, asked in zip(shape[:2], input_size, strict=True)):
        msg = f"the network {name!r} takes images of {shape[0]} x {shape[1]} only, not input_size={input_size}"
        raise BackboneError(msg)


def model_digest(model: Any) -> str:
    """Return the hex digest of everything that decides what a model computes."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        config, _ = named_config(model)
    except NotImplementedError as error:  # a layer without get_config
        msg = f"the model {model.name!r} cannot be told from another: {str(error).strip()}"
        raise UnknownCodeError(msg) from error
    digest.update(json.dumps(config, sort_keys=True, default=repr).encode())
    layers = model._flatten_layers()
    codes = [code for layer in layers for code in own_code(layer)]
    # Also those that no configuration tells of.
    nameless = [value for layer in layers for value in vars(layer).values() if is_nameless(value)]
    digest.update(json.dumps(describe_code(*codes, nameless=nameless)).encode())
    for layer in layers:
        if not is_trusted(type(layer).__module__):
            digest.update(repr(plain_attributes(layer)).encode())
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()


def model_checksum(model: Any) -> str:
    """Return a checksum, within this process, of everything `model_digest` looks at; as fast as memory is read."""
    checksum = xxhash.xxh3_128()
    for layer in model._flatten_layers():
        functions = {name: id(value) for name, value in vars(layer).items() if isinstance(value, types.FunctionType)}
        checksum.update(repr((id(layer), id(type(layer)), plain_attributes(layer), functions)).encode())
    for weight in model.weights:
        checksum.update(np.ascontiguousarray(weight.numpy()).view(np.uint8).data)
    return checksum.hexdigest()


def own_code(layer: Any) -> list[Any]:
    """Return the classes and functions of a layer that are not Keras's: its configuration only names them."""
    named = (value for value in vars(layer).values() if not is_nameless(value))
    functions = [value for value in named if isinstance(value, types.FunctionType)]
    return [part for part in (type(layer), *functions) if not is_trusted(part.__module__ or "")]


def plain_attributes(layer: Any) -> dict[str, Any]:
    """Return the numbers and names a custom layer keeps, in its configuration or not."""
    plain = (bool, int, float, str, tuple, type(None))
    found = {
        name: value for name, value in vars(layer).items() if not name.startswith("_") and isinstance(value, plain)
    }
    return dict(sorted(found.items()))


def registered_code(config: Any) -> dict[str, Any]:
    """Return what is registered under the names that a configuration refers to; Keras is imported only for names."""
    names = sorted(custom_objects(config))
    if not names:
        return {}
    from keras.saving import get_registered_object

    return {name: get_registered_object(name) for name in names}


def custom_objects(config: Any) -> set[str]:
    """Return the names under which a configuration refers to classes and functions that are not Keras's."""
    if isinstance(config, list):
        return set().union(*map(custom_objects, config))
    if not isinstance(config, dict):
        return set()
    own = "class_name" in config and not str(config.get("module") or "keras").startswith("keras")
    if own and config["class_name"] == "function":
        return {str(config["config"])}
    named = {str(config.get("registered_name") or config["class_name"])} if own else set()
    return named.union(*map(custom_objects, config.values()))
