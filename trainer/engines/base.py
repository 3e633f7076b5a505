"""What training asks of an engine: run a list of tasks and return their results.

A task is plain data, and the function that runs it is a top-level function. So an
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
    """Runs tasks: one after the other, or several at once."""

    def map(
        self,
        function: Callable[[SharedT, TaskT, Report], ResultT],
        shared: SharedT,
        tasks: Sequence[TaskT],
        on_message: OnMessage,
    ) -> list[ResultT]:
        """Call `function(shared, task, report)` for each task; return the results.

        The results are in the order of the tasks. `shared` is for what is large and
        the same for all tasks: each process gets it once. `on_message` is called in
        the calling thread, with the messages of one task in their order.

        Raises what the first failing task or `on_message` raises, and GlassnetError if
        a process ends without a result. The other tasks are stopped then.
        """
        ...
