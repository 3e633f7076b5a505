"""Checkpoints: an interrupted run continues from them and ends in the same bytes.

    STORE/NAME/.checkpoint-KEY/1.npz      a file for each network, replaced after epochs

KEY is a digest of the data, the settings and the network, so a run finds only the
checkpoints of an identical run. A file holds every number that the next step reads:
weights, moments, averages, the best epoch's weights, the generator and the curves. A
damaged file is ignored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from models.storage.interfaces import Scratch, StoredFile
from models.types import Array
from trainer.training.history import History
from trainer.training.loop import TrainingRun
from trainer.types import Say

#: Writing checkpoints takes at most this share of the time.
SHARE_OF_TIME = 0.03
#: The shortest time between two checkpoints.
LEAST_SECONDS = 0.5
#: Checkpoints of other runs are removed after this time.
ABANDONED_SECONDS = 7 * 86_400.0


class Checkpoints:
    """The checkpoints of one run of the trainer, one for each network."""

    def __init__(
        self,
        scratch: Callable[[str, str], Scratch],
        model: str,
        say: Say,
        *decides: object,
    ) -> None:
        """Take a store's `scratch`; `decides` is all that the numbers depend on."""
        key = hashlib.sha256(repr(decides).encode()).hexdigest()[:16]
        self.scratch = scratch(model, key)
        self._say = say
        self._said: set[str] = set()

    def file(self, number: int) -> StoredFile:
        """Return the file of a network's checkpoint, counted from 0."""
        return self.scratch.file(f"{number + 1}.npz")

    @property
    def exist(self) -> bool:
        """Whether there is a checkpoint to continue from."""
        return self.scratch.exists

    def clear(self) -> None:
        """Remove the checkpoints, and abandoned ones of other runs."""
        self.scratch.remove(ABANDONED_SECONDS)

    def say_once(self, sentence: str) -> None:
        """Say a sentence that every network would repeat, as of a full disk, once."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._say(sentence)


class Checkpoint:
    """The file that holds one network's run."""

    def __init__(self, file: StoredFile, say: Say) -> None:
        self.file = file
        self.say = say
        self.cost = 0.0
        self.saved = time.perf_counter()

    def save(self, run: TrainingRun) -> None:
        """Write the run, unless the last checkpoint is too recent.

        If the file cannot be written, say so once and continue the run.
        """
        began = time.perf_counter()
        wait = 0.0 if run.over else self.cost / SHARE_OF_TIME
        if began - self.saved < max(wait, LEAST_SECONDS):
            return
        try:
            self._write(run)
        except OSError as error:
            directory = str(self.file).rpartition("/")[0]
            self.say(
                f"no checkpoint can be written to {directory} "
                f"({error.strerror}): an interrupted run would start anew"
            )
        self.saved = time.perf_counter()
        self.cost = self.saved - began

    def _write(self, run: TrainingRun) -> None:
        """Replace the file, whole or not at all."""
        text = json.dumps(dataclasses.asdict(self._notes(run)))
        notes = np.frombuffer(text.encode(), np.uint8)
        stream = io.BytesIO()
        np.savez(stream, notes=notes, **_arrays(run))  # type: ignore[arg-type]
        self.file.write(stream.getbuffer())

    def restore(self, run: TrainingRun) -> bool:
        """Restore the run, or leave it unchanged and return False.

        No ValueError leaves it: a damaged file is reported to `say`.
        """
        arrays = _arrays(run)
        try:
            content = self.file.read()
            if content is None:
                return False
            with np.load(io.BytesIO(content)) as members:
                stored = {name: members[name] for name in members.files}
            notes = msgspec.convert(json.loads(stored.pop("notes").tobytes()), _Notes)
            if notes.place != self.file.key or _shapes(stored) != _shapes(arrays):
                raise ValueError("the checkpoint belongs to another run")
            generator = type(run.rng.bit_generator)()
            generator.state = notes.generator
        # zipfile and NumPy report damage in many ways: BadZipFile, ValueError, …
        except Exception:
            number = self.file.key.rpartition("/")[2].removesuffix(".npz")
            self.say(f"{self.file} cannot be read: network {number} starts anew")
            return False
        for name, array in arrays.items():
            array[...] = stored[name]
        run.history = notes.history
        run.optimizer.steps = notes.steps
        if run.average is not None:
            run.average.steps = notes.averaged
        run.best.loss, run.best.epoch = notes.best_loss, notes.best_epoch
        run.rng.bit_generator.state = notes.generator
        run.started = time.perf_counter() - run.history.seconds
        return True

    def _notes(self, run: TrainingRun) -> _Notes:
        return _Notes(
            place=self.file.key,
            history=run.history,
            steps=run.optimizer.steps,
            averaged=run.average.steps if run.average is not None else 0,
            best_loss=run.best.loss,
            best_epoch=run.best.epoch,
            generator=run.rng.bit_generator.state,  # type: ignore[arg-type]
        )


def _arrays(run: TrainingRun) -> dict[str, Array]:
    """Return every array that a step reads and writes, without a copy."""
    optimizer = run.optimizer
    arrays = {
        "parameters": run.network.parameters,
        "state": run.network.state,
        "best_parameters": run.best.parameters,
        "best_state": run.best.state,
        **{name: getattr(optimizer, name) for name in optimizer.state_names},
    }
    if run.average is not None:
        arrays["average_parameters"] = run.average.parameters
        arrays["average_state"] = run.average.state
    if run.snapshots is not None:
        arrays["snapshots"] = run.snapshots.parameters
        arrays["snapshot_states"] = run.snapshots.state
    return arrays


def _shapes(arrays: dict[str, Array]) -> dict[str, object]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


@dataclasses.dataclass
class _Notes:
    """The run and its plain numbers: JSON preserves every bit of a float."""

    place: str
    history: History
    steps: int
    averaged: int
    best_loss: float
    best_epoch: int
    generator: dict[str, Any]
