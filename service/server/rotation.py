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
        self._connections: dict[int, tuple[C, float]] = {}
        #: Identifies the thread that runs the loop; a thread with another one stops.
        self._current: object | None = None
        self._lock = threading.Lock()  # guards _connections and _current
        self._answering, self._answers = False, 0
        self._running = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def add(self, connection: C) -> None:
        """Add a connection, and run the loop unless another thread does."""
        with self._lock:
            self._register(connection, self._readable.register)
            if self._current is not None:
                return
            self._current = token = object()
        self._run(token)

    def _register(self, connection: C, wait_for: Callable[[int, int], None]) -> None:
        # Before it is registered: the loop may see it at once.
        self._connections[connection.fileno()] = connection, time.monotonic()
        # One-shot: a connection that is being answered is not polled.
        wait_for(connection.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def _run(self, token: object) -> None:
        released = time.monotonic()
        while self._current is token:
            events = self._readable.poll(QUIET_SECONDS, 1)
            if events:
                self._answer_one(token, self._connections.pop(events[0][0])[0])
            now = time.monotonic()
            if not events or now > released + QUIET_SECONDS:
                self._release_quiet(token, now - QUIET_SECONDS if events else now)
                released = now

    def _answer_one(self, token: object, connection: C) -> None:
        self._answers += 1
        self._answering = True
        if not self._running.is_set():
            self._running.set()
        try:
            keep = self._answer(connection)
        except Exception:
            log.exception("a request failed")
            keep = False
        with self._lock:
            if self._current is token:
                self._answering = False
                if keep:
                    self._register(connection, self._readable.modify)
                    return
            self._remove(connection)
        self._give_back(connection, keep is not False)

    def _remove(self, connection: C) -> None:
        with suppress(OSError, ValueError):  # it is closed already
            self._readable.unregister(connection.fileno())

    def _release_quiet(self, token: object, since: float) -> None:
        """Give back quiet connections; with none left, the loop ends."""
        with self._lock:
            if self._current is not token:
                return
            idle = [
                self._connections.pop(descriptor)[0]
                for descriptor, (_, last) in list(self._connections.items())
                if last <= since
            ]
            for connection in idle:
                self._remove(connection)
            if not self._connections:
                self._current = None
                self._running.clear()
        for connection in idle:
            self._give_back(connection, True)

    def _watch(self) -> None:
        """Let another thread run the loop whenever a request takes long."""
        while self._running.wait():
            answers = self._answers
            time.sleep(SLOW_SECONDS)
            with self._lock:
                if self._answering and self._answers == answers:
                    self._answering = False
                    self._current = token = object()
                    with suppress(RuntimeError):  # the process is shutting down
                        self._threads.submit(self._run, token)
