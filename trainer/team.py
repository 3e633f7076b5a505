"""Processes that share out pieces of work, numbered from 0: the caller is one of them.

Threads would wait for each other. Between two products of a small network NumPy asks
for Python's one lock again and again, and two threads took 1.4 to 2.2 times as long for
each step as one alone (docs/benchmarks.md); two processes take no longer.

A helper is a fork: it sees what the caller had, none of it is copied until it is
changed, and what it sends back comes through a pipe. It must stay with NumPy and its
own files: polars' threads are not there any more. It ends when the caller does, however
that is.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, TypeAlias, TypeVar

from models.errors import GlassnetError

T = TypeVar("T")
#: Takes what a piece of work says while it is done.
Tell: TypeAlias = Callable[[Any], None]
#: Of more pieces a byte would not hold the number.
MOST = 256
#: Seconds that Ctrl-C may go unseen: polars makes it wait for the end of a wait (its
#: issue 21739).
PATIENCE = 0.2


class _Result:
    """What came of a piece, as opposed to what it says."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Failure:
    """Why a helper ended; where in the code is a note on the error."""

    def __init__(self, error: BaseException) -> None:
        error.add_note("".join(traceback.format_exception(error)))
        self.error = error


def share_out(
    count: int,
    size: int,
    work: Callable[[int, Tell], T],
    heard: Callable[[int, Any], None],
) -> list[T]:
    """Do `work` for the numbers 0 to `count` - 1, `size` at once; return what comes.

    The caller does the first itself. `heard` is called in the caller alone, with the
    number and what was told of it, the caller's own at once and the others' soon.
    Raises what `work` or `heard` raises, and GlassnetError where a helper was ended
    from outside; nobody goes on then.
    """
    assert 0 < count <= MOST
    results: dict[int, T] = {}
    numbers = _written(range(1, count))
    with _helpers(min(size, count) - 1, numbers, work) as helpers:

        def listen(seconds: float) -> None:
            open_ones = [helper for helper in helpers if not helper.pipe.closed]
            ready = wait([helper.pipe for helper in open_ones], seconds)
            for helper in open_ones:
                # All there is: a helper whose pipe is full would wait.
                if helper.pipe in ready:
                    while not helper.pipe.closed and helper.pipe.poll():
                        take(helper)

        def take(helper: _Helper) -> None:
            try:
                number, message = helper.pipe.recv()
            except (EOFError, OSError):  # the second: in the middle of a message
                helper.end()
                return
            if isinstance(message, _Failure):
                raise message.error
            if isinstance(message, _Result):
                results[number] = message.value
            else:
                heard(number, message)

        def own(number: int) -> None:
            def tell(message: Any) -> None:
                heard(number, message)
                listen(0.0)

            results[number] = work(number, tell)

        own(0)
        for number in _read(numbers):
            own(number)
        while any(not helper.pipe.closed for helper in helpers):
            listen(PATIENCE)
    return [results[number] for number in range(count)]


def _written(numbers: Sequence[int]) -> int:
    """Return a pipe with these numbers: whoever reads the next has it alone."""
    reading, writing = os.pipe()
    os.write(writing, bytes(numbers))
    os.close(writing)
    return reading


def _read(pipe: int) -> Iterator[int]:
    while number := os.read(pipe, 1):
        yield number[0]


class _Helper:
    """A process that does pieces until none is left."""

    def __init__(self, numbers: int, work: Callable[[int, Tell], Any]) -> None:
        self.pipe, far = multiprocessing.Pipe(duplex=False)
        fork = multiprocessing.get_context("fork")
        self.process: ForkProcess = fork.Process(
            target=_help, args=(numbers, work, far), daemon=True
        )
        with warnings.catch_warnings():
            # Of threads that are not there in the fork: it does not ask for them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        far.close()

    def end(self) -> None:
        """Take its end; GlassnetError if it did not come by itself."""
        self.pipe.close()
        self.process.join()
        code = self.process.exitcode or 0
        if code:
            why = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
            hint = ", as when memory runs out" if code == -signal.SIGKILL else ""
            raise GlassnetError(
                f"a process that fitted networks was ended from outside ({why}{hint})"
            )


@contextmanager
def _helpers(
    count: int, numbers: int, work: Callable[[int, Tell], Any]
) -> Iterator[list[_Helper]]:
    """Start helpers; when the caller is done or fails, none is left."""
    helpers: list[_Helper] = []
    try:
        for _ in range(count):
            helpers.append(_Helper(numbers, work))
        yield helpers
    finally:
        os.close(numbers)
        for helper in helpers:
            helper.process.kill()
            helper.process.join()
            helper.pipe.close()


def _help(
    numbers: int, work: Callable[[int, Tell], Any], pipe: Connection[Any, Any]
) -> None:
    """Do pieces and send what comes of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    for number in _read(numbers):

        def tell(message: Any, number: int = number) -> None:
            pipe.send((number, message))

        try:
            tell(_Result(work(number, tell)))
        except BaseException as error:
            tell(_Failure(error))
            return


def _end_with_the_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    wait([caller.sentinel])
    os._exit(1)
