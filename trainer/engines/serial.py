"""Runs tasks one after the other, in the process of the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from trainer.engines.base import OnMessage, Report, ResultT, SharedT, TaskT


class SerialEngine:
    """The engine for a lone network, or a single core."""

    size = 1
    shares_memory = True

    def map(
        self,
        function: Callable[[SharedT, TaskT, Report], ResultT],
        shared: SharedT,
        tasks: Sequence[TaskT],
        on_message: OnMessage,
    ) -> list[ResultT]:
        """Run the tasks, as `Engine.map` says; messages are passed on unchanged."""
        return [
            function(shared, task, partial(on_message, number))
            for number, task in enumerate(tasks)
        ]
