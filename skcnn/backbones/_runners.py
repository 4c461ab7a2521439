"""Which runner runs a network, and the one that is always there: Keras itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from skcnn._optional import import_optional, is_installed
from skcnn.backbones._openvino import OpenVINORunner
from skcnn.backbones._runner import Runner
from skcnn.exceptions import BackboneError, EngineWarning

__all__ = ["ENGINES", "PRECISIONS", "KerasRunner", "make_runner"]

ENGINES = ("auto", "keras", "openvino")
PRECISIONS = ("float32", "bfloat16")


class KerasRunner(Runner):
    """Runs a model on whatever backend and device Keras uses."""

    def __init__(self, model: Any):
        self.model = model

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the activations of one image."""
        return tuple(self.model.output_shape[1:])

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the activations of a batch."""
        # A model of mixed precision gives float16 or bfloat16.
        return np.asarray(self.model.predict_on_batch(batch.astype(np.float32, copy=False)), np.float32)


def make_runner(model: Any, engine: str, precision: str = "float32") -> Runner:
    """Return the runner of a Keras model of raw pixels.

    Parameters
    ----------
    model : keras.Model
        From raw pixels to activations.
    engine : {"auto", "keras", "openvino"}
        "auto" takes OpenVINO where it is installed, no GPU is visible, and it can convert the graph.
    precision : {"float32", "bfloat16"}, default="float32"
        What the network computes in; Keras runs float32 only.

    Raises
    ------
    ImportError
        When OpenVINO is asked for and not installed.
    BackboneError
        When bfloat16 is asked for and OpenVINO cannot run the network.
    """
    if engine == "openvino" or (precision != "float32" and engine == "auto"):
        import_optional("openvino", purpose=f"engine={engine!r} with precision={precision!r}", install="skcnn[fast]")
    if engine == "keras" or (engine == "auto" and precision == "float32" and not suits_openvino(model)):
        if precision != "float32":
            raise BackboneError(f"precision={precision!r} needs engine='openvino' (or 'auto'); Keras runs float32 only")
        return KerasRunner(model)
    try:
        return OpenVINORunner(model, precision)
    except Exception as error:  # conversion fails in as many ways as there are layers
        if precision != "float32":
            raise BackboneError(f"OpenVINO cannot run {model.name!r} in {precision}: {error}") from error
        msg = f"OpenVINO cannot run {model.name!r} ({error}); Keras runs it, more slowly"
        warnings.warn(msg, EngineWarning, stacklevel=2)
        return KerasRunner(model)


def suits_openvino(model: Any) -> bool:
    """Whether OpenVINO is the faster way here: installed, a float32 graph, and no GPU that Keras would use."""
    import keras

    if keras.backend.backend() != "tensorflow" or not is_installed("openvino"):
        return False
    if any(layer.compute_dtype != "float32" for layer in model._flatten_layers()):
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")
