"""The model that is trained: a head and the tail of a network below it, or a whole network. It loads Keras."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from skcnn._keras import keras
from skcnn._private import flat_layers, keep_from_summing_over_devices
from skcnn.backbones._backbone import quiet_build
from skcnn.backbones._lambdas import layer_like
from skcnn.training._optimizers import describe_optimizer
from skcnn.training._plan import CLASSES_FOR_RANK5
from skcnn.training._state import TrainingState, Weights


class TrainedModel(keras.Model):
    """A head on a tail, which stays in inference mode unless its batch normalisation is live.

    A functional model of the two would not do: it hands ``training=True`` down to all its layers, whatever they were
    called with.

    One model serves many fits: what training changes is put back, and what was traced stays.

    Parameters
    ----------
    tail : keras.Model or None
        From activations to features; None where the inputs are features.
    head : keras.Model
        From features to logits; or a whole network that is trained from random weights, from pixels to logits. It is in
        training mode while it is trained.
    live_norm : bool, default=False
        Whether the tail is in training mode while it is trained: its batch normalisation normalises by the batch, and
        learns its statistics. False keeps those that it came with.
    """

    def __init__(self, tail: Any, head: Any, *, live_norm: bool = False):
        # Under a global policy of mixed precision it would round the inputs.
        super().__init__(name="trained_model", dtype="float32")
        self.tail = tail
        self.head = head
        self.live_norm = live_norm
        live = [*(flat_layers(tail) if live_norm and tail is not None else []), *flat_layers(head)]
        # The layers that learn statistics, with the momentum that they were made with.
        self._norms = {
            layer: layer.momentum
            for layer in live
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        }
        self._dropout = [layer for layer in live if isinstance(layer, keras.layers.Dropout)]
        self._tail_at_first = self.tail_weights()
        self._compiled_for: Hashable = None
        self._optimizer_at_first: list[np.ndarray] = []

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return logits of shape (n_images, n_classes)."""
        features = inputs if self.tail is None else self.tail(inputs, training=training and self.live_norm)
        return self.head(features, training=training)

    def tail_weights(self) -> list[np.ndarray]:
        """Return the weights of the tail, trained ones and others; none where there is no tail."""
        return [] if self.tail is None else self.tail.get_weights()

    def trained_weights(self) -> Weights:
        """Return the weights as they are now, and how far dropout has come."""
        dropout = [variable.numpy() for variable in dropout_variables(self.head)]
        return Weights(self.head.get_weights(), self.tail_weights(), dropout)

    def start(self, seed: tuple[int, ...], weights: Weights | None = None) -> None:
        """Give it the weights of an earlier phase; else those the tail came with, and new random ones for the head."""
        if self.tail is not None:
            self.tail.set_weights(weights.tail if weights is not None and weights.tail else self._tail_at_first)
        begin_at_random(self.head, seed)
        if weights is not None:
            self.head.set_weights(weights.head)
            for variable, value in zip(dropout_variables(self.head), weights.dropout, strict=False):
                variable.assign(value)

    def set_trained(self, weights: Weights) -> None:
        """Give head and tail weights that were trained before."""
        if self.tail is not None:
            self.tail.set_weights(weights.tail)
        self.head.set_weights(weights.head)

    def compile_for(
        self,
        optimizer: Any,
        *,
        label_smoothing: float = 0.0,
        steps_per_execution: int = 1,
        norm_momentum: float = 1.0,
    ) -> None:
        """Compile for training by cross-entropy; functions traced for the same settings are used again.

        Parameters
        ----------
        optimizer : keras.optimizers.Optimizer
            A new one. Another of the same settings may take its place, put back to what it was at first.
        label_smoothing : float, default=0.0
            Fraction in [0, 1) of each target that is shared out to all classes.
        steps_per_execution : int, default=1
            Steps that TensorFlow takes without coming back to Python. It has to divide the steps of an epoch.
        norm_momentum : float, default=1.0
            What the statistics of batch normalisation keep of themselves at each step, at most; a layer that is made to
            keep less stays at that.
        """
        settings, rate = describe_optimizer(optimizer)
        key = None if settings is None else (settings, label_smoothing, steps_per_execution, norm_momentum)
        if key is None or key != self._compiled_for:
            for layer, momentum in self._norms.items():
                layer.momentum = min(momentum, norm_momentum)
            metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
            if self.head.output_shape[-1] >= CLASSES_FOR_RANK5:
                metrics.append(keras.metrics.TopKCategoricalAccuracy(5, name="rank5_accuracy"))
            self.compile(
                optimizer=optimizer,
                loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing),
                metrics=metrics,
                steps_per_execution=steps_per_execution,
            )
            leave_out_sum_over_devices(optimizer)
            optimizer.build(self.trainable_variables)
            self._optimizer_at_first = [shrunk(variable.numpy()) for variable in optimizer.variables]
            self._compiled_for = key
        for variable, value in zip(self.optimizer.variables, self._optimizer_at_first, strict=True):
            variable.assign(np.broadcast_to(value, variable.shape))
        if rate is not None:
            self.optimizer.learning_rate = rate

    @property
    def optimizer_settings(self) -> str:
        """The configuration of the optimizer without its learning rate, as a text."""
        settings, _ = describe_optimizer(self.optimizer)
        return repr(settings or type(self.optimizer))

    def state(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return copies of all variables of tail and head, and of the optimizer."""
        return [variable.numpy() for variable in self._parts()], [each.numpy() for each in self.optimizer.variables]

    def set_variables(self, values: Sequence[np.ndarray]) -> None:
        """Set all variables of tail and head, as `state` returns them."""
        for variable, value in zip(self._parts(), values, strict=True):
            variable.assign(value)

    def go_on_from(self, state: TrainingState, learning_rate: float | None) -> None:
        """Set all variables, after `compile_for`; those of the optimizer only where it has the same settings.

        Parameters
        ----------
        state : TrainingState
        learning_rate : float or None
            What it goes on with. None leaves it to the optimizer's own schedule.
        """
        self.set_variables(state.weights)
        variables = self.optimizer.variables
        fits = [variable.shape for variable in variables] == [value.shape for value in state.optimizer]
        if fits and state.optimizer_settings == self.optimizer_settings:
            for variable, value in zip(variables, state.optimizer, strict=True):
                variable.assign(value)
        if learning_rate is not None:
            self.optimizer.learning_rate = learning_rate

    @property
    def learns_statistics(self) -> bool:
        """Whether it has batch normalisation that learns its statistics."""
        return bool(self._norms)

    def set_norm_statistics(self, batches: Iterable[np.ndarray]) -> None:
        """Give batch normalisation the exact statistics of these inputs, read batch by batch.

        Those that it kept while it was trained are of weights that have changed since, and where there were few steps,
        still near the 0 and 1 that they begin with. Nothing is left out by dropout, as nothing is when it predicts.
        """
        layers = [*self._norms]
        momenta, rates = [layer.momentum for layer in layers], [layer.rate for layer in self._dropout]
        sums = [[0.0, 0.0] for _ in layers]
        count = 0
        try:
            for layer in layers:  # they have the statistics of the last batch then
                layer.momentum = 0.0
            for layer in self._dropout:
                layer.rate = 0.0
            for batch in batches:
                self(np.asarray(batch, np.float32), training=True)
                count += len(batch)
                for layer, total in zip(layers, sums, strict=True):
                    mean = layer.moving_mean.numpy().astype(np.float64)
                    total[0] += len(batch) * mean
                    total[1] += len(batch) * (layer.moving_variance.numpy() + np.square(mean))
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
            for layer, rate in zip(self._dropout, rates, strict=True):
                layer.rate = rate
        for layer, (means, squares) in zip(layers, sums, strict=True):
            mean = means / count
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(np.maximum(squares / count - np.square(mean), 0))

    def _parts(self) -> list[Any]:
        return [*([] if self.tail is None else self.tail.variables), *self.head.variables]

    def logits(self, inputs: Any, batch_size: int) -> np.ndarray:
        """Return the logits of all inputs, read batch by batch: (n_images, n_classes), float64."""
        # Called, not compiled: tracing a graph takes longer than most tails need for thousands of images.
        batches = [
            np.asarray(self(np.asarray(inputs[start : start + batch_size], np.float32), training=False))
            for start in range(0, len(inputs), batch_size)
        ]
        return np.concatenate(batches).astype(np.float64)


def begin_at_random(model: Any, seed: tuple[int, ...]) -> None:
    """Give the layers of a model new weights, drawn by their own initializers, and dropout a new beginning.

    The same seed gives the same weights in each process, and a head those that it gives in `build_head`. Seeds that
    initializers were made with are replaced.

    Parameters
    ----------
    model : keras.Model
        Functional.
    seed : tuple of int
    """
    *seeds, last = np.random.SeedSequence(seed).generate_state(16 * len(flat_layers(model)) + 1).tolist()
    remaining = iter(seeds)

    def anew(layer: Any) -> Any:
        return layer_like(layer, lambda config: reseeded(config, remaining))

    with quiet_build():
        # Of weights whose initializer is not in the configuration of the layer.
        random.seed(last)
        fresh = keras.models.clone_model(model, clone_function=anew, recursive=True)
    for variable, value in zip(model.variables, fresh.variables, strict=True):
        variable.assign(value)


def reseeded(part: Any, seeds: Iterator[int]) -> Any:
    """Return a part of the configuration of a layer with other seeds."""
    if isinstance(part, dict):
        return {name: next(seeds) if name == "seed" else reseeded(value, seeds) for name, value in part.items()}
    return type(part)(reseeded(each, seeds) for each in part) if isinstance(part, (list, tuple)) else part


def dropout_variables(model: Any) -> list[Any]:
    """Return the variables of a model that are no weights: how far the random numbers of dropout have come."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def leave_out_sum_over_devices(optimizer: Any) -> None:
    """Keep an optimizer from summing gradients over devices, where there is only one.

    TensorFlow registers a gradient function of that sum, which refers to the graph of the training step. The graph of
    every model that was ever trained would stay in memory until the process ends.
    """
    from skcnn._keras import tf

    if tf.distribute.has_strategy():
        return
    optimizers = [optimizer, *([optimizer.inner_optimizer] if hasattr(optimizer, "inner_optimizer") else [])]
    for each in optimizers:
        keep_from_summing_over_devices(each)


def shrunk(values: np.ndarray) -> np.ndarray:
    """Return one number where all are the same, as in most initial variables of an optimizer."""
    first = values.reshape(-1)[:1]
    return first.reshape(()) if values.size and (values == first).all() else values
