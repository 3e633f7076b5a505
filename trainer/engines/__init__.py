"""Where the networks of an ensemble are fitted: one engine a module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from trainer.engines.base import Engine
from trainer.engines.processes import ProcessEngine
from trainer.types import Say

#: The names of the engines, as `--engine` takes them.
EngineName: TypeAlias = Literal["processes", "ray"]


@contextmanager
def open_engine(
    name: EngineName, size: int | None, threads: int, say: Say
) -> Iterator[Engine]:
    """Hold the engine of that name for up to `size` tasks at once.

    By default there is a task for each core, here or of the cluster. Each has `threads`
    BLAS threads. Only this function chooses an engine: another one is its module and
    two lines here. Raises GlassnetError for a cluster that cannot be used.
    """
    if name == "ray":
        from trainer.engines.ray import ray_engine

        with ray_engine(size, threads, say) as engine:
            yield engine
    else:
        yield ProcessEngine(size or len(os.sched_getaffinity(0)))
