"""The interface of an engine: run a list of tasks and return their results.

A task is plain data, and the function that runs it is a top-level function, so an
engine may run it in this process, in another one, or on another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

SharedT = TypeVar("SharedT")
TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

#: Sends a message from a running task to the caller.
Report: TypeAlias = Callable[[Any], None]
#: Receives a task's number, from 0, and its message.
OnMessage: TypeAlias = Callable[[int, Any], None]


class Engine(Protocol):
    """Runs tasks, up to `size` of them at once.

    If tasks do not share the caller's memory, the function, what it takes, reports and
    returns must be annotated and plain data: dataclasses of JSON values and arrays.
    """

    size: int
    shares_memory: bool

    def map(
        self,
        function: Callable[[SharedT, TaskT, Report], ResultT],
        shared: SharedT,
        tasks: Sequence[TaskT],
        on_message: OnMessage,
    ) -> list[ResultT]:
        """Call `function(shared, task, report)` for each task; return the results.

        The results are in the order of the tasks. `shared` holds large data that all
        tasks need: each process gets it once. `on_message` is called in the calling
        thread, with the messages of one task in their order.

        Raises the error of the first task that fails or of `on_message`, and
        GlassnetError if a process ends without a result. The other tasks are stopped.
        """
        ...
