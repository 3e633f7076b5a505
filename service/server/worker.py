"""One worker process: an event loop that gathers requests and writes replies.

No socket ever blocks, with TLS or without, so no thread waits for a client. Replies
come from `answering`, at once or later.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from socket import IPPROTO_TCP, TCP_NOTSENT_LOWAT
from typing import Any

from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker as BaseWorker

from service.middleware.auth import Access
from service.middleware.rejection import (
    REJECTION,
    Overloaded,
    Rejected,
    TooSlow,
    shortage,
)
from service.server import http
from service.server.answering import Answerer, Pool
from service.settings import Settings

#: How long a client may pause before it closes, or asks again while we stop.
LINGER_SECONDS = 2.0
#: How long a thread that computes keeps the interpreter's lock from the loop.
SWITCH_SECONDS = 0.001
#: How often deadlines are checked.
TICK_SECONDS = 0.2
#: The same shortage is logged once in this time.
WARNING_SECONDS = 60.0
#: Bytes of one read; a request of one read is not counted as held.
READ_BYTES = 64 << 10
#: Bytes of replies that the kernel takes before it sends them: a client that reads
#: nothing gets no more. Those on their way do not count, so distance costs no speed.
UNSENT_BYTES = 64 << 10
#: Descriptors that are kept free of connections, for files and the store.
SPARE_DESCRIPTORS = 48
#: With PAUSE, epoll reports only that the client has gone, and only once.
READ, WRITE, PAUSE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLONESHOT
HEAD, BODY, ANSWER, REPLY, LINGER = range(5)
_WOULD_BLOCK = BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError
_ADDRESSES = "REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT"


class Connection:
    """A client's socket, what it has sent, and what it has not yet read."""

    reply: bytes | memoryview = b""
    state, events, held, moved = HEAD, READ, 0, 0
    #: Whether it may ask again, and whether it has been answered.
    keep, kept = True, False

    def __init__(
        self, sock: socket.socket, environ: dict[str, str], received: http.Received
    ) -> None:
        self.sock, self.environ, self.fd = sock, environ, sock.fileno()
        self.received = received
        self.since = self.last = time.monotonic()


