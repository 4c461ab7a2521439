"""The phases of a training: a linear probe, which is computed, or epochs of steps along the gradient."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from skcnn.features import Trunk
from skcnn.training._epoch_inputs import EpochInputs
from skcnn.training._lending import ModelRecipe
from skcnn.training._plan import Plan
from skcnn.training._probe import fit_probe
from skcnn.training._problem import Split
from skcnn.training._session import Session
from skcnn.training._shrinkage import leave_one_out_accuracy, resolve_shrinkage
from skcnn.training._state import DivergedError, PhaseEnd, Weights


@dataclass(frozen=True)
class ProbePhase:
    """Logistic regression on features; its weights become those of a head without a hidden layer.

    Parameters
    ----------
    name : str
        For records and messages.
    trunk : Trunk
        The frozen layers that give its inputs.
    C : float
        As in `fit_probe`.
    measures_features : bool, default=False
        Whether the record has a ``loo_accuracy``, for a phase that comes after; see `leave_one_out_accuracy`.
    """

    name: str
    trunk: Trunk
    C: float
    measures_features: bool = False

    @property
    def normalises_batches(self) -> bool:
        """Whether an image counts by the others of its batch: never, where there are no batches."""
        return False

    def run(
        self,
        inputs: tuple[EpochInputs, EpochInputs],
        split: Split,
        before: PhaseEnd | None,
        session: Session,
        **of_gradients: Any,
    ) -> PhaseEnd:
        """Fit the probe; the arguments are as in `GradientPhase.run`."""
        begin = time.perf_counter()
        values, held_out = (next(each.read(0, np.arange(len(each)), len(each) or 1), None) for each in inputs)
        codes, weights, _ = split.training
        probe = fit_probe(values, codes, weights, C=self.C)
        figures = probe.judge(values, codes, weights)
        if split.validation is not None:
            judged = probe.judge(held_out, split.validation.codes, split.validation.weights)
            figures |= {f"val_{name}": value for name, value in judged.items()}
        if self.measures_features:
            figures["loo_accuracy"] = leave_one_out_accuracy(values, codes)
        seconds = time.perf_counter() - begin
        record = {"phase": self.name, "epoch": 1, **figures, "learning_rate": np.nan, "seconds": seconds}
        return PhaseEnd(Weights([*probe]), [record])


@dataclass(frozen=True)
class GradientPhase:
    """Epochs of steps along the gradient of the cross-entropy.

    Parameters
    ----------
    name : str
        For records, messages and checkpoints.
    trunk : Trunk
        The frozen layers that give its inputs.
    model : ModelRecipe
        How the model is made that is trained.
    plan : Plan
        At least one epoch.
    weights_seed, order_seed : int
        With the seed of the fit, what the weights that begin at random and the order of the images are drawn from.
    augments : bool, default=False
        Whether it is trained on augmented views.
    """

    name: str
    trunk: Trunk
    model: ModelRecipe
    plan: Plan
    weights_seed: int
    order_seed: int
    augments: bool = False

    @property
    def normalises_batches(self) -> bool:
        """Whether batch normalisation is trained that learns its statistics."""
        return self.model.normalises_batches

    def run(
        self,
        inputs: tuple[EpochInputs, EpochInputs],
        split: Split,
        before: PhaseEnd | None,
        session: Session,
        *,
        batch_size: int,
        snapshots: Any = None,
        verbose: int | None = None,
    ) -> PhaseEnd:
        """Train, from the weights of the phase before.

        Parameters
        ----------
        inputs : (EpochInputs, EpochInputs)
            Of the images to train on, and of those that are held out.
        split : Split
            Their labels and weights.
        before : PhaseEnd or None
            None for the first phase.
        session : Session
        batch_size : int
        snapshots : skcnn.training._callbacks.Snapshots, default=None
            Keeps the weights after some of the epochs.
        verbose : int, default=None
        """
        from skcnn.training._loop import train

        trained, held_out = inputs
        state = session.of_phase(self.name)
        history = state.history if state is not None else before.history if before is not None else []
        shrinkage = resolve_shrinkage(self.plan.shrinkage, len(split.trained), split.training.n_classes, history)
        plan = dataclasses.replace(self.plan, shrinkage=shrinkage)
        with self.model.lend(trained.input_shape) as model:
            model.start((session.seed, self.weights_seed), None if before is None else before.weights)
            failure = ""
            try:
                state = train(
                    self.name,
                    model,
                    split.training.batches(trained, batch_size, (session.seed, self.order_seed)),
                    plan,
                    state=state,
                    history=history,
                    validation=split.validation and split.validation.batches(held_out, batch_size),
                    snapshots=snapshots,
                    on_epoch=session.after_epoch,
                    on_end=session.at_end,
                    verbose=verbose,
                )
            except DivergedError as error:
                state, failure = error.state, str(error)
            return PhaseEnd(model.trained_weights(), state.history, state, state.is_finished, failure)
