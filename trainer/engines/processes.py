"""Runs tasks in forks of this process.

Threads would wait for each other: between two products of a small network NumPy needs
Python's global lock (docs/benchmarks.md has the times). A fork sees all data of the
caller, without a copy. It must use NumPy and its own files only, because the threads of
polars do not exist in it.

ARCHITECTURE.md says why this is no `concurrent.futures.ProcessPoolExecutor`.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import selectors
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

from models.errors import GlassnetError
from trainer.engines.base import OnMessage, Report, ResultT, SharedT, TaskT
from trainer.engines.serial import SerialEngine

#: Seconds between two looks for a signal: polars delays Ctrl-C until a system call
#: returns (its issue 21739).
SIGNAL_SECONDS = 0.2
#: Bytes of a task's number in the pipe that hands them out, and numbers that fit in it.
NUMBER_BYTES, MAX_TASKS = 2, 1 << 14
#: Bytes in front of a worker's message that state its length, and bytes of one read.
LENGTH_BYTES, READ_BYTES = 8, 1 << 20


class ProcessEngine:
    """Runs up to `size` tasks at once, each in a process; a lone one in the caller."""

    shares_memory = True

    def __init__(self, size: int) -> None:
        self.size = size

    def map(
        self,
        function: Callable[[SharedT, TaskT, Report], ResultT],
        shared: SharedT,
        tasks: Sequence[TaskT],
        on_message: OnMessage,
    ) -> list[ResultT]:
        """Run the tasks, as `Engine.map` says; no process is left at the end.

        Raises GlassnetError if a process ends without a result.
        """
        assert len(tasks) <= MAX_TASKS
        size = min(self.size, len(tasks))
        if size <= 1:
            return SerialEngine().map(function, shared, tasks, on_message)

        def run(number: int, report: Report) -> ResultT:
            return function(shared, tasks[number], report)

        results: dict[int, ResultT] = {}
        with _workers(size, len(tasks), run) as working:
            while working.get_map():
                for key, _ in working.select(SIGNAL_SECONDS):
                    for kind, number, value in key.data.receive():
                        if kind == "error":
                            raise value
                        elif kind == "done":
                            working.unregister(key.fd)
                        elif kind == "result":
                            results[number] = value
                        else:
                            on_message(number, value)
        return [results[number] for number in range(len(tasks))]


class _Worker:
    """A process that runs tasks until none is left, and the pipe it writes to."""

    def __init__(self, numbers: int, run: Callable[[int, Report], Any]) -> None:
        self.pipe, writing = os.pipe()
        self.received = bytearray()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(
            target=_work, args=(numbers, run, writing), daemon=True
        )
        try:
            with warnings.catch_warnings():
                # About the caller's threads: a fork does not use them.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.process.start()
        except BaseException:
            os.close(self.pipe)
            raise
        finally:
            os.close(writing)

    def receive(self) -> Iterator[tuple[str, int, Any]]:
        """Read once, and yield each message that is complete: kind, task and value.

        Raises GlassnetError at the end of the pipe, which comes after every message.
        """
        content = os.read(self.pipe, READ_BYTES)
        if not content:
            raise self._lost()
        self.received += content
        while len(self.received) >= LENGTH_BYTES:
            stop = LENGTH_BYTES + int.from_bytes(self.received[:LENGTH_BYTES])
            if len(self.received) < stop:
                break
            message = pickle.loads(memoryview(self.received)[LENGTH_BYTES:stop])
            del self.received[:stop]
            yield message

    def _lost(self) -> GlassnetError:
        """Wait for the end of the process; return why it ended."""
        self.process.join()
        code = self.process.exitcode or 0
        why = (
            f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        )
        hint = ", as when memory runs out" if code == -signal.SIGKILL else ""
        return GlassnetError(f"a training process ended without a result ({why}{hint})")

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.process.close()
        os.close(self.pipe)


@contextlib.contextmanager
def _workers(
    size: int, count: int, run: Callable[[int, Report], Any]
) -> Iterator[selectors.BaseSelector]:
    """Start workers for `count` tasks; kill them when the block ends or fails."""
    numbers, writing = os.pipe()
    os.write(writing, b"".join(n.to_bytes(NUMBER_BYTES) for n in range(count)))
    os.close(writing)
    workers: list[_Worker] = []
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, numbers)
        with _interrupts_wait():
            for _ in range(size):
                workers.append(_Worker(numbers, run))
                stack.callback(workers[-1].kill)
        selector = stack.enter_context(selectors.DefaultSelector())
        for worker in workers:
            selector.register(worker.pipe, selectors.EVENT_READ, worker)
        yield selector


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


def _work(numbers: int, run: Callable[[int, Report], Any], pipe: int) -> None:
    """Run tasks and send what they report, return or raise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller handles Ctrl-C
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    with open(pipe, "wb") as file:

        def send(kind: str, number: int, value: Any = None) -> None:
            content = pickle.dumps((kind, number, value), pickle.HIGHEST_PROTOCOL)
            file.write(len(content).to_bytes(LENGTH_BYTES))
            file.write(content)
            file.flush()

        # A read takes a number out of the pipe: each task is run once.
        while content := os.read(numbers, NUMBER_BYTES):
            number = int.from_bytes(content)
            try:
                report = functools.partial(send, "message", number)
                send("result", number, run(number, report))
            except BaseException as error:
                send("error", number, _portable(error))
                return
        send("done", 0)


def _portable(error: BaseException) -> BaseException:
    """Return an error, or the nearest to it that can be pickled, with its traceback.

    SystemExit and KeyboardInterrupt become RuntimeError: raised in the caller, they
    would end it as if its user had asked for that.
    """
    portable: BaseException = RuntimeError(f"{type(error).__name__}: {error}")
    bare = functools.partial(type(error), *error.args)  # without its attributes
    for make in (lambda: error, bare) if isinstance(error, Exception) else ():
        with contextlib.suppress(Exception):
            candidate = make()
            copy = pickle.loads(pickle.dumps(candidate))
            if type(copy) is type(error) and str(copy) == str(error):
                portable = candidate
                break
    portable.add_note("".join(traceback.format_exception(error)))
    return portable


def _end_with_the_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    wait([caller.sentinel])
    os._exit(1)