class Worker(BaseWorker):  # type: ignore[misc]
    """gunicorn's `worker_class`; `post_worker_init` sets the first two attributes."""

    settings: Settings
    access: Access
    alive: bool
    listeners: dict[int, socket.socket]

    def run(self) -> None:
        """Serve until told to stop, then finish what has begun."""
        self._start()
        while self.alive:
            self._turn()
        for listener in self.listeners.values():
            while self._accept(listener):  # whoever has connected already
                pass
        self._listen(False)
        for listener in self.listeners.values():
            listener.close()  # a client is refused at once, and asks another server
        self.stopped = time.monotonic()
        end = self.stopped + self.cfg.graceful_timeout
        while self.connections and time.monotonic() < end:
            self._turn()

    def _start(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        # Config looks a setting up by name each time, dozens of times per request.
        self.cfg.__dict__ |= {k: v.get() for k, v in self.cfg.settings.items()}
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS
        self.room = max(8, min(self.cfg.worker_connections, descriptors))
        self.tls = ssl_context(self.cfg) if self.cfg.is_ssl else None
        self.connections: dict[int, Connection] = {}
        self.pipelined: deque[Connection] = deque()
        self.held, self.next_tick, self.stopped = 0, 0.0, 0.0
        self.done: deque[tuple[bytes, Connection, Pool]] = deque()
        self.answerer = Answerer(
            self.wsgi,
            self.settings.threads,
            self.access.public_paths,
            self.log,
            self._done,
        )
        self.epoll, self.listening, self.next_warning = select.epoll(), False, 0.0
        self.epoll.register(self.PIPE[0], READ)
        self.listeners = {listener.fileno(): listener for listener in self.sockets}
        for listener in self.sockets:
            with suppress(OSError):  # inherited by connections; Unix sockets have none
                listener.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._listen(True)

    def _listen(self, on: bool) -> None:
        if on != self.listening:
            self.listening = on
            for fd, listener in self.listeners.items():
                listener.setblocking(False)
                self.epoll.register(fd, READ) if on else self.epoll.unregister(fd)

    def _turn(self) -> None:
        """Handle what has happened, then what is overdue."""
        wait = 0.0 if self.pipelined else TICK_SECONDS if self.connections else 1.0
        for fd, _ in self.epoll.poll(wait):
            if conn := self.connections.get(fd):
                self._guarded(conn, self._ready)
            elif listener := self.listeners.get(fd):
                self._accept(listener)
            elif fd == self.PIPE[0]:
                os.read(fd, 4096)
        if self.pipelined:  # one a turn: it must not delay other clients
            self._guarded(self.pipelined.popleft(), self._advance)
        while self.done:
            reply, conn, pool = self.done.popleft()
            pool.active -= 1
            self._guarded(conn, self._reply, reply)
            self._guarded(conn, self._advance)
        if (now := time.monotonic()) >= self.next_tick:
            self.next_tick = now + TICK_SECONDS
            self.notify()
            for conn in list(self.connections.values()):
                if now > self._deadline(conn):
                    self._guarded(conn, self._give_up)
            self._listen(self.alive and len(self.connections) < self.room)
            if self.ppid != os.getppid() or self.nr >= self.max_requests:
                self.alive = False

    def _accept(self, listener: socket.socket) -> bool:
        """Accept a connection; return whether there was one."""
        try:
            sock, peer = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:  # no descriptor or no memory is left
            if time.monotonic() > self.next_warning:
                self.next_warning = time.monotonic() + WARNING_SECONDS
                self.log.error("cannot accept a connection: %s", error)
            self._make_room()
            return False
        ends = [
            x if type(x) is tuple else ("", "") for x in (peer, listener.getsockname())
        ]
        environ = dict(
            zip(_ADDRESSES, map(str, (*ends[0][:2], *ends[1][:2])), strict=True)
        )
        try:
            sock.setblocking(False)
            if self.tls:  # the first read shakes hands
                sock = self.tls.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            self.epoll.register(sock.fileno(), READ)
        except OSError:  # it has gone already
            sock.close()
            return True
        received = http.Received(self.cfg, self.settings.max_body_bytes)
        self.connections[sock.fileno()] = Connection(sock, environ, received)
        if len(self.connections) >= self.room:
            self._make_room()
        return True

    def _make_room(self) -> None:
        """Close the connection that has waited longest, or pause for a tick."""
        idle = [c for c in self.connections.values() if c.state in (HEAD, LINGER)]
        if idle:
            self._close(min(idle, key=lambda conn: conn.since))
        else:
            self._listen(False)

    def _guarded(self, conn: Connection, act: Callable[..., None], *args: Any) -> None:
        """Act on a connection; then wait for its socket, reject, or close it."""
        try:
            act(conn, *args)
        except _WOULD_BLOCK as error:
            write = conn.state == REPLY and not isinstance(error, ssl.SSLWantReadError)
            write |= isinstance(error, ssl.SSLWantWriteError)
            self._want(conn, WRITE if write else READ)
        except OSError:
            self._close(conn)
        except Exception as error:
            rejection = error if isinstance(error, Rejected) else shortage(error)
            if rejection and conn.state in (HEAD, BODY):
                self._guarded(conn, self._reject, rejection)
            else:
                self.log.exception("a connection failed")
                self._close(conn)

    def _want(self, conn: Connection, events: int) -> None:
        if conn.events != events:
            conn.events = events
            self.epoll.modify(conn.fd, events)

    def _ready(self, conn: Connection) -> None:
        """Go on with a connection that can be read or written."""
        if conn.state == ANSWER:
            self._want(conn, PAUSE)
        elif conn.state == REPLY:
            self._send(conn)
            self._advance(conn)
        elif conn.state == LINGER:
            if not conn.sock.recv(READ_BYTES):
                self._close(conn)
            conn.last = time.monotonic()
        else:
            self._read(conn)

    def _read(self, conn: Connection) -> None:
        data = conn.sock.recv(READ_BYTES)
        if self.tls:
            self._want(conn, READ)
            while more := conn.sock.pending():  # type: ignore[attr-defined]
                data += conn.sock.recv(more)
        conn.last = time.monotonic()
        if conn.state == BODY:
            conn.moved += len(data)
        elif not conn.received:
            conn.since = conn.last
        conn.received.add(data)
        if data:
            self._advance(conn, data)
        elif conn.received:  # the view says how much is missing
            conn.keep = False
            self._answer(conn, conn.received.rest())
        else:
            self._close(conn)

    def _advance(self, conn: Connection, data: bytes = b"\n") -> None:
        """Answer a request that has arrived, of which `data` arrived last."""
        if not conn.received or conn.state not in (HEAD, BODY):
            return
        whole = conn.received.has_head(b"\n" in data)
        body = conn.received.take() if whole else None
        if body is None:
            if whole and conn.state == HEAD:
                self._begin_body(conn)
            self._want(conn, READ)
            self._hold(conn, len(data))
            return
        self._answer(conn, body)
        if conn.received and conn.state == HEAD:
            self.pipelined.append(conn)  # after a request of each other client

    def _begin_body(self, conn: Connection) -> None:
        """Wait for the body of an authorized request; tell its client if it asks."""
        conn.state, conn.since, conn.moved = BODY, conn.last, 0
        environ = conn.received.head.environ if conn.received.head else {}
        if refusal := self.access.refusal(environ):
            raise refusal
        if "HTTP_EXPECT" in environ and environ["SERVER_PROTOCOL"] != "HTTP/1.0":
            conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hold(self, conn: Connection, count: int) -> None:
        """Count bytes that wait for a client, and bound them.

        A request that is too much is rejected. For a reply, those that their clients
        have not read for longest are given up.
        """
        self.held, conn.held = self.held + count, conn.held + count
        most = max(self.settings.max_bytes_in_flight, self.settings.max_body_bytes)
        if conn.state == BODY and self.held > most and conn.held > READ_BYTES:
            raise Overloaded(
                "this process holds as many bytes of unfinished requests and unread "
                "replies as it may (GLASSNET_MAX_BYTES_IN_FLIGHT); try again"
            )
        if conn.state == REPLY and self.held > most:
            unread = [c for c in self.connections.values() if c.state == REPLY]
            for other in sorted(unread, key=lambda c: c.last)[:-1]:
                if self.held > most:
                    self._close(other)

    def _reject(self, conn: Connection, error: Rejected) -> None:
        """Answer a request of which the rest is not read, and close."""
        conn.keep = False
        if conn.received.head and not isinstance(error, http.Malformed):
            self._answer(conn, b"", error)
        else:
            conn.received.clear()
            self._reply(conn, http.refusal(error.code, str(error)))

    def _answer(
        self, conn: Connection, body: bytes, rejection: Rejected | None = None
    ) -> None:
        """Have a request answered, whose head is that of what was received."""
        head, conn.received.head, conn.state = conn.received.head, None, ANSWER
        assert head
        self.nr += 1
        conn.keep = conn.keep and head.keep and (self.alive or bool(conn.received))
        if not conn.keep:
            conn.received.clear()
        environ = {**head.environ, **conn.environ, "wsgi.input": BytesIO(body)}
        environ["wsgi.errors"] = sys.stderr
        if head.length is None:
            environ["CONTENT_LENGTH"] = str(len(body))
        if rejection:
            environ[REJECTION] = rejection
        reply = self.answerer.answer(conn, environ, len(body), conn.keep)
        if reply is not None:
            self._reply(conn, reply)

    def _done(self, reply: bytes, conn: Connection, pool: Pool) -> None:
        """Pass a reply from a thread to the loop."""
        self.done.append((reply, conn, pool))
        with suppress(BlockingIOError):  # then the loop is awake
            os.write(self.PIPE[1], b".")

    def _reply(self, conn: Connection, reply: bytes) -> None:
        conn.reply, conn.state, conn.moved = reply, REPLY, 0
        conn.since = conn.last = time.monotonic()
        self._hold(conn, len(reply))
        self._send(conn)

    def _send(self, conn: Connection) -> None:
        """Write what the client's socket takes; at the end, wait or close."""
        while conn.reply:
            sent = conn.sock.send(conn.reply)
            if sent == len(conn.reply):
                break
            conn.reply = memoryview(conn.reply)[sent:]
            conn.moved, conn.last = conn.moved + sent, time.monotonic()
        conn.reply, conn.since = b"", time.monotonic()
        conn.last = conn.since
        self.held, conn.held = self.held - conn.held, 0
        conn.state, conn.kept = HEAD, True
        if not conn.keep:  # closing at once could reset it before the reply is read
            conn.state = LINGER
            with suppress(*_WOULD_BLOCK):
                conn.sock.unwrap() if self.tls else None  # type: ignore[attr-defined]
            conn.sock.shutdown(socket.SHUT_WR)
        # What it has sent ahead is answered before more is read.
        self._want(conn, PAUSE if conn.received else READ)

    def _close(self, conn: Connection) -> None:
        self.held, conn.held, conn.state = self.held - conn.held, 0, LINGER
        conn.received.clear()
        # The descriptor may be another connection's by now.
        if self.connections.get(conn.fd) is conn:
            del self.connections[conn.fd]
            conn.sock.close()

    def _deadline(self, conn: Connection) -> float:
        """Return when to give a client up, by the monotonic clock."""
        patience = self.settings.read_seconds
        if conn.state == ANSWER:
            return float("inf")
        if conn.state in (HEAD, LINGER):
            idle = conn.state == HEAD and conn.kept and not conn.received
            end = conn.since + (self.cfg.keepalive if idle else patience)
            if conn.state == LINGER:  # it may still send what is not read
                end = min(end, conn.last + LINGER_SECONDS)
            return min(end, self.stopped + LINGER_SECONDS) if self.stopped else end
        rate = self.settings.min_bytes_per_second
        return min(conn.last, conn.since + conn.moved / rate) + patience

    def _give_up(self, conn: Connection) -> None:
        """End a connection whose client is too slow."""
        if conn.state in (HEAD, BODY) and conn.received:
            raise TooSlow(
                "the request arrived too slowly (GLASSNET_READ_SECONDS, "
                "GLASSNET_MIN_BYTES_PER_SECOND)"
            )
        self._close(conn)
