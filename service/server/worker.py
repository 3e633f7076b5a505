"""gunicorn's threaded worker, changed so that slow clients occupy few threads.

In gunicorn's own, a thread waits for a connection's first bytes, for the rest of its
head and, without limit, for the rest of its body, and the main loop waits for clients
that do not close. Here the main loop waits for heads and for clients to close, for all
connections at once. A thread still waits for a body and for a client to read the reply,
up to `read_seconds` per pause.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections import deque
from concurrent.futures import Executor, Future
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache, partial
from selectors import EVENT_READ
from typing import Any

import msgspec
from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.wsgi import Response
from gunicorn.workers.gthread import TConn, ThreadWorker

from service.server.rotation import EventLoop

#: The main loop waits for heads up to this many bytes; longer ones take a thread.
MAX_HEAD_BYTES = 16 << 10
#: How long to wait for the client to close, so that its last reply arrives.
LINGER_SECONDS = 2.0
#: How long a thread reads a body that the view did not, to keep the connection.
DRAIN_SECONDS = 0.2
#: Result of `handle` for a connection that the event loop has.
STAYS = object()


class Connection(TConn):  # type: ignore[misc]
    """A connection whose graceful close does not block the main loop."""

    def __init__(self, worker: Worker, *args: Any) -> None:
        super().__init__(*args)
        self.worker = worker
        #: Bytes that must arrive before the main loop is woken (SO_RCVLOWAT).
        self.wanted = 1

    def fileno(self) -> int:
        """Return the file descriptor of the socket."""
        return int(self.sock.fileno())

    def close(self, graceful: bool = False) -> None:
        """Close it; if gracefully, after the client has read the reply."""
        if graceful:
            self.worker.linger(self)
        else:
            super().close()


class _Gathered(list[bytes]):
    """Stand in for a socket and collect what is written."""

    sendall = list.append


class OneWriteResponse(Response):  # type: ignore[misc]
    """A reply that sends head and body in one write, hence in one packet."""

    sock: Any

    def write(self, content: bytes) -> None:
        """Write a part of the body, together with the head before it."""
        sock = self.sock
        self.sock = gathered = _Gathered()
        try:
            super().write(content)
            sock.sendall(b"".join(gathered))
        finally:
            self.sock = sock


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's `worker_class`; `post_fork` sets `read_seconds`."""

    read_seconds = 10.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lingering: deque[Connection] = deque()
        wsgi.Response = OneWriteResponse  # gunicorn has no setting for it

    def init_process(self) -> None:
        """Start, after the fork."""
        # Config looks a setting up by name each time, dozens of times per request.
        settings = self.cfg.settings.items()
        self.cfg.__dict__ |= {name: setting.get() for name, setting in settings}
        super().init_process()

    def get_thread_pool(self) -> Executor:
        """Return the threads that answer; one of them runs the event loop."""
        threads: Executor = super().get_thread_pool()
        self.event_loop = EventLoop(self._answer_next, self._give_back, threads)
        return threads

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection and wait for its first request without a thread."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        whole, part = divmod(self.read_seconds, 1)
        limit = struct.pack("ll", int(whole), int(part * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            client.setsockopt(socket.SOL_SOCKET, option, limit)
        self.nr_conns += 1
        self._wait(Connection(self, self.cfg, client, address, listener.getsockname()))

        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _make_room(self) -> None:
        """Close the idle connection that has waited longest."""
        for waiting in (self.pending_conns, self.keepalived_conns):
            if waiting:
                oldest = waiting.popleft()
                self.poller.unregister(oldest.sock)
                self.nr_conns -= 1
                oldest.close()
                return

    def _wait(self, conn: Connection) -> None:
        conn.timeout = time.monotonic() + self.read_seconds
        conn.data_ready = True  # when a thread gets it
        self.pending_conns.append(conn)
        ready = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, EVENT_READ, ready)

    def on_pending_socket_readable(self, conn: Connection, client: Any) -> None:
        """Pass a new connection to a thread once its head is complete."""
        if self._has_head(conn):
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Connection, client: Any) -> None:
        """Pass a kept connection to a thread once its head is complete."""
        if self._has_head(conn):
            super().on_client_socket_readable(conn, client)
        else:
            self.poller.unregister(client)
            self.keepalived_conns.remove(conn)
            self._wait(conn)

    def _has_head(self, conn: Connection) -> bool:
        if self.cfg.is_ssl:  # only a thread can decrypt the head
            return True
        try:
            seen = conn.sock.recv(MAX_HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return True  # a thread handles the error
        ended = len(seen) < conn.wanted  # woken by fewer bytes than the low-water mark
        whole = ended or b"\r\n\r\n" in seen or len(seen) == MAX_HEAD_BYTES
        # Otherwise the same bytes wake the loop again (socket(7)).
        wanted = 1 if whole else len(seen) + 1
        if wanted != conn.wanted:
            conn.wanted = wanted
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
        return whole

    def handle(self, conn: Connection) -> Any:
        """Answer a request, then pass a kept connection to the event loop."""
        keep = self._answer(conn)
        if keep:
            self.event_loop.add(conn)
            return STAYS
        return keep is None

    def _answer_next(self, conn: Connection) -> bool | None:
        return self._answer(conn) if self._has_head(conn) else None

    def _answer(self, conn: Connection) -> bool | None:
        """Answer a request; return whether to keep the connection.

        None means to keep it in the main loop.
        """
        if super().handle(conn) is not True:
            return False
        more = conn.parser.unreader.buf.tell() or self.cfg.is_ssl or not self.alive
        return None if more else True

    def finish_request(self, conn: Connection, done: Future[Any]) -> None:
        """Wait for the next request or close, unless the event loop does."""
        if done.cancelled() or done.result() is not STAYS:
            super().finish_request(conn, done)

    def _give_back(self, conn: Connection, keep: bool) -> None:
        done: Future[bool] = Future()
        done.set_result(keep)
        self.method_queue.defer(self.finish_request, conn, done)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Tell whether to keep a connection: not if its body is slow to arrive."""
        if keepalive and getattr(conn.parser.mesg.body.reader, "length", None) == 0:
            return True  # the body has been read
        deadline = time.monotonic() + DRAIN_SECONDS
        # Any number of bytes: the deadline is limit enough.
        return keepalive and bool(conn.parser.finish_body(deadline, sys.maxsize))

    def linger(self, conn: Connection) -> None:
        """Shut down sending, then read until the client closes.

        Closing at once could reset the connection before the client has read the reply.
        """
        self.nr_conns += 1
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self.lingering.append(conn)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, EVENT_READ, partial(self._discard, conn))
        except (OSError, ValueError):  # it is closed already
            self._end(conn)

    def _discard(self, conn: Connection, client: Any) -> None:
        try:
            over = not client.recv(1 << 16)
        except BlockingIOError:
            over = False
        except OSError:
            over = True
        if over:
            self._end(conn)

    def _end(self, conn: Connection) -> None:
        self.lingering.remove(conn)
        with suppress(OSError, ValueError, KeyError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Close connections without a request in time, and lingering ones."""
        now = time.monotonic()
        if self.pending_conns and self.pending_conns[0].timeout <= now:
            # If the loop itself is late, a request may have arrived in time.
            self.wait_for_and_dispatch_events(timeout=0)
        super().murder_pending()
        while self.lingering and self.lingering[0].timeout <= now:
            self._end(self.lingering[0])

    def _cap_keepalive(self, deadline: float) -> None:
        """On shutdown, wait for first requests no longer than for later ones."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)


def write_error(client: socket.socket, status: int, reason: str, _: str) -> None:
    """Reply to malformed requests as to all errors, without quoting them."""
    if status == 501:  # an unknown transfer coding is the client's error
        status = 400
    body = msgspec.json.encode({"error": f"malformed request: {reason.lower()}"})
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    util.write_nonblock(client, head.encode("latin-1") + body)


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def http_date(timestamp: float | None = None) -> str:
    """Return the date header, cached for a second."""
    return _date(int(time.time() if timestamp is None else timestamp))


util.http_date = http_date
util.write_error = write_error  # gunicorn replies in HTML and has no setting for it
