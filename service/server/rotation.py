"""Connections that are asked again at once, answered by one thread in rotation.

Threads that answer side by side take the interpreter's lock from each other wherever
one lets go of it, half a dozen times a request, and that costs more than to answer a
small one; so does handing a connection from gunicorn's loop to a thread and back. So
one thread leads: it waits for all connections in rotation and answers each that asks.
A request that takes long holds up the others for a moment only. Then another thread
leads, and the one before is free of them when it is done.
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

#: How long a leader waits for a next request, and a connection keeps its place.
QUIET_SECONDS = 0.02
#: How long one request may hold up the others.
SLOW_SECONDS = 0.005


class Connected(Protocol):
    """What has a descriptor to wait for."""

    def fileno(self) -> int:
        """Return the descriptor."""


log = logging.getLogger("glassnet.service")
C = TypeVar("C", bound=Connected)


class EventLoop(Generic[C]):
    """Who is in rotation, and who leads.

    `answer` is called with a connection that can be read, and returns whether it is
    kept; None if it is, but not here. `give_back` gets those that leave, with whether
    they are kept. `threads` are where the next leader comes from.
    """

    def __init__(
        self,
        answer: Callable[[C], bool | None],
        give_back: Callable[[C, bool], None],
        threads: Executor,
    ) -> None:
        self._answer, self._give_back, self._threads = answer, give_back, threads
        self._readable = select.epoll()
        #: By descriptor, with the time of the last answer; not who is being answered.
        self._members: dict[int, tuple[C, float]] = {}
        #: What only the leader has: whoever has another leads no more.
        self._leader: object | None = None
        self._lock = threading.Lock()  # of the two
        self._answering, self._turns = False, 0
        self._in_use = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def join(self, member: C) -> None:
        """Put a connection into rotation; return when this thread need not lead it."""
        with self._lock:
            self._place(member, self._readable.register)
            if self._leader is not None:
                return
            self._leader = leader = object()
        self._lead(leader)

    def _place(self, member: C, wait_for: Callable[[int, int], None]) -> None:
        # First: the leader may see it at once.
        self._members[member.fileno()] = member, time.monotonic()
        # Of one request only: who is being answered is not waited for.
        wait_for(member.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def _lead(self, leader: object) -> None:
        tidied = time.monotonic()
        while self._leader is leader:
            asking = self._readable.poll(QUIET_SECONDS, 1)
            if asking:
                self._turn(leader, self._members.pop(asking[0][0])[0])
            now = time.monotonic()
            if not asking or now > tidied + QUIET_SECONDS:
                self._tidy(leader, now - QUIET_SECONDS if asking else now)
                tidied = now

    def _turn(self, leader: object, member: C) -> None:
        self._turns += 1
        self._answering = True
        if not self._in_use.is_set():
            self._in_use.set()
        try:
            kept = self._answer(member)
        except Exception:
            log.exception("a request was not answered")
            kept = False
        with self._lock:
            if self._leader is leader:
                self._answering = False
                if kept:
                    self._place(member, self._readable.modify)
                    return
            self._leave(member)
        self._give_back(member, kept is not False)

    def _leave(self, member: C) -> None:
        with suppress(OSError, ValueError):  # it is closed already
            self._readable.unregister(member.fileno())

    def _tidy(self, leader: object, since: float) -> None:
        """Give back who has not asked since; with nobody left, there is no leader."""
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
        """Have another thread lead whenever one request takes long."""
        while self._in_use.wait():
            turns = self._turns
            time.sleep(SLOW_SECONDS)
            with self._lock:
                if self._answering and self._turns == turns:
                    self._answering = False
                    self._leader = leader = object()
                    with suppress(RuntimeError):  # it is the end of the process
                        self._threads.submit(self._lead, leader)
