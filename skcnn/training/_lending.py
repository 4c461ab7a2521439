"""Models of earlier fits, lent to the next one of the same shape: tracing one takes longer than many a training."""

from __future__ import annotations

import contextlib
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from skcnn._locks import Lock
from skcnn.backbones._fork import check_not_forked
from skcnn.backbones._tail import TunableNetwork
from skcnn.backbones._untrained import UntrainedNetwork
from skcnn.training._head import build_head
from skcnn.training._state import TrainingState, Weights

# A search over the unfreeze depth alternates between a few; more would fill the memory of a laptop. One more is kept
# for each that is lent at the moment: threads that work on several models need them again at once.
MAX_IDLE = 4


@dataclasses.dataclass
class Pool:
    """The models of this process: idle ones, the one used last at the end, and the number of those that are lent."""

    idle: list[tuple[Hashable, Any]] = dataclasses.field(default_factory=list)
    n_lent: int = 0


class SharedLoan:
    """A model that several threads read at once: borrowed by the first of them, given back by the last."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.n_readers = 0
        self.loan: contextlib.ExitStack | None = None
        self.model: Any = None


_pool = Pool()
_shared: dict[Hashable, SharedLoan] = {}
_lock = Lock()


@contextlib.contextmanager
def lend_model(key: Hashable, make: Callable[[], Any]) -> Iterator[Any]:
    """Lend a model for the time of a ``with`` block; no other thread has it meanwhile.

    The caller must set all weights: a pooled model has those of its last user. A model whose borrower fails is
    not lent again.

    Parameters
    ----------
    key : hashable
        Models of equal keys differ in nothing but weights.
    make : callable without arguments
        Makes one, if none is idle.

    Raises
    ------
    BackboneError
        In a process that was forked after TensorFlow had started.
    """
    check_not_forked()
    with _lock:
        _pool.n_lent += 1
        found = next((each for each in reversed(_pool.idle) if each[0] == key), None)
        if found is not None:
            _pool.idle.remove(found)
    returned = []
    try:
        model = make() if found is None else found[1]
        yield model
        returned = [(key, model)]
    finally:
        with _lock:
            _pool.n_lent -= 1
            _pool.idle += returned
            del _pool.idle[: -(MAX_IDLE + _pool.n_lent)]


@contextlib.contextmanager
def share_model(
    key: Hashable, make: Callable[[], Any], weights: Sequence[Any], set_weights: Callable[[Any], None]
) -> Iterator[Any]:
    """Lend a model with certain weights to every thread that asks for it, to be read and not changed.

    Parameters
    ----------
    key, make
        As in `lend_model`.
    weights : sequence of ndarray
        Those who give the same arrays at the same time get the same model.
    set_weights : callable of a model
        Gives it the weights.

    Raises
    ------
    BackboneError
        As in `lend_model`.
    """
    # Arrays are told by their ids: every reader holds them for as long as it reads.
    key_of_loan = (key, *map(id, weights))
    with _lock:
        shared = _shared.setdefault(key_of_loan, SharedLoan())
        shared.n_readers += 1
    try:
        with shared.lock:
            if shared.loan is None:
                with contextlib.ExitStack() as loan:
                    shared.model = loan.enter_context(lend_model(key, make))
                    set_weights(shared.model)
                    shared.loan = loan.pop_all()
        yield shared.model
    finally:
        with _lock:
            shared.n_readers -= 1
            is_last = not shared.n_readers
            if is_last:
                del _shared[key_of_loan]
        if is_last and shared.loan is not None:
            shared.loan.close()


def idle_models() -> int:
    """Return how many models this process holds for later."""
    return len(_pool.idle)


def release_models() -> None:
    """Let go of all idle models; new ones are made when they are needed."""
    with _lock:
        _pool.idle.clear()


class ModelRecipe(ABC):
    """How a model that is trained is made. It is made once in a process, and lent to one fit after another."""

    def lend(self, input_shape: tuple[int, ...]) -> AbstractContextManager[Any]:
        """Lend a `TrainedModel` for inputs of this shape; the caller must set all weights, or start it."""
        return lend_model(*self._key_and_make(input_shape))

    def share(self, input_shape: tuple[int, ...], weights: Weights) -> AbstractContextManager[Any]:
        """Lend a `TrainedModel` with certain weights, to be read by several threads at once."""
        key, make = self._key_and_make(input_shape)
        arrays = [*weights.head, *weights.tail]
        return share_model(key, make, weights=arrays, set_weights=lambda model: model.set_trained(weights))

    def weights_of(self, state: TrainingState, input_shape: tuple[int, ...]) -> Weights:
        """Return the weights that such a model had in some state of its training."""
        with self.lend(input_shape) as model:
            model.set_variables(state.weights)
            return model.trained_weights()

    @property
    @abstractmethod
    def normalises_batches(self) -> bool:
        """Whether batch normalisation of the model learns its statistics; no model is made to find out."""

    @abstractmethod
    def _key_and_make(self, input_shape: tuple[int, ...]) -> tuple[Hashable, Callable[[], Any]]:
        """Return the key of such a model in the pool, and the function that makes one."""


@dataclasses.dataclass(frozen=True)
class HeadRecipe(ModelRecipe):
    """How a model of a head, and the tail of a network below it, is made.

    Parameters
    ----------
    network : TunableNetwork or None
        Whose tail is trained with the head; None for a head alone.
    layers : dict
        Arguments of `build_head`.
    n_classes : int
    live_norm : bool, default=False
        Whether batch normalisation of the tail learns its statistics. False keeps those that it came with.
    """

    network: TunableNetwork | None
    layers: dict[str, Any]
    n_classes: int
    live_norm: bool = False

    @property
    def normalises_batches(self) -> bool:
        return self.live_norm or self.layers["batch_norm"]

    def _key_and_make(self, input_shape: tuple[int, ...]) -> tuple[Hashable, Callable[[], Any]]:
        from skcnn.training._model import TrainedModel

        def make() -> Any:
            tail = None if self.network is None else self.network.build_tail()
            n_features = input_shape[0] if tail is None else tail.output_shape[1]
            return TrainedModel(tail, build_head(n_features, self.n_classes, **self.layers), live_norm=self.live_norm)

        state = None if self.network is None else self.network.state()
        return (state, input_shape, self.n_classes, self.live_norm, *self.layers.items()), make


@dataclasses.dataclass(frozen=True)
class NetworkRecipe(ModelRecipe):
    """How a model of a whole network is made, which begins with random weights.

    Parameters
    ----------
    layers : UntrainedNetwork
    """

    layers: UntrainedNetwork

    @property
    def normalises_batches(self) -> bool:
        return self.layers.has("BatchNormalization")

    def _key_and_make(self, input_shape: tuple[int, ...]) -> tuple[Hashable, Callable[[], Any]]:
        from skcnn.training._model import TrainedModel

        # Of layers without a digest, only those that are the same object are known to be equal.
        return self.layers.digest or self.layers, lambda: TrainedModel(None, self.layers.build())
