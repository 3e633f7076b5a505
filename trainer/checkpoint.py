"""What an interrupted run needs to end in the same bytes.

    STORE/NAME/.checkpoint-KEY/1.npz      one file a network, replaced after an epoch

KEY is a digest of the data, the settings and the network: a checkpoint is only ever
found by a run that would have made it. A file holds every number that the next step
reads: weights, moments, averages, the best so far, the generator and the curves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from models.types import Array
from trainer.loop import History, Run

#: A checkpoint is written when the last one's cost is this small a part of the time.
SHARE_OF_TIME = 0.03


class Checkpoints:
    """The checkpoints of one run of the trainer, one a network."""

    def __init__(self, home: Path, *decides: object) -> None:
        """Keep them in `home`; `decides` is all that the run's numbers depend on."""
        key = hashlib.sha256(repr(decides).encode()).hexdigest()[:16]
        self.directory = home / f".checkpoint-{key}"

    def of(self, number: int) -> Checkpoint:
        """Return that of a network, counted from 0."""
        return Checkpoint(self.directory / f"{number + 1}.npz")

    @property
    def exist(self) -> bool:
        """Whether there is one to go on from."""
        return any(self.directory.glob("*.npz"))

    def clear(self) -> None:
        """Remove them, and the directories that were made for them alone."""
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.directory.parent.rmdir()
            self.directory.parent.parent.rmdir()


class Checkpoint:
    """Where one network's run is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cost = 0.0
        self.saved = 0.0

    def save(self, run: Run) -> None:
        """Write down the run as it stands, unless that was done a moment ago."""
        began = time.perf_counter()
        if not run.over and self.cost > (began - self.saved) * SHARE_OF_TIME:
            return
        hidden = self.path.with_suffix(f".{os.getpid()}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        notes = np.frombuffer(json.dumps(_notes(run)).encode(), np.uint8)
        with hidden.open("wb") as file:
            np.savez(file, notes=notes, **_arrays(run))  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(self.path)
        self.saved = time.perf_counter()
        self.cost = self.saved - began

    def restore(self, run: Run) -> bool:
        """Put the run where it was left; return whether there was anything to find."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            notes = json.loads(found.pop("notes").tobytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False  # none, or damaged: the run starts anew
        for name, array in _arrays(run).items():
            array[...] = found[name]
        run.history = History(**notes["history"])
        run.optimizer.steps = notes["steps"]
        if run.average is not None:
            run.average.steps = notes["averaged"]
        run.best.loss, run.best.epoch = notes["best"]
        run.rng.bit_generator.state = notes["generator"]
        run.started = time.perf_counter() - run.history.seconds
        return True


def _arrays(run: Run) -> dict[str, Array]:
    """Return every array that a step reads and writes, as it stands."""
    optimizer = run.optimizer
    found = {
        "parameters": run.network.parameters,
        "state": run.network.state,
        "best_parameters": run.best.parameters,
        "best_state": run.best.state,
        **{name: getattr(optimizer, name) for name in optimizer.memories},
    }
    if run.average is not None:
        found["average_parameters"] = run.average.parameters
        found["average_state"] = run.average.state
    return found


def _notes(run: Run) -> dict[str, Any]:
    """Return everything else: JSON keeps a float to its last bit."""
    return {
        "history": dataclasses.asdict(run.history),
        "steps": run.optimizer.steps,
        "averaged": run.average.steps if run.average is not None else 0,
        "best": [run.best.loss, run.best.epoch],
        "generator": run.rng.bit_generator.state,
    }
