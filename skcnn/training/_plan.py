"""The settings of a training: epochs, optimizer, schedule, when to stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from skcnn._parameters import ParameterGroup
from skcnn._validation import Check, one_of, real, whole
from skcnn.training._optimizers import describe_optimizer
from skcnn.training._schedules import AUTO, CosineDecay, Schedule

# The figures of an epoch. Rank-5 is the share of images whose class is among the five likeliest.
FIGURES = ("loss", "accuracy", "rank5_accuracy")
MONITORS = (*(f"val_{name}" for name in FIGURES), *FIGURES)
# With fewer classes, each is among the five likeliest.
CLASSES_FOR_RANK5 = 6


@dataclasses.dataclass
class EarlyStopping(ParameterGroup):
    """Stop where a figure has not become better for some epochs, and go back to the weights of the best one.

    Parameters
    ----------
    monitor : {"val_loss", "val_accuracy", "val_rank5_accuracy", "loss", "accuracy", "rank5_accuracy"}, \
            default="val_loss"
        Those with ``val_`` are of images that were held out, or of validation images of your own. Rank-5, the share of
        images whose class is among the five likeliest, is recorded where there are more than five classes.
    min_delta : float, default=0.0
        By how much it has to become better to count.
    patience : int, default=5
        How many epochs may pass without that.
    """

    monitor: str = "val_loss"
    min_delta: float = 0.0
    patience: int = 5

    _constraints: ClassVar[dict[str, Check]] = {
        "monitor": one_of(*MONITORS),
        "min_delta": real(),
        "patience": whole(),
    }

    @property
    def needs_validation(self) -> bool:
        """Whether images have to be held out."""
        return self.monitor.startswith("val_")

    def check_classes(self, n_classes: int) -> None:
        """Refuse to go by a figure that is not recorded for so few classes.

        Raises
        ------
        ValueError
            For rank-5 of less than six classes.
        """
        if "rank5" in self.monitor and n_classes < CLASSES_FOR_RANK5:
            msg = (
                f"early_stopping goes by {self.monitor!r}, and of {n_classes} classes each is among the five likeliest"
            )
            raise ValueError(f"{msg}; go by {self.monitor.replace('rank5_', '')!r}")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a model is trained.

    Parameters
    ----------
    epochs : int
    optimizer : keras.optimizers.Optimizer
        A new one.
    label_smoothing : float, default=0.0
        Fraction in [0, 1) of each target that is shared out to all classes.
    schedule : Schedule, "auto" or None, default=None
        How the learning rate of the optimizer changes. None leaves it alone. `resolve` replaces "auto".
    early_stopping : EarlyStopping or None, default=None
    average_weights : bool, default=False
        Whether the weights become the mean of those after each epoch of the last quarter.
    shrinkage : float, "auto" or None, default=None
        How far the weights are moved back at the end, towards those at the beginning.
    callbacks : sequence of keras.callbacks.Callback, default=()
        The user's own; copies that nobody else has.
    """

    epochs: int
    optimizer: Any
    label_smoothing: float = 0.0
    schedule: Schedule | Literal["auto"] | None = None
    early_stopping: EarlyStopping | None = None
    average_weights: bool = False
    shrinkage: float | Literal["auto"] | None = None
    callbacks: Sequence[Any] = ()

    def resolve(self, *, goes_on: bool) -> Plan:
        """Return the plan for one phase, which goes on from weights that were trained before, or does not.

        Where it does, ``schedule="auto"`` is a cosine, unless the optimizer has a schedule of its own. Where it does
        not, "auto" is a constant rate, and there are no weights to move back to.
        """
        schedule = self.schedule
        if schedule == AUTO:
            sets_rate = describe_optimizer(self.optimizer)[1] is not None
            schedule = CosineDecay() if goes_on and sets_rate else None
        return dataclasses.replace(self, schedule=schedule, shrinkage=self.shrinkage if goes_on else None)
