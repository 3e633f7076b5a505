"""The code of a machine of a Ray cluster: a task, and the mailbox for its reports.

Ray is not imported here: it calls `run_task`, and makes an actor of `Mailbox`.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from models.errors import GlassnetError
from trainer.engines.blas import Blas, find_blas
from trainer.engines.wire import Arrays, Failure, RemoteFunction, build, flatten, pack

#: Seconds between messages of a task: those in between travel with the next.
REPORT_SECONDS = 0.1


class Environment(msgspec.Struct, frozen=True):
    """The versions and hardware that the bytes of a network depend on."""

    glassnet: str
    numpy: str
    blas: Blas

    def __str__(self) -> str:
        return f"glassnet {self.glassnet}, NumPy {self.numpy}, {self.blas}"


def find_environment(threads: int) -> Environment:
    """Return that of this process, with so many BLAS threads."""
    with threadpool_limits(threads, user_api="blas"):
        blas = find_blas()
    return Environment(importlib.metadata.version("glassnet"), np.__version__, blas)


class Mailbox:
    """Passes messages of running tasks on to the caller, which waits in `take`.

    It does so in bytes that `pack` made.
    """

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._news = asyncio.Event()
        self._answers: dict[int, asyncio.Future[str]] = {}

    async def put(self, task: int, messages: list[str]) -> None:
        """Add a task's messages."""
        self._add(Item(task, messages))

    async def write(self, task: int, content: bytes) -> str:
        """Have a task's file written; return why it could not be, or nothing."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[task] = answer
        self._add(Item(task, [], np.frombuffer(content, np.uint8)))
        return await answer

    async def take(self, answers: bytes, wait: bool = True) -> bytes:
        """Answer what was to be written, and return the items since the last call."""
        for task, answer in msgspec.json.decode(answers, type=list[tuple[int, str]]):
            waiting = self._answers.pop(task, None)
            if waiting is not None and not waiting.done():  # its worker may have gone
                waiting.set_result(answer)
        if wait:
            await self._news.wait()
        self._news.clear()
        items, self._items = self._items, []
        return pack(items)

    def _add(self, item: Item) -> None:
        self._items.append(item)
        self._news.set()


class Item(msgspec.Struct):
    """Messages of a task as JSON, or the new content of its file."""

    task: int
    messages: list[str]
    content: np.ndarray[Any, np.dtype[np.uint8]] | None = None


class Reporter:
    """Sends a task's messages to the mailbox, several at once if they come fast.

    `send` and `write` call the mailbox; `write` waits for its answer.
    """

    def __init__(
        self, send: Callable[[list[str]], object], write: Callable[[bytes], str]
    ) -> None:
        self._send, self._write = send, write
        self._pending: list[str] = []
        self._sent = 0.0

    def report(self, message: Any) -> None:
        """Send a message, now or with the next."""
        self._pending.append(flatten(message)[0])
        if time.monotonic() - self._sent >= REPORT_SECONDS:
            self.flush()

    def flush(self) -> object:
        """Send what was held back."""
        self._sent = time.monotonic()
        pending, self._pending = self._pending, []
        return self._send(pending)

    def write(self, content: bytes) -> None:
        """Have the task's file written; raises OSError."""
        if why := self._write(content):
            raise OSError(0, why)


def run_task(
    name: str,
    expected: str,
    shared: tuple[str, Arrays],
    task: tuple[str, Arrays],
    reporter: Reporter,
) -> bytes:
    """Run the function of that name; return its result or its error, packed.

    The first byte tells which: + or −.
    """
    try:
        wanted = msgspec.json.decode(expected, type=Environment)
        check_environment(wanted, find_environment(wanted.blas.threads))
        function = RemoteFunction.named(name)
        with threadpool_limits(wanted.blas.threads, user_api="blas"):
            result = function.call(
                build(function.shared, *shared),
                build(function.task, *task, write=reporter.write),
                reporter.report,
            )
        return b"+" + pack(result)
    except BaseException as error:
        text = traceback.format_exc()
        return b"-" + pack(Failure(type(error).__name__, str(error), text))


def check_environment(expected: Environment, found: Environment) -> None:
    """Raise GlassnetError if this node, `found`, would compute other bytes."""
    if found != expected:
        raise GlassnetError(mixture(expected, {platform.node(): found}))


def mixture(expected: Environment, others: dict[str, Environment]) -> str:
    """Return the sentence on nodes that differ from the caller's, `expected`."""
    nodes = "; ".join(f"{node} has {found}" for node, found in others.items())
    return (
        f"nodes of the cluster differ from this machine ({expected}), so the same seed "
        f"would not give the same bytes: {nodes}. Install the same versions; "
        "OPENBLAS_CORETYPE=Haswell trainer … chooses a kernel that most processors have"
    )
