"""An event loop, run by one thread, for connections that send request after request.

Threads that answer side by side contend for the interpreter's lock about six times per
request, which costs more than answering a small one. So does passing a connection from
gunicorn's main loop to a thread and back. Here one thread waits for all busy
connections and answers each request itself. If a request takes longer than
`SLOW_SECONDS`, another thread takes over the loop.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

#: How long the loop waits for a next request, and a quiet connection stays in it.
QUIET_SECONDS = 0.02
#: How long one request may delay the others.
SLOW_SECONDS = 0.005


class Connected(Protocol):
    """An object with a file descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


log = logging.getLogger("glassnet.service")
C = TypeVar("C", bound=Connected)


class EventLoop(Generic[C]):
    """Connections, and the thread that runs the loop over them.

    `answer` is called with a readable connection and returns whether to keep it; None
    means to keep it outside the loop. `give_back` receives the connections that leave,
    with whether to keep them. `threads` provide the next thread.
    """

    def __init__(
        self,
        answer: Callable[[C], bool | None],
        give_back: Callable[[C, bool], None],
        threads: Executor,
    ) -> None:
        self._answer, self._give_back, self._threads = answer, give_back, threads
        self._readable = select.epoll()
        #: By descriptor, with the time of the last reply; not those being answered.
        self._members: dict[int, tuple[C, float]] = {}
        #: Identifies the thread that runs the loop; a thread with another one stops.
        self._leader: object | None = None
        self._lock = threading.Lock()  # guards _members and _leader
        self._answering, self._turns = False, 0
        self._in_use = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def join(self, member: C) -> None:
        """Add a connection, and run the loop unless another thread does."""
        with self._lock:
            self._place(member, self._readable.register)
            if self._leader is not None:
                return
            self._leader = leader = object()
        self._lead(leader)

    def _place(self, member: C, wait_for: Callable[[int, int], None]) -> None:
        # Before it is registered: the loop may see it at once.
        self._members[member.fileno()] = member, time.monotonic()
        # One-shot: a connection that is being answered is not polled.
        wait_for(member.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def _lead(self, leader: object) -> None:
        tidied = time.monotonic()
        while self._leader is leader:
            events = self._readable.poll(QUIET_SECONDS, 1)
            if events:
                self._turn(leader, self._members.pop(events[0][0])[0])
            now = time.monotonic()
            if not events or now > tidied + QUIET_SECONDS:
                self._tidy(leader, now - QUIET_SECONDS if events else now)
                tidied = now

    def _turn(self, leader: object, member: C) -> None:
        self._turns += 1
        self._answering = True
        if not self._in_use.is_set():
            self._in_use.set()
        try:
            keep = self._answer(member)
        except Exception:
            log.exception("a request failed")
            keep = False
        with self._lock:
            if self._leader is leader:
                self._answering = False
                if keep:
                    self._place(member, self._readable.modify)
                    return
            self._leave(member)
        self._give_back(member, keep is not False)

    def _leave(self, member: C) -> None:
        with suppress(OSError, ValueError):  # it is closed already
            self._readable.unregister(member.fileno())

    def _tidy(self, leader: object, since: float) -> None:
        """Give back quiet connections; with none left, the loop ends."""
        with self._lock:
            if self._leader is not leader:
                return
            idle = [
                self._members.pop(descriptor)[0]
                for descriptor, (_, last) in list(self._members.items())
                if last <= since
            ]
            for member in idle:
                self._leave(member)
            if not self._members:
                self._leader = None
                self._in_use.clear()
        for member in idle:
            self._give_back(member, True)

    def _watch(self) -> None:
        """Let another thread run the loop whenever a request takes long."""
        while self._in_use.wait():
            turns = self._turns
            time.sleep(SLOW_SECONDS)
            with self._lock:
                if self._answering and self._turns == turns:
                    self._answering = False
                    self._leader = leader = object()
                    with suppress(RuntimeError):  # the process is shutting down
                        self._threads.submit(self._lead, leader)
