"""Answer requests: known quick ones at once, others in threads.

Threads that answer side by side contend for the interpreter's lock, which costs more
than answering a small request. So does passing it to a thread and back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

from service.middleware.rejection import REJECTION, Overloaded, shortage
from service.server import http

#: Requests that take longer are left to threads.
SLOW_SECONDS = 0.005
#: Requests that wait, for each thread.
QUEUED_PER_THREAD = 4
#: Number of kinds of requests whose cost is remembered, and the factor by which an old
#: cost counts less with each new one.
MAX_COSTS, FORGETS = 4096, 0.95


class Pool:
    """Threads; `active` counts tasks that run or wait, and who submits counts down."""

    def __init__(self, threads: int) -> None:
        self.threads, self.active = 0, 0
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        with suppress(RuntimeError):  # the process may not have this many
            for _ in range(threads):
                Thread(target=self._run, daemon=True).start()
                self.threads += 1

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task in a thread."""
        self.active += 1
        self._tasks.put(task)

    def _run(self) -> None:
        while True:
            self._tasks.get()()


class Answerer:
    """Calls an application; the event loop's thread asks it.

    A thread calls `done` with the reply, the connection and the pool.
    """

    def __init__(
        self,
        application: Any,
        threads: int,
        public_paths: frozenset[str],
        log: Any,
        done: Callable[[bytes, Any, Pool], None],
    ) -> None:
        self._application, self._public_paths = application, public_paths
        self._log, self._done = log, done
        #: Probes that are slow have a thread of their own.
        self._pool, self._probes = Pool(threads), Pool(1)
        self._limit = threads * (1 + QUEUED_PER_THREAD)
        #: Seconds that answers took lately, by path, encoding and magnitude of a body.
        self._costs: dict[tuple[str, str | None, int], float] = {}

    def answer(
        self, conn: Any, environ: dict[str, Any], size: int, keep: bool
    ) -> bytes | None:
        """Return the reply to a request with a body of `size`; None if it will come."""
        path = environ["PATH_INFO"]
        kind = path, environ.get("HTTP_CONTENT_ENCODING"), size.bit_length()
        probe = path in self._public_paths
        pool = self._probes if probe else self._pool
        # A compressed body may be of any size, and then wait for others as large.
        quick = not kind[1] and (
            self._costs.get(kind, 0.0 if probe else 1.0) < SLOW_SECONDS
        )
        if quick or REJECTION in environ or not pool.threads:
            return self._call(environ, keep, kind)
        if pool.active >= self._limit and not probe:
            environ[REJECTION] = Overloaded(
                f"{self._limit} requests run or wait in this process, its limit "
                "(GLASSNET_THREADS); try again"
            )
            return self._call(environ, keep, kind)
        pool.submit(partial(self._call_in_thread, conn, pool, environ, keep, kind))
        return None

    def _call_in_thread(self, conn: Any, pool: Pool, *request: Any) -> None:
        self._done(self._call(*request), conn, pool)

    def _call(self, environ: dict[str, Any], keep: bool, kind: Any) -> bytes:
        """Return the application's reply; remember how long it took."""
        begun, used = time.perf_counter(), time.thread_time()
        try:
            reply = http.call(self._application, environ, keep)
        except Exception as error:
            self._log.exception("a request failed")
            lacking = shortage(error)
            reply = http.refusal(
                503 if lacking else 500, str(lacking or "internal error")
            )
        # Other threads and processes take time too: waiting counts little.
        waited = time.perf_counter() - begun
        seconds = max(time.thread_time() - used, waited / 20)
        if REJECTION not in environ:
            if len(self._costs) > MAX_COSTS:
                self._costs.clear()
            self._costs[kind] = max(seconds, FORGETS * self._costs.get(kind, 0.0))
        return reply
