"""Training: batches of stored rows, heads, the linear probe, optimizers and phases."""

from skcnn.training._batches import Batches, epoch_order
from skcnn.training._head import build_head
from skcnn.training._lending import release_models
from skcnn.training._optimizers import make_optimizer
from skcnn.training._probe import LinearProbe, fit_probe

__all__ = ["Batches", "LinearProbe", "build_head", "epoch_order", "fit_probe", "make_optimizer", "release_models"]
