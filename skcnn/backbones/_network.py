"""A frozen network up to one layer: who it is, and the one loaded copy of it in this process."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from skcnn._locks import Lock
from skcnn._parallel import available_threads
from skcnn._validation import check_choice
from skcnn.backbones._backbone import Backbone, quiet_build
from skcnn.backbones._fork import check_not_forked
from skcnn.backbones._graph import layer_outputs, output_of, trunk_of
from skcnn.backbones._head import RULE_VERSION
from skcnn.backbones._layers import find_layer
from skcnn.backbones._releases import Memo, Releases
from skcnn.backbones._runner import Runner
from skcnn.backbones._runners import make_runner
from skcnn.exceptions import BackboneError, PixelRangeWarning

POOLINGS = ("avg", "max", "flatten", None)
# Part of every fingerprint: raise a version where `pool` would give other values.
POOLING_VERSIONS = {"avg": 1, "max": 1, "flatten": 1}

# A search over backbones alternates between a few; more would fill the memory of a laptop.
MAX_LOADED = 4

_loaded: OrderedDict[Hashable, Runner] = OrderedDict()
_load_lock = Lock(reentrant=True)
# In a process that was forked.
_loaded_by_parents: list[Runner] = []


class Cut(NamedTuple):
    """Where a network is cut, in the one way that all ways of naming the place come down to."""

    layer: str
    has_positions: bool


@dataclass(frozen=True)
class FrozenNetwork:
    """A trunk for `skcnn.features.extract`: pixels in, pooled activations of one layer out.

    Parameters
    ----------
    backbone : Backbone
        Where the layers come from.
    layer : str, int or None, default=None
        Where to stop; None for the backbone's default.
    pooling : {"avg", "max", "flatten", None}, default="avg"
        What to do with the positions of a layer whose output is an image.
    input_size : (int, int), default=None
        Height and width of the images; None for the backbone's own.
    preprocess : {"auto", None}, default="auto"
        Whether the backbone's own normalisation comes first.
    precision : {"float32", "bfloat16"}, default="float32"
        What the network computes in.
    known_cuts : Memo, default=None
        Where to look up the layer that `layer` stands for, so that the graph need not be built for it.
    """

    # What its rows are kept in by default.
    dtype: ClassVar[str] = "float32"

    backbone: Backbone
    layer: str | int | None = None
    pooling: str | None = "avg"
    input_size: tuple[int, int] | None = None
    preprocess: str | None = "auto"
    precision: str = "float32"
    known_cuts: Memo | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Its name in messages: that of the backbone."""
        return self.backbone.name

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that go in."""
        height, width, channels = self.backbone.input_shape()
        height, width = self.input_size or (height, width)
        if height is None or width is None:
            msg = f"the network {self.backbone.name!r} takes images of any size; choose one: input_size=(height, width)"
            raise BackboneError(msg)
        if channels not in (1, 3):
            msg = f"the network {self.backbone.name!r} takes images of {channels} channels; there are only grey and RGB"
            raise BackboneError(msg)
        return height, width, channels

    @property
    def normalises(self) -> bool:
        """Whether pixels are normalised inside the network."""
        return self.preprocess == "auto" and self.backbone.normalisation is not None

    @functools.cached_property
    def _identified(self) -> tuple[Cut, dict[str, Any]]:
        """The cut and the description of its layer, from the first time this was asked."""
        cut = self.cut()
        return cut, self.backbone.identity_up_to(cut.layer)

    @property
    def has_changed(self) -> bool:
        """Whether the network is another than it was when it was first described."""
        if "_identified" not in self.__dict__:
            return False
        cut, identity = self._identified
        return self.backbone.identity_up_to(cut.layer) != identity

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides the activations, as JSON types; no weights are loaded for it.

        Equal activations have equal descriptions: a layer counts by its name, however it was named, or by its place in
        a model in memory, and pooling only where there is something to pool. Where a release of Keras counts, it is the
        first one that gave the same activations; the network is loaded once to compare those of a later one.
        """
        description = self._described
        releases = self._releases
        if releases is None:
            return description
        if releases.first_like_this is None and releases.known:
            self.load()
        release = releases.first_like_this or releases.release
        return {**description, "backbone": {**description["backbone"], "keras": release}}

    @functools.cached_property
    def _releases(self) -> Releases | None:
        """The memo of other releases of Keras; None where they do not count, or there is no memo."""
        if self.known_cuts is None or not self.backbone.depends_on_release:
            return None
        return Releases(self.known_cuts, self._described)

    @property
    def _described(self) -> dict[str, Any]:
        """The description with the release of Keras that is installed."""
        cut, identity = self._identified
        pooled = self.pooling is not None and cut.has_positions
        return {
            **identity,
            "pooling": f"{self.pooling} {POOLING_VERSIONS[str(self.pooling)]}" if pooled else None,
            "input_shape": list(self.input_shape),
            "normalisation": self.backbone.normalisation if self.normalises else None,
            "precision": self.precision,
        }

    def cut(self) -> Cut:
        """Find where the network is cut; its graph is built for that, unless the answer is known."""
        if self.layer is None and self.backbone.default_layer is not None:
            return Cut(self.backbone.default_layer, has_positions=True)
        return Cut(*self.remember(self._find_cut, lambda answer: types_of(answer) == [str, bool]))

    def remember(self, find: Callable[[], list[Any]], is_answer: Callable[[Any], bool], **question: Any) -> list[Any]:
        """Return the result of `find` on the graph; it is looked up in `known_cuts` if it was asked before.

        Parameters
        ----------
        find : callable without arguments
            Returns a list of JSON types.
        is_answer : callable
            Whether what was looked up is such a list; files may be damaged.
        **question
            What decides the answer besides backbone, layer and size of the images, as JSON types.
        """
        if self.known_cuts is None or self.backbone.in_memory:
            return find()
        asked = {
            "backbone": self.backbone.identity(),
            "layer": self.layer,
            "input_shape": list(self.input_shape),
            "rule": RULE_VERSION,
            **question,
        }
        answer = self.known_cuts.get(asked)
        if not is_answer(answer):
            answer = find()
            self.known_cuts.put(asked, answer)
        return answer

    def _find_cut(self) -> list[Any]:
        """Build the graph without its weights; return the name of the layer, and whether it has positions."""
        model = self.backbone.build(self.input_size, load_weights=False)
        name = find_layer(model, self.backbone, self.layer)
        return [name, len(output_of(model, name).shape) > 2]

    def __reduce__(self) -> tuple[Any, ...]:
        # What is known of cuts belongs to this process, and so does the identity that was found in it.
        return FrozenNetwork, tuple(getattr(self, each.name) for each in fields(self) if each.compare)

    def state(self) -> Hashable:
        """Return a key of this network with its present weights, among those in this process."""
        layer = self.backbone.default_layer if self.layer is None else self.layer
        settings = (layer, self.pooling, self.input_size, self.preprocess, self.precision)
        return type(self.backbone), self.backbone.state(), settings

    def load(self, engine: str = "auto") -> Runner:
        """Return the runner of this network: one per process, shared by all who ask.

        Raises
        ------
        BackboneError
            When the network cannot be built, or when this process was forked after TensorFlow had started.
        """
        check_not_forked()
        state = self.state()
        key = (state, engine)
        with _load_lock:
            if key not in _loaded:
                runner = make_runner(self.build(), engine, self.precision)
                if self.state() != state:
                    raise self._changed()
                _loaded[key] = runner
                while len(_loaded) > MAX_LOADED:
                    _loaded.popitem(last=False)
            if self.has_changed:
                raise self._changed()
            _loaded.move_to_end(key)
            if self._releases is not None:
                self._releases.measure(_loaded[key])
            return _loaded[key]

    def _changed(self) -> BackboneError:
        msg = f"{self.backbone.name!r} was changed while it was loaded; once that is over, try again"
        return BackboneError(msg)

    def build(self) -> Any:
        """Return a Keras model from raw pixels to pooled activations."""
        from skcnn._keras import keras

        check_choice("pooling", self.pooling, POOLINGS)
        if self.preprocess == "auto" and not self.backbone.range_is_known:
            warnings.warn(unknown_range_warning(self.backbone.name), stacklevel=2)
        trunk = self.truncated()
        with quiet_build():
            pixels = keras.Input(self.input_shape, dtype="float32")
            activations = trunk(self.normalise(pixels), training=False)
            return keras.Model(pixels, pool(activations, self.pooling))

    def truncated(self, *, load_weights: bool = True) -> Any:
        """Return the backbone up to the layer: a Keras model from normalised pixels to activations before pooling.

        Parameters
        ----------
        load_weights : bool, default=True
            False where only the graph matters.
        """
        limit_tensorflow_threads()
        model = self.backbone.build(self.input_size, load_weights=load_weights)
        trunk = trunk_of(model, self._layer_in(model))
        if load_weights:
            check_finite_weights(trunk, self.backbone.name)
        return trunk

    def _layer_in(self, model: Any) -> str:
        """Return the layer that was described, so that features match their description; else find it in the graph."""
        # A model in memory is described by the places of its layers, and they may have been renamed since.
        if "_identified" in self.__dict__ and not self.backbone.in_memory:
            described = self._identified[0].layer
            if described in layer_outputs(model):  # else the file is another by now, which `load` refuses
                return described
        return find_layer(model, self.backbone, self.layer)

    def normalise(self, pixels: Any) -> Any:
        """Apply the backbone's own normalisation to symbolic pixels, if that was asked for."""
        return self.backbone.normalise(pixels) if self.normalises else pixels


