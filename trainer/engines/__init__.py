"""Where the networks of an ensemble are fitted: one engine a module."""

from __future__ import annotations

import os

from trainer.engines.base import Engine
from trainer.engines.processes import ProcessEngine


def make_engine(size: int | None = None) -> Engine:
    """Return the engine for `size` tasks at once, by default one for each core.

    Only this function chooses an engine: another one is its module and a line here.
    """
    return ProcessEngine(size or len(os.sched_getaffinity(0)))
