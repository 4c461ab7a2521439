"""One fit that may go on from an earlier one: its seed, the state it begins with, and its checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from skcnn._pace import Pace
from skcnn._parameters import ParameterGroup
from skcnn._plain import plain
from skcnn._progress import say
from skcnn._source_code import UnknownCodeError
from skcnn.cache._lock import lock_if_free
from skcnn.exceptions import CheckpointError
from skcnn.images._copies import source_digests
from skcnn.images._sequence import ImageSequence
from skcnn.training._checkpoints import Checkpoints
from skcnn.training._optimizers import describe_optimizer
from skcnn.training._state import PhaseEnd, TrainingState

# What no training can go on with when it is another; and what a directory is of, whatever the settings are.
FIXED = ("network", "head", "classes")
DATA = ("images", "labels and weights")

# Takes the records of all epochs so far, and whether there are no more.
Monitor = Callable[[list[dict[str, Any]], bool], None]

# Held by the fit that writes to a directory.
LOCK = "checkpoint.lock"


@dataclasses.dataclass
class Session:
    """One fit: its seed, the state it begins with, and the checkpoints it writes.

    Parameters
    ----------
    seed : int
    state : TrainingState or None
        None for a beginning.
    checkpoints : Checkpoints or None, default=None
    monitor : callable or None, default=None
        Called after each epoch with all records, and whether there are no more.
    every : int or None, default=None
        After how many epochs each a state is written. None for as often as takes a twentieth of the time.
    keep : "all", int or None, default=None
        Which of the states stay besides the last one: those of every `every`-th epoch, or the last so many of them.
    before : PhaseEnd or None, default=None
        What the last phase begins with, in the place of a state: weights that were trained with other layers unfrozen.
    """

    seed: int
    state: TrainingState | None
    checkpoints: Checkpoints | None = None
    monitor: Monitor | None = None
    every: int | None = None
    keep: Literal["all"] | int | None = None
    before: PhaseEnd | None = None
    _pace: Pace = dataclasses.field(default_factory=Pace)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        directory: Any,
        run: dict[str, Any],
        *,
        seed: int,
        state: TrainingState | None,
        warm_start: bool,
        every: int | None,
        keep: Literal["all"] | int | None = None,
        before: PhaseEnd | None = None,
        monitor: Monitor | None = None,
        verbose: int | None = None,
    ) -> Iterator[Session]:
        """Yield the session of a fit that leaves checkpoints in a directory, and goes on from those that are there.

        Parameters
        ----------
        directory : path
        run : dict
            What tells the fit from others, as JSON types; without "seed" where the seed may be that of the checkpoint.
        seed : int
            Of a beginning.
        state : TrainingState or None
            Of an earlier fit in this process, which goes before what is on disk.
        warm_start : bool
            Whether a checkpoint of other settings is gone on from. The images and labels have to be the same: those of
            another fold would be judged by a model that was trained on them.
        every, keep, before
            As of a `Session`. With `before`, the network of the checkpoint may be unfrozen to another depth.
        monitor : callable or None, default=None
        verbose : int or None, default=None
            0 says nothing of where the fit goes on from.

        Raises
        ------
        CheckpointError
            When the checkpoint is of another training, or another fit is writing to the directory.
        """
        checkpoints = Checkpoints(directory, run)
        with lock_if_free(checkpoints.directory, LOCK) as is_alone:
            if is_alone is False:
                msg = f"another fit is training into {checkpoints.directory} at this moment"
                raise CheckpointError(f"{msg}; name another directory by checkpoint_dir, or wait for its end")
            loaded = checkpoints.load()
            if loaded is not None:
                on_disk, differences = loaded
                differences = [name for name in differences if name != "seed" or "seed" in run]
                if before is not None:
                    check_differences(checkpoints, differences, [name for name in (*FIXED, *DATA) if name != "network"])
                elif state is not None or warm_start:
                    check_differences(checkpoints, differences, (*FIXED, *DATA))
                else:
                    check_differences(checkpoints, differences, differences)
                if state is None and before is None:
                    state = on_disk.as_beginning() if differences else on_disk
                    say(f"{describe_progress(state)}: {checkpoints.path}", verbose)
                    seed = int(checkpoints.before["seed"])
            checkpoints.run["seed"] = seed
            checkpoints.set_aside(state if before is None else before.state)
            yield cls(seed, state, checkpoints, monitor, every, keep, before)

    def of_phase(self, phase: str) -> TrainingState | None:
        """Return the state to begin a phase with, if there is one of it."""
        return self.state if self.state is not None and self.state.phase == phase else None

    def begin(self, phase: str) -> int:
        """Return how many epochs of a phase were made by earlier fits."""
        if self.before is not None:
            return sum(record["phase"] == phase for record in self.before.history)
        state = self.of_phase(phase)
        return 0 if state is None else state.begin

    def first_of(self, phases: Sequence[str]) -> int:
        """Return which of these phases the training goes on with.

        Raises
        ------
        ValueError
            When it was in another one.
        """
        if self.state is None and self.before is None:
            return 0
        # Weights that were trained with other layers unfrozen are gone on with in a phase after that of the head.
        is_missing = phases[-1] == "head" if self.state is None else self.state.phase not in phases
        if is_missing:
            msg = "warm_start=True trains what was fitted before for 'epochs' more, and nothing is left to train"
            raise ValueError(f"{msg}; set 'epochs' above 0, and 'augmentation' where unfreeze=0")
        return len(phases) - 1 if self.state is None else phases.index(self.state.phase)

    def after_epoch(self, records: list[dict[str, Any]], is_last: bool, state: Callable[..., TrainingState]) -> None:
        """Write the checkpoints that are due."""
        if self.monitor is not None:
            self.monitor(records, is_last)
        is_kept = self.keep is not None and records[-1]["epoch"] % (self.every or 1) == 0
        if self.checkpoints is not None and is_kept:
            self.checkpoints.keep(state(settled=True), None if self.keep == "all" else self.keep)
        is_due = self._pace.is_due() if self.every is None else records[-1]["epoch"] % self.every == 0
        if self.checkpoints is not None and (is_last or is_due or is_kept):
            with self._pace.timed():
                self.checkpoints.save(state())

    def at_end(self, records: list[dict[str, Any]], state: TrainingState) -> None:
        """Write the state in which training ends, such as that of the best epoch."""
        if self.monitor is not None:
            self.monitor(records, True)
        if self.checkpoints is not None:
            self.checkpoints.save(state)


def describe_progress(state: TrainingState) -> str:
    """Return in words which checkpoint a fit goes on from."""
    epoch = f"epoch {state.begin + state.epochs} of phase {state.phase!r}"
    if state.is_finished and state.phase != "head":
        return f"the training is complete, its weights after {epoch} are read from its checkpoint"
    return f"training goes on after {epoch}, from its checkpoint"


def check_differences(checkpoints: Checkpoints, differences: Sequence[str], refused: Sequence[str]) -> None:
    """Refuse a checkpoint of a run whose settings do not fit this one.

    Raises
    ------
    CheckpointError
        Naming what differs, and what to do.
    """
    found = [name for name in differences if name in refused]
    if not found:
        return
    msg = f"{checkpoints.directory} has a checkpoint of another training: {checkpoints.describe(found)}"
    hint = "" if any(name in (*FIXED, *DATA) for name in found) else ", or go on from there by warm_start=True"
    hint = f"Name another directory, or remove {checkpoints.path}{hint}. Searches and folds need checkpoint_dir=None."
    raise CheckpointError(f"{msg}. {hint}")


def describe_images(images: ImageSequence, memo: Any) -> list[Any]:
    """Return the identity of these images: a digest of all their bytes, and the steps they go through."""
    hashed = hashlib.blake2b(b"".join(source_digests(images, memo)), digest_size=16)
    if images.picks is not None:
        hashed.update(digest_of(*images.picks).encode())
    try:
        return [hashed.hexdigest(), images.describe()]
    except UnknownCodeError:
        return [hashed.hexdigest()]


def digest_of(*arrays: np.ndarray | None) -> str:
    """Return a digest of numbers."""
    hashed = hashlib.blake2b(digest_size=16)
    for array in arrays:
        hashed.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def describe_parameter(value: Any) -> Any:
    """Return a parameter as JSON types; equal ones have equal descriptions."""
    value = plain(value)
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    if isinstance(value, dict):
        return {str(name): describe_parameter(each) for name, each in value.items()}
    if isinstance(value, list):
        return [describe_parameter(each) for each in value]
    if isinstance(value, ParameterGroup):
        return {type(value).__qualname__: describe_parameter(value.get_params())}
    if hasattr(value, "get_config") and hasattr(value, "learning_rate"):  # an optimizer of Keras
        return repr(describe_optimizer(value))
    return repr(value)
