"""Threads that do one piece of work together, wait for each other, and do the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import copy_context
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import TypeAlias, TypeVar

T = TypeVar("T")
#: Called by every member with its number; the caller's is 0.
Work: TypeAlias = Callable[[int], None]


class Crew:
    """The caller and `size - 1` helpers, who are there while the crew is entered.

    A crew of one is its caller: it costs a call.
    """

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self._work: list[SimpleQueue[Work | None]] = []
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._helpers: list[Thread] = []

    def __enter__(self) -> Crew:
        for number in range(1, self.size):
            queue: SimpleQueue[Work | None] = SimpleQueue()
            # In the caller's context: how NumPy treats an overflow is part of it.
            helper = Thread(
                target=copy_context().run, args=(self._help, number, queue), daemon=True
            )
            helper.start()
            self._work.append(queue)
            self._helpers.append(helper)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for queue in self._work:
            queue.put(None)
        for helper in self._helpers:
            helper.join()

    def run(self, work: Work) -> None:
        """Return when every member has done `work`; raise what one of them raised."""
        if not self._work:
            work(0)
            return
        for queue in self._work:
            queue.put(work)
        try:
            work(0)
        finally:
            errors = [self._done.get() for _ in self._work]
        for error in errors:
            if error is not None:
                raise error

    def each(self, items: Iterable[T], work: Callable[[T, int], None]) -> None:
        """Call `work` for every item with the number of the member that took it.

        Each member takes the next item when it is done with its last.
        """
        left = iter(items)

        def take(member: int) -> None:
            for item in left:
                work(item, member)

        self.run(take)

    def _help(self, number: int, queue: SimpleQueue[Work | None]) -> None:
        while (work := queue.get()) is not None:
            try:
                work(number)
            except BaseException as error:  # it is the caller's to handle
                self._done.put(error)
            else:
                self._done.put(None)


#: For who has no one else.
ALONE = Crew()