def types_of(answer: Any) -> list[type]:
    """Return the types of the items of a list, none of anything else."""
    return list(map(type, answer)) if isinstance(answer, list) else []


def unknown_range_warning(name: str) -> PixelRangeWarning:
    """Return the warning of a network that may have been trained on other pixels than it is given."""
    msg = (
        f"nothing tells what range of pixels the network {name!r} was trained on: it has no Rescaling or Normalization "
        "layer, and is not a network of keras.applications as published. It is given RGB in [0, 255]. If that is "
        "wrong, put the scaling inside: keras.Sequential([keras.Input(shape), keras.layers.Rescaling(1 / 255), "
        "model]). If it is right, preprocess=None says so"
    )
    return PixelRangeWarning(msg)


def check_finite_weights(model: Any, name: str) -> None:
    """Refuse a network whose training diverged: its activations need not be NaN, as ReLU makes zeros of NaN."""
    from skcnn._keras import keras

    spoilt = [
        weight.path
        for weight in model.weights
        if keras.backend.is_float_dtype(weight.dtype) and not np.isfinite(np.asarray(weight.numpy(), np.float32)).all()
    ]
    if spoilt:
        msg = f"{len(spoilt)} of the weights of {name} are NaN or infinite, {spoilt[0]!r} first: its training diverged"
        raise BackboneError(msg)


def limit_tensorflow_threads() -> None:
    """Hold TensorFlow to the threads that are left to this process, where joblib or the user left it fewer than all."""
    import joblib

    threads = available_threads()
    if threads >= joblib.cpu_count():
        return
    from skcnn._keras import tf

    # Once TensorFlow has started, these settings cannot be changed.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def pool(activations: Any, pooling: str | None) -> Any:
    """Reduce the positions of symbolic activations (n, ..., channels); activations without positions stay."""
    from skcnn._keras import keras

    positions = tuple(range(1, len(activations.shape) - 1))
    if pooling is None or not positions:
        return activations
    if pooling == "flatten":
        return keras.layers.Flatten()(activations)
    return {"avg": keras.ops.mean, "max": keras.ops.max}[pooling](activations, axis=positions)


def note_fork() -> None:
    """Set the parent's networks aside in a child: they do not run there, and OpenVINO's crash as they are freed."""
    _loaded_by_parents.extend(_loaded.values())
    _loaded.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=note_fork)


def loaded_networks() -> int:
    """Return how many networks this process holds."""
    return len(_loaded)


def unload_networks() -> None:
    """Let go of every loaded network; they load again when they are needed."""
    with _load_lock:
        _loaded.clear()
