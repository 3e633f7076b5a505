"""Two processes that go through the same steps, each doing its part of every one.

What one writes and the other reads lies in memory that both see (`shared`); all else a
process has for itself. They meet where one needs what the other wrote. Threads would
wait more often: NumPy asks for Python's one lock between any two products.
"""

from __future__ import annotations

import mmap
import os
import pickle
import select
import socket
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from models.types import Array
from trainer.fork import PATIENCE, Fork, placed

T = TypeVar("T")
#: Looks for the other's word before a process sleeps: to be woken takes longer than the
#: halves of a step differ.
LOOKS = 1000
_NUMBER = struct.Struct("=d")
#: More than an error says of itself.
_ERROR_BYTES = 1 << 16


def shared(array: Array) -> Array:
    """Return a copy in memory that a fork of this process goes on to share."""
    copy = np.frombuffer(mmap.mmap(-1, array.nbytes), array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class Crew:
    """Who does a piece of work: the caller is number 0. One of one waits for nobody."""

    number, size = 0, 1

    def meet(self, number: float = 0.0) -> float:
        """Return the sum of everyone's numbers when all are here."""
        return number

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Return those of the items that are this one's to do."""
        return items[self.number :: self.size]

    def once(self, work: Callable[[], object]) -> None:
        """Let the caller do what cannot be divided, while the others wait."""
        if self.number == 0:
            work()
        self.meet()


#: For who has no one else.
ALONE = Crew()


class _Half(Crew):
    """One of two, with a line to the other: a number is 8 bytes, an error is more."""

    size = 2

    def __init__(self, number: int, line: socket.socket) -> None:
        self.number = number
        self._line = line.fileno()
        self._sleep = select.poll()
        self._sleep.register(self._line, select.POLLIN)
        os.set_blocking(self._line, False)

    def meet(self, number: float = 0.0) -> float:
        """Raises what the other raised, and EOFError if it is gone."""
        try:
            os.write(self._line, _NUMBER.pack(number))
            said = self._hear()
        except ConnectionError as error:
            raise EOFError from error
        if not said:
            raise EOFError
        if len(said) != _NUMBER.size:
            raise pickle.loads(said)
        # Two numbers have one sum, whoever is first.
        return number + float(_NUMBER.unpack(said)[0])

    def _hear(self) -> bytes:
        for _ in range(LOOKS):
            try:
                return os.read(self._line, _ERROR_BYTES)
            except BlockingIOError:
                pass
        while not self._sleep.poll(PATIENCE * 1000):
            pass
        return os.read(self._line, _ERROR_BYTES)

    def fail(self, error: BaseException) -> None:
        """Tell the other why it need not wait."""
        os.write(self._line, pickle.dumps(placed(error)))


def together(size: int, work: Callable[[Crew], T]) -> T:
    """Do `work` in one process, or in two at once; return what comes in the caller.

    What comes in the helper is dropped. Raises what `work` raises in either, and
    GlassnetError where the helper was ended from outside; nobody goes on then.
    """
    if size == 1:
        return work(ALONE)
    assert size == 2
    near, far = socket.socketpair(type=socket.SOCK_SEQPACKET)

    def help() -> None:
        near.close()
        half = _Half(1, far)
        try:
            work(half)
            half.meet()
        except EOFError:  # the caller failed, and says so itself
            return
        except BaseException as error:
            half.fail(error)

    with near, far:
        helper = Fork(help)
        far.close()
        half = _Half(0, near)
        try:
            result = work(half)
            half.meet()
            return result
        except EOFError:
            helper.ended()
            raise
        finally:
            helper.end()
