"""Whether another release of Keras builds the same network: rows stay valid as long as its activations are the same."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from skcnn.backbones._runner import Runner

# Raise it when the measurement itself changes.
PROBE_VERSION = 1
N_VALUES = 64
# Of the largest activation: engines and devices round differently, another network differs by far more.
TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}


class Memo(Protocol):
    """Where measured activations are kept."""

    def get(self, question: dict[str, Any]) -> Any:
        """Return the answer to a question of JSON types, None where it is not known."""

    def put(self, question: dict[str, Any], answer: Any) -> None:
        """Remember an answer of JSON types."""


class Releases:
    """The releases of Keras that a network was run with, and its activations of one image in each.

    Parameters
    ----------
    memo : Memo
        Where they are kept.
    description : dict
        Of the network, with the release in use as ``description["backbone"]["keras"]``.
    """

    def __init__(self, memo: Memo, description: dict[str, Any]):
        self._memo = memo
        self.release = description["backbone"]["keras"]
        network = {**description, "backbone": {**description["backbone"], "keras": None}}
        self._question = {"network": network, "probe": PROBE_VERSION}
        self._precision = description["precision"]
        self._input_shape = description["input_shape"]

    @property
    def known(self) -> dict[str, dict[str, Any]]:
        """By release, the first one with the same activations, and these; the first release comes first."""
        answer = self._memo.get(self._question)
        return {each["release"]: each for each in answer if is_record(each)} if isinstance(answer, list) else {}

    @property
    def first_like_this(self) -> str | None:
        """The first release with the same activations as the one in use; None where it was not measured."""
        record = self.known.get(self.release)
        return None if record is None else record["like"]

    def measure(self, runner: Runner) -> None:
        """Note the activations of the release in use, which `runner` computes, unless they are known."""
        known = self.known
        if self.release in known:
            return
        values = sample(runner.run(probe(*self._input_shape)))
        same = [record["like"] for record in known.values() if self._is_same(values, record["activations"])]
        record = {"release": self.release, "like": (same or [self.release])[0], "activations": values.tolist()}
        self._memo.put(self._question, [*known.values(), record])

    def _is_same(self, values: np.ndarray, others: list[float]) -> bool:
        if len(values) != len(others):
            return False
        largest = max(np.abs(values).max(), np.abs(others).max())
        return bool((np.abs(values - others) <= TOLERANCE[self._precision] * largest).all())


def is_record(value: Any) -> bool:
    """Whether a value from a file is the record of a release."""
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str) for name in ("release", "like"))
        and isinstance(value.get("activations"), list)
        and all(isinstance(each, float) for each in value["activations"])
    )


def probe(height: int, width: int, channels: int) -> np.ndarray:
    """Return an image with edges, gradients and texture, the same everywhere: (1, height, width, channels), float32."""
    y, x, channel = np.indices((height, width, channels))
    pixels = (x * 3 + y * 5 + channel * 40 + (x * y) % 97 + 80 * ((x // 16 + y // 16) % 2)) % 256
    return pixels[np.newaxis].astype(np.float32)


def sample(activations: np.ndarray) -> np.ndarray:
    """Return some of the activations of one image: shape (n_values,), float64."""
    values = np.ravel(activations).astype(np.float64)
    return values[np.linspace(0, len(values) - 1, min(N_VALUES, len(values))).astype(int)]
