"""Which runner runs a network, and the one that is always there: Keras itself."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from skcnn._locks import Lock
from skcnn._optional import import_optional, is_installed
from skcnn._private import flat_layers
from skcnn.backbones._backbone import float32_default
from skcnn.backbones._openvino import OpenVINORunner
from skcnn.backbones._runner import Runner
from skcnn.exceptions import BackboneError, EngineWarning

ENGINES = ("auto", "keras", "openvino")
PRECISIONS = ("float32", "bfloat16")


_tf32_lock = Lock()


class KerasRunner(Runner):
    """Runs a model on whatever backend and device Keras uses; TensorFlow on a GPU without XLA and TF32.

    Parameters
    ----------
    model : keras.Model
        From raw pixels to activations. It belongs to the runner: XLA, which computes in another order, is turned off.
    """

    def __init__(self, model: Any):
        self.model = model
        model.jit_compile = False

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple(self.model.output_shape[1:])

    def run(self, batch: np.ndarray) -> np.ndarray:
        with exact_float32(), float32_default():
            activations = self.model.predict_on_batch(batch.astype(np.float32, copy=False))
        # A model of mixed precision gives float16 or bfloat16.
        return np.asarray(activations, np.float32)


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Keep TensorFlow from rounding float32 to TF32 (10 bits) on a GPU: rows of both devices share one place on disk.

    It is a setting of the process, and so it is changed by one thread at a time, and put back.
    """
    from skcnn._keras import tf

    if not tf.config.list_physical_devices("GPU"):
        yield
        return
    with _tf32_lock:
        allowed = tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(allowed)


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
    MemoryError, OSError
        When memory or files ran out meanwhile. That may pass, and says nothing of the network.
    """
    if engine == "openvino" or (precision != "float32" and engine == "auto"):
        import_optional("openvino", purpose=f"engine={engine!r} with precision={precision!r}", install="skcnn[fast]")
    if engine == "keras" or (engine == "auto" and precision == "float32" and not suits_openvino(model)):
        if precision != "float32":
            raise BackboneError(f"precision={precision!r} needs engine='openvino' (or 'auto'); Keras runs float32 only")
        return KerasRunner(model)
    try:
        with float32_default():
            return OpenVINORunner(model, precision)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # conversion fails in as many ways as there are layers
        if precision != "float32":
            raise BackboneError(f"OpenVINO cannot run {model.name!r} in {precision}: {error}") from error
        msg = f"OpenVINO cannot run {model.name!r} ({error}); Keras runs it, more slowly"
        warnings.warn(msg, EngineWarning, stacklevel=2)
        return KerasRunner(model)


def suits_openvino(model: Any) -> bool:
    """Whether OpenVINO is the faster way here: installed, a float32 graph, and no GPU that Keras would use."""
    if not is_installed("openvino"):
        return False
    if any(layer.compute_dtype != "float32" for layer in flat_layers(model)):
        return False
    from skcnn._keras import tf

    return not tf.config.list_physical_devices("GPU")
