"""Runs tasks in forks of this process.

Threads would wait for each other: between two products of a small network NumPy asks
for Python's one lock (docs/benchmarks.md has the times). A fork sees everything that
the caller has, without a copy. It must stay with NumPy and its own files, because the
threads of polars do not exist in it.

ARCHITECTURE.md says why this is no `concurrent.futures.ProcessPoolExecutor`.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import Any, TypeAlias

from models.errors import GlassnetError
from trainer.engines.base import OnMessage, Report, ResultT, SharedT, TaskT
from trainer.engines.serial import SerialEngine

#: Seconds between two looks for a signal: polars delays Ctrl-C until a system call
#: returns (its issue 21739).
SIGNAL_SECONDS = 0.2
#: Bytes of a task's number in the pipe that hands them out, and numbers that fit in it.
NUMBER_BYTES, MAX_TASKS = 2, 1 << 14
#: A worker's last message.
DONE = b""

#: What arrived from which worker; None is the end of a process that was not done.
_Inbox: TypeAlias = "queue.SimpleQueue[tuple[_Worker, bytes | None]]"


class ProcessEngine:
    """Runs up to `size` tasks at once, each in a process; a lone one in the caller."""

    def __init__(self, size: int) -> None:
        self.size = size

    def map(
        self,
        function: Callable[[SharedT, TaskT, Report], ResultT],
        shared: SharedT,
        tasks: Sequence[TaskT],
        on_message: OnMessage,
    ) -> list[ResultT]:
        """Run the tasks, as `Engine.map` says; no process is left at the end."""
        assert len(tasks) <= MAX_TASKS
        size = min(self.size, len(tasks))
        if size <= 1:
            return SerialEngine().map(function, shared, tasks, on_message)

        def run(number: int, report: Report) -> ResultT:
            return function(shared, tasks[number], report)

        results: dict[int, ResultT] = {}
        inbox: _Inbox = queue.SimpleQueue()
        with _workers(size, len(tasks), run, inbox) as workers:
            working = len(workers)
            while working:
                try:
                    worker, content = inbox.get(timeout=SIGNAL_SECONDS)
                except queue.Empty:
                    continue
                if content is None:
                    raise worker.lost()
                if content == DONE:
                    working -= 1
                    continue
                kind, number, value = pickle.loads(content)
                if kind == "error":
                    raise value
                if kind == "result":
                    results[number] = value
                else:
                    on_message(number, value)
        return [results[number] for number in range(len(tasks))]


class _Worker:
    """A process that runs tasks until none is left, and a thread that reads from it."""

    def __init__(
        self,
        numbers: int,
        run: Callable[[int, Report], Any],
        inbox: _Inbox,
    ) -> None:
        self.inbox = inbox
        self.pipe, far = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("fork")
        self.process: ForkProcess = context.Process(
            target=_work, args=(numbers, run, far), daemon=True
        )
        with far, warnings.catch_warnings():
            # About the caller's threads: a fork does not use them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        self.reader = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        """Pass on what arrives: the end of the pipe comes after everything in it.

        A thread, because the caller must notice Ctrl-C in the middle of a message.
        """
        content: bytes | None = None
        while content != DONE:
            try:
                content = self.pipe.recv_bytes()
            except (EOFError, OSError):  # the second: in the middle of a message
                self.inbox.put((self, None))
                return
            self.inbox.put((self, content))

    def lost(self) -> GlassnetError:
        """Wait for the end of the process; return why it ended."""
        self.process.join()
        code = self.process.exitcode or 0
        why = (
            f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        )
        hint = ", as when memory runs out" if code == -signal.SIGKILL else ""
        return GlassnetError(
            f"a process that helped to train ended before it was done ({why}{hint})"
        )

    def kill(self) -> None:
        """End the process wherever it is."""
        self.process.kill()
        self.process.join()
        if self.reader.ident is not None:
            self.reader.join()
        self.pipe.close()
        self.process.close()


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Handle Ctrl-C after the block, so that every process in it is started and known.

    Python drops an exception of a signal's handler that arrives within a hook of
    `os.fork`. A blocked signal would not do: it goes to another thread, as of OpenBLAS.
    """
    handler = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(handler):  # not ours to handle, ignored, or deadly
        yield
        return
    interrupts: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if interrupts:
        handler(signal.SIGINT, interrupts[0])


@contextlib.contextmanager
def _workers(
    size: int,
    count: int,
    run: Callable[[int, Report], Any],
    inbox: _Inbox,
) -> Iterator[list[_Worker]]:
    """Start workers for `count` tasks; kill them when the block ends or fails."""
    numbers, writing = os.pipe()
    os.write(writing, b"".join(n.to_bytes(NUMBER_BYTES) for n in range(count)))
    os.close(writing)
    workers: list[_Worker] = []
    try:
        with _interrupts_wait():
            for _ in range(size):
                workers.append(_Worker(numbers, run, inbox))
            for worker in workers:  # only now, so that no fork has another's thread
                worker.reader.start()
        yield workers
    finally:
        os.close(numbers)
        for worker in workers:
            worker.kill()


def _work(
    numbers: int, run: Callable[[int, Report], Any], pipe: Connection[Any, Any]
) -> None:
    """Run tasks and send what they report, return or raise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller handles Ctrl-C
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    # A read takes a number out of the pipe: each task is run once.
    while content := os.read(numbers, NUMBER_BYTES):
        number = int.from_bytes(content)

        def report(message: Any, number: int = number) -> None:
            pipe.send(("message", number, message))

        try:
            pipe.send(("result", number, run(number, report)))
        except BaseException as error:
            pipe.send(("error", number, _portable(error)))
            return
    pipe.send_bytes(DONE)


def _portable(error: BaseException) -> BaseException:
    """Return an error, or the nearest to it that can be pickled, with its traceback.

    SystemExit and KeyboardInterrupt become RuntimeError: raised in the caller, they
    would end it as if its user had asked for that.
    """
    found: BaseException = RuntimeError(f"{type(error).__name__}: {error}")
    bare = functools.partial(type(error), *error.args)  # without its attributes
    for make in (lambda: error, bare) if isinstance(error, Exception) else ():
        with contextlib.suppress(Exception):
            candidate = make()
            copy = pickle.loads(pickle.dumps(candidate))
            if type(copy) is type(error) and str(copy) == str(error):
                found = candidate
                break
    found.add_note("".join(traceback.format_exception(error)))
    return found


def _end_with_the_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    wait([caller.sentinel])
    os._exit(1)
