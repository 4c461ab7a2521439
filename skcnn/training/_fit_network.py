"""`fit_network`: how a network is trained, phase by phase."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from skcnn.training._feed import Feed
from skcnn.training._phase import GradientPhase, ProbePhase
from skcnn.training._plan import Plan
from skcnn.training._problem import Problem, Split
from skcnn.training._session import Session
from skcnn.training._state import PhaseEnd


class TrainableNetwork(Protocol):
    """The interface of networks for `fit_network`. `skcnn.training._fine_tuned_network.FineTunedNetwork` is one."""

    def describe(self, n_classes: int) -> dict[str, Any]:
        """Return everything that must be the same for a training to go on, as JSON types."""

    def phases(self, plan: Plan, n_classes: int, *, augments: bool) -> list[ProbePhase | GradientPhase]:
        """Return the phases it is trained in: each with its trunk, and how its model is made.

        Parameters
        ----------
        plan : Plan
        n_classes : int
        augments : bool
            Whether there are augmented views to train on.
        """


def fit_network(
    network: TrainableNetwork,
    plan: Plan,
    problem: Problem,
    feed: Feed,
    session: AbstractContextManager[Session],
    *,
    snapshots: Any = None,
) -> tuple[PhaseEnd, Split, int]:
    """Train a network, phase by phase.

    Parameters
    ----------
    network : TrainableNetwork
    plan : Plan
        Of its last phase.
    problem : Problem
        The classes of the images, and how many images are held out.
    feed : Feed
        Gives the inputs of each phase.
    session : context manager of a Session
        Where the training goes on from, and what it leaves on disk.
    snapshots : skcnn.training._callbacks.Snapshots, default=None
        Keeps the weights after some epochs of the last phase.

    Returns
    -------
    end : PhaseEnd
        Of the last phase, or of the one that the user interrupted, or that diverged.
    split : Split
        Which images were trained on, and which were held out.
    seed : int

    Raises
    ------
    ValueError
        For batches of one image, where batch normalisation learns from them.
    ImageReadError
        Naming every unreadable image, before anything is trained.
    """
    phases = network.phases(plan, len(problem.classes), augments=feed.augmentation is not None)
    if feed.batch_size == 1 and any(phase.normalises_batches for phase in phases):
        msg = "batch normalisation normalises the images of a batch by each other, and batch_size=1 leaves one"
        raise ValueError(f"{msg}; set 'batch_size' to 2 at least")
    feed.announce(phases)
    # Before the session leaves anything on disk: an unreadable image is named at once.
    feed.read_all(phases[0].trunk)
    with session as current:
        first = current.first_of([phase.name for phase in phases])
        split = problem.split(current.seed)
        inputs = [feed.inputs(phase, split, current) for phase in phases]
        end: PhaseEnd | None = current.before
        for number in range(first, len(phases)):
            is_last = number == len(phases) - 1
            settings: Any = {"batch_size": feed.batch_size, "verbose": feed.verbose}
            settings["snapshots"] = snapshots if is_last else None
            end = phases[number].run(inputs[number], split, end, current, **settings)
            if not end.is_finished:
                break
        assert end is not None
        return end, split, current.seed
