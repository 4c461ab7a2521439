"""The OpenVINO runner: the same network, faster on a processor."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from skcnn._locks import Lock
from skcnn._parallel import available_threads
from skcnn._private import openvino_graph
from skcnn.backbones._runner import Runner
from skcnn.exceptions import BackboneError

# Few images at a time, so that their activations stay in a core's cache.
CHUNK_IMAGES = 4
PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16"}
# How far activations may be from TensorFlow's, of the largest of them: rounding adds up over a hundred layers.
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.25}


class OpenVINORunner(Runner):
    """Runs a Keras model that was converted in memory, one stream of small pieces on each core.

    A converted network is not trusted unseen: it runs a few images of noise first, and must give what TensorFlow gives.

    Parameters
    ----------
    model : keras.Model
        From raw pixels to activations, on Keras's TensorFlow backend.
    precision : {"float32", "bfloat16"}, default="float32"
        What the network computes in; bfloat16 is emulated, slower, on processors without it.

    Raises
    ------
    Exception
        Whatever TensorFlow or OpenVINO raises for a graph that cannot be converted, and BackboneError for one that
        gives other activations once it is.
    KeyboardInterrupt, SystemExit, MemoryError
        When one of them ended the conversion.
    """

    def __init__(self, model: Any, precision: str = "float32"):
        self._shape = tuple(model.output_shape[1:])
        function = trace(model)
        with raising_what_python_raised():
            self._network = convert(function)
        self._hints = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "NUM_STREAMS": str(available_threads()),
            "INFERENCE_NUM_THREADS": str(available_threads()),
        }
        self._queues: dict[str, Any] = {}
        self._lock = Lock()
        self._check(function, model.input_shape[1:], TOLERANCES[precision])

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self._shape

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the activations of a batch; uint8 travels as it is and is converted inside the network."""
        out = np.empty((len(batch), *self._shape), np.float32)
        errors: list[Exception] = []

        def keep(request: Any, rows: slice) -> None:
            # An error that leaves a callback ends the process.
            try:
                activations = request.get_output_tensor().data
                if activations.shape != out[rows].shape:  # which copying might broadcast
                    msg = f"the network gives activations of shape {activations.shape}, not {out[rows].shape}"
                    raise BackboneError(msg)
                out[rows] = activations
            except Exception as error:  # raised again below
                errors.append(error)

        # One batch at a time: the queue's callback knows one array to fill.
        with self._lock:
            queue = self._queue(batch.dtype)
            queue.set_callback(keep)
            try:
                for start in range(0, len(batch), CHUNK_IMAGES):
                    rows = slice(start, start + CHUNK_IMAGES)
                    queue.start_async({0: np.ascontiguousarray(batch[rows])}, rows)
            finally:
                queue.wait_all()
        if errors:
            raise errors[0]
        return out

    def save(self, path: str | os.PathLike, output_name: str) -> None:
        """Write the network as an intermediate representation: `path`, which ends in .xml, and a .bin of that name.

        Its input is named "pixels", its weights are float32. What it computes in is said when it is compiled.
        """
        import openvino

        network = self._network.clone()
        for port, name in ((network.input(), "pixels"), (network.output(), output_name)):
            port.get_tensor().set_names({name})
        openvino.save_model(network, path, compress_to_fp16=False)

    def _check(self, function: Any, input_shape: tuple[int, int, int], tolerance: float) -> None:
        """Compare activations with those of the function the network was made from, for a whole and a rest chunk."""
        noise = np.random.default_rng(0).integers(0, 256, (CHUNK_IMAGES + 1, *input_shape), dtype=np.uint8)
        expected = function(noise.astype(np.float32)).numpy()
        activations = self.run(noise)
        scale = np.abs(expected, where=np.isfinite(expected), out=np.zeros_like(expected)).max(initial=0)
        # NaN and infinity, which a diverged network gives, are the same on both sides or a difference.
        if not np.allclose(activations, expected, rtol=0, atol=tolerance * scale, equal_nan=True):
            with np.errstate(invalid="ignore"):
                difference = np.nan_to_num(np.abs(activations - expected)).max()
            msg = f"its activations are off by {difference:.3g}, where the largest is {scale:.3g}"
            raise BackboneError(msg)

    def _queue(self, dtype: np.dtype) -> Any:
        """Return the queue of requests that takes pixels of a dtype."""
        import openvino

        if dtype.name not in self._queues:
            network = self._network
            if dtype == np.uint8:
                network = network.clone()
                steps = openvino.preprocess.PrePostProcessor(network)
                steps.input().tensor().set_element_type(openvino.Type.u8)
                network = steps.build()
            compiled = openvino.Core().compile_model(network, "CPU", self._hints)
            self._queues[dtype.name] = openvino.AsyncInferQueue(compiled, available_threads())
        return self._queues[dtype.name]


@contextlib.contextmanager
def raising_what_python_raised() -> Iterator[None]:
    """Raise the exception of a Python callback of OpenVINO, such as Ctrl-C, instead of the error it turns it into.

    OpenVINO calls Python for each node of a network. What is raised there comes back as an error of its own, with the
    name of the class at the beginning of a line.
    """
    try:
        yield
    except Exception as error:
        for kind in (KeyboardInterrupt, SystemExit, MemoryError):
            if re.search(rf"^{kind.__name__}\b", str(error), re.MULTILINE):
                raise kind from error
        raise


def trace(model: Any) -> Any:
    """Return a Keras model as a TensorFlow function of float32 pixels."""
    from skcnn._keras import tf

    signature = [tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)]
    function = tf.function(lambda pixels: model(pixels, training=False), input_signature=signature, autograph=False)
    return function.get_concrete_function()


def convert(function: Any) -> Any:
    """Return a traced function as an OpenVINO network, without a file in between.

    OpenVINO's own `convert_model` is one call, but it sets the level of the root logger and reports usage.
    """
    from openvino.frontend import FrontEndManager

    # Weights are copied: a model in memory may be trained on.
    graph = openvino_graph(function.graph)
    frontend = FrontEndManager().load_by_framework("tf")
    traced = frontend.load(graph)
    # Tracing leaves operations whose results nothing reads; OpenVINO would give each as an output.
    (output,) = function.outputs
    traced.override_all_outputs([traced.get_place_by_tensor_name(output.name)])
    return frontend.convert(traced)
