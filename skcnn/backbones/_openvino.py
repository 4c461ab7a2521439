"""The OpenVINO runner: the same network, faster on a processor."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from skcnn._parallel import available_threads
from skcnn.backbones._runner import Runner

__all__ = ["OpenVINORunner"]

# Few images at a time, so that their activations stay in a core's cache.
CHUNK_IMAGES = 4
PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINORunner(Runner):
    """Runs a Keras model that was converted in memory, one stream of small pieces on each core.

    Parameters
    ----------
    model : keras.Model
        From raw pixels to activations, on Keras's TensorFlow backend.
    precision : {"float32", "bfloat16"}, default="float32"
        What the network computes in; bfloat16 is emulated, slower, on processors without it.

    Raises
    ------
    Exception
        Whatever TensorFlow or OpenVINO raises for a graph that cannot be converted.
    """

    def __init__(self, model: Any, precision: str = "float32"):
        self._shape = tuple(model.output_shape[1:])
        self._network = convert(model)
        self._hints = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "NUM_STREAMS": str(available_threads()),
            "INFERENCE_NUM_THREADS": str(available_threads()),
        }
        self._queues: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._queue(np.dtype(np.uint8))  # now, so that a graph that cannot be compiled is refused here

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the activations of one image."""
        return self._shape

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the activations of a batch; uint8 travels as it is and is converted inside the network."""
        out = np.empty((len(batch), *self._shape), np.float32)
        # One batch at a time: the queue's callback knows one array to fill.
        with self._lock:
            queue = self._queue(batch.dtype)
            queue.set_callback(lambda request, rows: np.copyto(out[rows], request.get_output_tensor().data))
            try:
                for start in range(0, len(batch), CHUNK_IMAGES):
                    rows = slice(start, start + CHUNK_IMAGES)
                    queue.start_async({0: np.ascontiguousarray(batch[rows])}, rows)
            finally:
                queue.wait_all()
        return out

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


def convert(model: Any) -> Any:
    """Return a Keras model as an OpenVINO network of float32 pixels, by way of a traced function and no file.

    OpenVINO's own `convert_model` is one call, but it sets the level of the root logger and reports usage.
    """
    import tensorflow as tf
    from openvino.frontend import FrontEndManager
    from openvino.frontend.tensorflow.graph_iterator import GraphIteratorTFGraph

    signature = [tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)]
    function = tf.function(lambda pixels: model(pixels, training=False), input_signature=signature, autograph=False)
    # Weights are copied: a model in memory may be trained on.
    graph = GraphIteratorTFGraph(function.get_concrete_function().graph, share_weights=False)
    frontend = FrontEndManager().load_by_framework("tf")
    return frontend.convert(frontend.load(graph))
