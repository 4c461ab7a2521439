"""Networks of the user's own, and Keras models in memory."""

from __future__ import annotations

import sys
import weakref
from abc import abstractmethod
from collections.abc import Hashable, Iterable
from typing import Any

from skcnn.backbones._applications import preprocess_input
from skcnn.backbones._backbone import Backbone
from skcnn.backbones._fork import check_not_forked
from skcnn.backbones._graph import trunk_of
from skcnn.backbones._identity import model_checksum, model_digest
from skcnn.backbones._nested import follows_graph, inline_nested
from skcnn.backbones._pixel_range import Part, application_of, expects_raw_pixels, parts_of_model
from skcnn.exceptions import BackboneError

# Of models in memory: the state in which each was digested, and its digests up to layers.
_digests: weakref.WeakKeyDictionary[Any, tuple[Hashable, dict[str | None, str]]] = weakref.WeakKeyDictionary()


def is_keras_model(thing: Any) -> bool:
    """Whether `thing` is a Keras model; Keras is not imported to find out."""
    # While another thread imports Keras, its module is there and empty.
    model = getattr(sys.modules.get("keras"), "Model", None)
    return model is not None and isinstance(thing, model)


class OwnBackbone(Backbone):
    """A network of the user's own: only its layers can tell which range of pixels it expects."""

    @abstractmethod
    def parts(self) -> Iterable[Part]:
        """Return the layers and operations, those of inner models in their place, without loading weights."""

    @property
    def normalisation(self) -> str | None:
        """Networks of `keras.applications` get the preprocessing that they get by name."""
        module = application_of(self.parts())
        return module and f"{module}.preprocess_input 1"

    def normalise(self, pixels: Any) -> Any:
        """Apply the `preprocess_input` of the module the network is from."""
        module = application_of(self.parts())
        return pixels if module is None else preprocess_input(module, pixels)

    @property
    def range_is_known(self) -> bool:
        """Whether the layers tell the range of the pixels."""
        return expects_raw_pixels(self.parts()) or application_of(self.parts()) is not None


class ModelBackbone(OwnBackbone):
    """A Keras model in memory. It is read, never changed.

    Parameters
    ----------
    model : keras.Model
        With a graph of layers, and an input of images. It may have other inputs and several outputs.
    """

    def __init__(self, model: Any):
        self.name = model.name
        self.model = model

    def identity(self) -> dict[str, Any]:
        """Return the digest of architecture, code and weights."""
        return {"model": self._digest(None)}

    def identity_up_to(self, layer: str) -> dict[str, Any]:
        """Return the digest of the layers that lead to this one: the others, and all names, may change."""
        return {"backbone": {"model": self._digest(layer)}}

    def _digest(self, layer: str | None) -> str:
        """Return the digest of the model up to a layer, or of all; taken once for each state of the model."""
        state = self.state()
        known = _digests.get(self.model)
        if known is None or known[0] != state:
            _digests[self.model] = known = state, {}
        if layer not in known[1]:
            check_not_forked()
            known[1][layer] = digest_up_to(self, layer)
        return known[1][layer]

    def state(self) -> Hashable:
        """Return the model's id and a checksum: it may have been trained on, and TensorFlow counts no versions.

        Another model of equal weights may be trained on as well, hence the id.
        """
        return id(self.model), model_checksum(check_graph(self.model))

    def parts(self) -> Iterable[Part]:
        return parts_of_model(check_graph(self.model))

    @property
    def in_memory(self) -> bool:
        """The model is at hand. A model with other names is the same, so a name on disk may be that of its layer."""
        return True

    def input_shape(self) -> tuple[int | None, int | None, int]:
        model = check_graph(self.model)
        return image_shape([tuple(given.shape) for given in model.inputs], f"the model {model.name!r}")

    def build(self, input_size: tuple[int, int] | None = None, *, load_weights: bool = True) -> Any:
        """Return the model itself, its inner models opened; it cannot be built for another size."""
        check_fixed_size(self.name, self.input_shape(), input_size)
        return inline_nested(check_graph(self.model))


def digest_up_to(backbone: ModelBackbone, layer: str | None) -> str:
    model = backbone.build()
    return model_digest(model if layer is None else trunk_of(model, layer))


def check_graph(model: Any) -> Any:
    """Return a model whose graph is known, with an input of images; refuse any other."""
    if not model.built or not getattr(model, "inputs", None):
        msg = (
            f"the model {model.name!r} has no graph of layers to cut: build it as a functional or Sequential model "
            "with a keras.Input"
        )
        raise BackboneError(msg)
    if not follows_graph(model):
        msg = (
            f"the model {model.name!r} has a call of its own, which need not do what its graph of layers says; if it "
            "does, pass keras.Model(model.inputs, model.outputs)"
        )
        raise BackboneError(msg)
    image_shape([tuple(given.shape) for given in model.inputs], f"the model {model.name!r}")
    return model


def image_shape(shapes: list[tuple[int | None, ...]], what: str) -> tuple[int | None, int | None, int]:
    """Return the (height, width, channels) of the one kind of images among the shapes of a network's inputs."""
    images = {tuple(shape[1:]) for shape in shapes if len(shape) == 4}
    if len(images) != 1:
        msg = f"{what} has inputs of shape {shapes}; a backbone takes one batch of images, of shape (None, height, "
        raise BackboneError(f"{msg}width, channels)")
    return images.pop()  # type: ignore[return-value]


def check_fixed_size(name: str, shape: tuple[int | None, int | None, int], input_size: tuple[int, int] | None) -> None:
    """Refuse to feed a model images of a size it was not made for."""
    if input_size and any(own not in (None, asked) for own, asked in zip(shape[:2], input_size, strict=True)):
        msg = f"the network {name!r} takes images of {shape[0]} x {shape[1]} only, not input_size={input_size}"
        raise BackboneError(msg)
