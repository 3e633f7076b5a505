"""Processes that share out pieces of work, numbered from 0: the caller is one of them.

Threads would wait for each other. Between two products of a small network NumPy asks
for Python's one lock again and again, and two threads took 1.4 to 2.2 times as long for
each step as one alone (docs/benchmarks.md); two processes take no longer.

A helper is a fork, and what it sends back comes through a pipe.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias, TypeVar

from trainer.fork import PATIENCE, Fork, placed

T = TypeVar("T")
#: Takes what a piece of work says while it is done.
Tell: TypeAlias = Callable[[Any], None]
#: Of more pieces a byte would not hold the number.
MOST = 256


class _Result:
    """What came of a piece, as opposed to what it says."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Failure:
    """Why a helper ended."""

    def __init__(self, error: BaseException) -> None:
        self.error = placed(error)


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
        self.fork = Fork(lambda: _help(numbers, work, far))
        far.close()

    def end(self) -> None:
        """Take its end; GlassnetError if it did not come by itself."""
        self.pipe.close()
        self.fork.ended()


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
            helper.fork.end()
            helper.pipe.close()


def _help(
    numbers: int, work: Callable[[int, Tell], Any], pipe: Connection[Any, Any]
) -> None:
    """Do pieces and send what comes of them."""
    for number in _read(numbers):

        def tell(message: Any, number: int = number) -> None:
            pipe.send((number, message))

        try:
            tell(_Result(work(number, tell)))
        except BaseException as error:
            tell(_Failure(error))
            return
