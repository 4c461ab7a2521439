"""Training: batches, heads, the linear probe, optimizers, schedules and phases."""

from skcnn.training._batches import Batches, epoch_order
from skcnn.training._head import DenseHead, LinearHead, build_head
from skcnn.training._lending import release_models
from skcnn.training._optimizers import make_optimizer
from skcnn.training._plan import EarlyStopping
from skcnn.training._probe import LinearProbe, fit_probe
from skcnn.training._schedule_display import ScheduleDisplay
from skcnn.training._schedules import (
    CosineDecay,
    OneCycle,
    PolynomialDecay,
    Schedule,
    StepTable,
    TimeBasedDecay,
    make_schedule,
)

__all__ = [
    "Batches",
    "CosineDecay",
    "DenseHead",
    "EarlyStopping",
    "LinearHead",
    "LinearProbe",
    "OneCycle",
    "PolynomialDecay",
    "Schedule",
    "ScheduleDisplay",
    "StepTable",
    "TimeBasedDecay",
    "build_head",
    "epoch_order",
    "fit_probe",
    "make_optimizer",
    "make_schedule",
    "release_models",
]
