"""gunicorn's worker of threads, in which no client keeps a thread by being slow.

As gunicorn has it, a thread waits for a new connection's first bytes, for the rest of
a head, and without end for the rest of a body; and its one loop waits for whoever does
not close a connection that is over. Here heads are waited for, and connections ended,
by the loop beside all others, and a body or an answer that stalls is given up.
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

#: Bytes of a head that are waited for without a thread; what is longer is rare.
MAX_HEAD_BYTES = 16 << 10
#: How long a connection that is over is read from, for its last answer to arrive.
LINGER_SECONDS = 2.0
#: How long a thread reads on in a body that nobody wanted, to keep the connection.
DRAIN_SECONDS = 0.2
#: What a connection's future says while it is in rotation.
STAYS = object()


class Connection(TConn):  # type: ignore[misc]
    """A connection that does not make the worker's loop wait when it is closed."""

    def __init__(self, worker: Worker, *args: Any) -> None:
        super().__init__(*args)
        self.worker = worker
        #: Bytes that wake the loop.
        self.wanted = 1

    def fileno(self) -> int:
        """Return the descriptor of its socket."""
        return int(self.sock.fileno())

    def close(self, graceful: bool = False) -> None:
        """Close it; if gracefully, once the client has read the answer."""
        if graceful:
            self.worker.linger(self)
        else:
            super().close()


class _Gathered(list[bytes]):
    """A socket as far as an answer writes to it."""

    sendall = list.append


class OneWriteResponse(Response):  # type: ignore[misc]
    """An answer whose head leaves with its body: two writes are two packets."""

    sock: Any

    def write(self, content: bytes) -> None:
        """Write a part of the body, with what goes before it."""
        sock = self.sock
        self.sock = gathered = _Gathered()
        try:
            super().write(content)
            sock.sendall(b"".join(gathered))
        finally:
            self.sock = sock


class Worker(ThreadWorker):  # type: ignore[misc]
    """`worker_class`; `read_seconds` is set by `post_fork`."""

    read_seconds = 10.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lingering: deque[Connection] = deque()
        wsgi.Response = OneWriteResponse  # gunicorn has no setting for it

    def init_process(self) -> None:
        """Begin to work, after the fork."""
        # Each look at a setting is a search by its name, and a request takes dozens.
        settings = self.cfg.settings.items()
        self.cfg.__dict__ |= {name: setting.get() for name, setting in settings}
        super().init_process()

    def get_thread_pool(self) -> Executor:
        """Return the threads that answer; one of them leads the rotation."""
        threads: Executor = super().get_thread_pool()
        self.event_loop = EventLoop(self._answer_next, self._give_back, threads)
        return threads

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, and wait for its first request without a thread."""
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
        """End who has waited longest without a request: there is no room for a next."""
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
        """Give a connection to a thread once there is a whole head."""
        if self._has_head(conn):
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Connection, client: Any) -> None:
        """The same for a connection that was kept."""
        if self._has_head(conn):
            super().on_client_socket_readable(conn, client)
        else:
            self.poller.unregister(client)
            self.keepalived_conns.remove(conn)
            self._wait(conn)

    def _has_head(self, conn: Connection) -> bool:
        if self.cfg.is_ssl:  # nothing to see before a thread has decrypted it
            return True
        try:
            seen = conn.sock.recv(MAX_HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return True  # a thread finds out what
        ended = len(seen) < conn.wanted  # woken for less than was waited for
        whole = ended or b"\r\n\r\n" in seen or len(seen) == MAX_HEAD_BYTES
        # Not to be woken again by the same bytes (socket(7)).
        wanted = 1 if whole else len(seen) + 1
        if wanted != conn.wanted:
            conn.wanted = wanted
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
        return whole

    def handle(self, conn: Connection) -> Any:
        """Answer a connection's request, and keep it where a next one is soon seen."""
        kept = self._answer(conn)
        if kept:
            self.event_loop.join(conn)
            return STAYS
        return kept is None

    def _answer_next(self, conn: Connection) -> bool | None:
        return self._answer(conn) if self._has_head(conn) else None

    def _answer(self, conn: Connection) -> bool | None:
        """Answer a request; tell whether to keep it, None if that is for the loop."""
        if super().handle(conn) is not True:
            return False
        more = conn.parser.unreader.buf.tell() or self.cfg.is_ssl or not self.alive
        return None if more else True

    def finish_request(self, conn: Connection, done: Future[Any]) -> None:
        """Wait for what comes next, or end the connection."""
        if done.cancelled() or done.result() is not STAYS:
            super().finish_request(conn, done)

    def _give_back(self, conn: Connection, kept: bool) -> None:
        done: Future[bool] = Future()
        done.set_result(kept)
        self.method_queue.defer(self.finish_request, conn, done)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Tell whether a connection can be kept: not if its body is long in coming."""
        if keepalive and getattr(conn.parser.mesg.body.reader, "length", None) == 0:
            return True  # all of it has been read
        deadline = time.monotonic() + DRAIN_SECONDS
        # However much there is of it: the time is limit enough.
        return keepalive and bool(conn.parser.finish_body(deadline, sys.maxsize))

    def linger(self, conn: Connection) -> None:
        """Say that no more comes, and read on a while, lest the answer be cut off."""
        self.nr_conns += 1
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self.lingering.append(conn)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, EVENT_READ, partial(self._discard, conn))
        except (OSError, ValueError):  # it is gone already
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
        """End connections of which no request came, and those that have lingered."""
        now = time.monotonic()
        if self.pending_conns and self.pending_conns[0].timeout <= now:
            # The loop may be late itself: a request that has come meanwhile counts.
            self.wait_for_and_dispatch_events(timeout=0)
        super().murder_pending()
        while self.lingering and self.lingering[0].timeout <= now:
            self._end(self.lingering[0])

    def _cap_keepalive(self, deadline: float) -> None:
        """Wait, once told to stop, no longer for a first request than for a next."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)


def write_error(client: socket.socket, status: int, reason: str, _: str) -> None:
    """Answer what is no request in the shape of all errors, repeating none of it."""
    if status == 501:  # a transfer coding nobody knows is the client's fault
        status = 400
    body = msgspec.json.encode({"error": f"no request: {reason.lower()}"})
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    util.write_nonblock(client, head.encode("latin-1") + body)


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def http_date(timestamp: float | None = None) -> str:
    """Return the date of an answer, which is the same for a second."""
    return _date(int(time.time() if timestamp is None else timestamp))


util.http_date = http_date
util.write_error = write_error  # gunicorn's is HTML, and there is no other way
