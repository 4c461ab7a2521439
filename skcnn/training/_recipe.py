"""`ModelRecipe`: how a model of a head, and the tail of a network below it, is made."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from skcnn.backbones._tail import TunableNetwork
from skcnn.training._head import build_head
from skcnn.training._lending import lend_model, share_model
from skcnn.training._weights import Weights


@dataclass(frozen=True)
class ModelRecipe:
    """How a model of a head, and the tail of a network below it, is made.

    It is made once in a process, and lent to one fit after another.

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

    def lend(self, row_shape: tuple[int, ...]) -> AbstractContextManager[Any]:
        """Lend a `TailAndHead` for rows of a shape; it has the weights of its last user."""
        return lend_model(*self._key_and_make(row_shape))

    def share(self, row_shape: tuple[int, ...], weights: Weights) -> AbstractContextManager[Any]:
        """Lend a `TailAndHead` with certain weights, to be read by several threads at once."""
        key, make = self._key_and_make(row_shape)
        arrays = [*weights.head, *weights.tail]
        return share_model(key, make, weights=arrays, set_weights=lambda model: model.set_trained(weights))

    def _key_and_make(self, row_shape: tuple[int, ...]) -> tuple[Hashable, Callable[[], Any]]:
        """Return what tells such a model from others, and what makes one."""
        from skcnn.training._model import TailAndHead

        def make() -> Any:
            tail = None if self.network is None else self.network.build_tail()
            n_features = row_shape[0] if tail is None else tail.output_shape[1]
            return TailAndHead(tail, build_head(n_features, self.n_classes, **self.layers), live_norm=self.live_norm)

        state = None if self.network is None else self.network.state()
        return (state, row_shape, self.n_classes, self.live_norm, *self.layers.items()), make
