"""Checkpoints: the state of a training in a file, from which a fit that was killed goes on."""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skcnn._aside import aside, sync_to_disk
from skcnn._plain import plain
from skcnn.exceptions import CheckpointError, StoreWarning
from skcnn.training._state import TrainingState

FILE = "checkpoint.npz"
VERSION = 1
GROUPS = ("weights", "optimizer")
# A state that is kept: its phase, and the number of epochs.
KEPT = re.compile(r"checkpoint-(?P<phase>.+)-(?P<epoch>\d{4,})\.npz")
# Where states are put that come after the one that a training goes on from.
SUPERSEDED = "superseded"


class KeptState(NamedTuple):
    """The file of a state that is kept."""

    path: Path
    phase: str
    epoch: int


def kept_states(directory: Path) -> list[KeptState]:
    """Return the states that are kept in a directory, by phase and epoch."""
    matches = [(path, KEPT.fullmatch(path.name)) for path in directory.iterdir()]
    states = [KeptState(path, match["phase"], int(match["epoch"])) for path, match in matches if match]
    return sorted(states, key=lambda state: state[1:])


def read_checkpoint(path: Path) -> tuple[TrainingState, dict[str, Any]]:
    """Return the state in a file, and what tells its training from others.

    Raises
    ------
    FileNotFoundError
        When there is none.
    CheckpointError
        When it is damaged, or of another version.
    """
    remedy = "remove it, and the fit begins anew"
    try:
        # NumPy leaves a file open that it cannot read.
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            known = json.loads(file["known"].tobytes())
            version, counts, run = (known.pop(name) for name in ("version", "counts", "run"))
            arrays = {name: [file[f"{name}/{number}"] for number in range(count)] for name, count in counts.items()}
        weights, optimizer = (arrays.pop(name) for name in GROUPS)
        state = TrainingState(**known, weights=weights, optimizer=optimizer, callbacks=arrays)
    except (ValueError, TypeError, AttributeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged: {error}; {remedy}") from error
    if version != VERSION:
        raise CheckpointError(f"{path} is of another version of skcnn; {remedy}")
    return state, run


class Checkpoints:
    """A directory with the last state of one training, and earlier ones that are kept.

    Each is written to a temporary file, synced to disk and then renamed: it is whole, or it is the one before.

    Parameters
    ----------
    directory : path
        Made if it does not exist.
    run : dict
        What tells this training from others, as JSON types.

    Raises
    ------
    OSError
        When the directory cannot be made.
    """

    def __init__(self, directory: str | os.PathLike, run: dict[str, Any]):
        self.directory = Path(directory).expanduser()
        self.run = json.loads(json.dumps(plain(run)))
        self.path = self.directory / FILE
        self.before: dict[str, Any] = {}
        self._has_failed = False
        self.directory.mkdir(parents=True, exist_ok=True)

    def load(self) -> tuple[TrainingState, list[str]] | None:
        """Return the last state that is there, and the names of the items in which its run differs from this one.

        Raises
        ------
        CheckpointError
            When the file is damaged, or of another version.
        """
        try:
            state, self.before = read_checkpoint(self.path)
        except FileNotFoundError:
            return None
        names = {**self.before, **self.run}
        return state, [name for name in names if self.before.get(name) != self.run.get(name)]

    def describe(self, differences: list[str]) -> str:
        """Return how the run of the state that was loaded differs from this one."""
        return ", ".join(describe_change(name, self.before.get(name), self.run.get(name)) for name in differences)

    def keep(self, state: TrainingState, most: int | None) -> None:
        """Write a state that is kept, and remove those of its phase before the last so many; None keeps all."""
        self.save(state, f"checkpoint-{state.phase}-{state.begin + state.epochs:04d}.npz")
        if most is None:
            return
        try:
            ours = [each for each in kept_states(self.directory) if each.phase == state.phase]
            for each in ours[:-most]:
                each.path.unlink(missing_ok=True)
        except OSError as error:
            self._warn(self.directory, error)

    def set_aside(self, state: TrainingState | None) -> None:
        """Put states that are kept, and come after the one that training goes on from, into a folder of their own.

        Parameters
        ----------
        state : TrainingState or None
            None where training begins anew.
        """
        phases = set() if state is None else {record["phase"] for record in state.history} - {state.phase}
        try:
            for each in kept_states(self.directory):
                is_reached = (
                    state is not None and each.phase == state.phase and each.epoch <= state.begin + state.epochs
                )
                if not is_reached and each.phase not in phases:
                    (self.directory / SUPERSEDED).mkdir(exist_ok=True)
                    os.replace(each.path, self.directory / SUPERSEDED / each.path.name)
        except OSError as error:
            self._warn(self.directory, error)

    def save(self, state: TrainingState, name: str = FILE) -> None:
        """Write a state; where that fails, training goes on, with one warning."""
        path = self.directory / name
        groups = {"weights": state.weights, "optimizer": state.optimizer, **state.callbacks}
        known = {
            "version": VERSION,
            "run": self.run,
            "counts": {name: len(arrays) for name, arrays in groups.items()},
            **{name: value for name, value in vars(state).items() if name not in (*GROUPS, "callbacks")},
        }
        named: dict[str, Any] = {
            f"{name}/{number}": array for name, arrays in groups.items() for number, array in enumerate(arrays)
        }
        try:
            text = np.frombuffer(json.dumps(plain(known)).encode(), np.uint8)
            with aside(path) as partial:
                with open(partial, "wb") as file:
                    np.savez(file, known=text, **named)
                sync_to_disk(partial)
                os.replace(partial, path)
            sync_to_disk(self.directory)
        except (OSError, TypeError, ValueError) as error:  # the last two for what JSON has no form for
            self._warn(path, error)

    def _warn(self, path: Path, error: Exception) -> None:
        """Warn, once, that nothing can be written."""
        if not self._has_failed:
            msg = f"the checkpoint {path} cannot be written: {error}; training goes on without"
            warnings.warn(msg, StoreWarning, stacklevel=3)
        self._has_failed = True


def describe_change(name: str, before: Any, now: Any) -> str:
    """Return in words how a setting of a training differs from that of the checkpoint."""
    if name == "head":
        known = before or {}
        changed = [key for key in now if known.get(key) != now[key]]
        return ", ".join(describe_change(key, known.get(key), now[key]) for key in changed)
    if name == "classes":
        new, gone = [each for each in now if each not in before], [each for each in before if each not in now]
        parts = [f"{what}: {shortened(labels)}" for what, labels in (("new", new), ("gone", gone)) if labels]
        return f"classes changed ({'; '.join(parts)})"
    short = len(repr(before)) + len(repr(now)) < 64  # not the digests of data
    return f"{name} was {before!r} and is {now!r}" if short else f"{name} is another"


def shortened(labels: list[Any]) -> str:
    """Return the first few labels."""
    return ", ".join(map(repr, labels[:5])) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
