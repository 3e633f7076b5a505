"""One worker process: an event loop that gathers requests and writes replies.

No socket ever blocks, with TLS or without, so no thread waits for a client. The loop
itself answers where answers are known to be quick; threads answer the rest.
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
from functools import partial
from io import BytesIO
from queue import SimpleQueue
from threading import Thread
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, NoMoreData
from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker as BaseWorker

from service.middleware.rejection import (
    REJECTION,
    Overloaded,
    Rejected,
    TooLarge,
    TooSlow,
)
from service.server import http
from service.settings import Settings

#: Paths whose answers take longer are left to threads.
SLOW_SECONDS = 0.005
#: How long a client may take to read its last reply, or to ask again while we stop.
LINGER_SECONDS = 2.0
#: How often deadlines are checked.
TICK_SECONDS = 0.2
#: Requests that wait, for each thread.
QUEUED_PER_THREAD = 4
#: Bytes of one read; a request of one read is not counted as held.
READ_BYTES = 64 << 10
#: Heads up to this size are parsed once.
REPEATED_BYTES = 2 << 10
#: Paths and sizes whose costs are remembered, and what is left of one each time.
MAX_COSTS, FORGETS = 4096, 0.95
#: Descriptors that connections leave to the rest of the process.
SPARE_DESCRIPTORS = 48
#: PAUSE reports at most once, if the client has gone.
READ, WRITE, PAUSE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLONESHOT
HEAD, BODY, ANSWER, REPLY, LINGER = range(5)
_WOULD_BLOCK = BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError


class Connection:
    """A client's socket, what it has sent, and what it has not yet read."""

    head: http.Head | None = None
    chunks: http.Chunks | None = None
    reply: bytes | memoryview = b""
    state, events, held, moved = HEAD, READ, 0, 0
    #: Whether it may ask again, and whether it has been answered.
    keep, kept = True, False

    def __init__(self, sock: socket.socket, environ: dict[str, str]) -> None:
        self.sock, self.environ, self.fd = sock, environ, sock.fileno()
        self.received = bytearray()
        self.since = self.last = time.monotonic()


class Pool:
    """Threads that answer; `active` counts requests that run or wait."""

    def __init__(self, threads: int) -> None:
        self.threads, self.active = 0, 0
        self.tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        with suppress(RuntimeError):  # the process may not have so many
            for _ in range(threads):
                Thread(target=self._run, daemon=True).start()
                self.threads += 1

    def _run(self) -> None:
        while True:
            self.tasks.get()()


class Worker(BaseWorker):  # type: ignore[misc]
    """gunicorn's `worker_class`; `post_worker_init` sets the first two attributes."""

    settings: Settings
    public_paths: frozenset[str] = frozenset()
    alive: bool
    listeners: dict[int, socket.socket]

    def run(self) -> None:
        """Serve until told to stop, then finish what has begun."""
        self._start()
        while self.alive and self.ppid == os.getppid() and self.nr < self.max_requests:
            self._turn()
        self.alive = False
        for listener in self.listeners.values():
            while self._accept(listener):  # whoever has connected already
                pass
        self._listen(False)
        self.stopped = time.monotonic()
        while self.connections and (
            time.monotonic() < self.stopped + self.cfg.graceful_timeout
        ):
            self._turn()

    def _start(self) -> None:
        # Config looks a setting up by name each time, dozens of times per request.
        self.cfg.__dict__ |= {k: v.get() for k, v in self.cfg.settings.items()}
        limits, descriptors = self.settings, resource.getrlimit(resource.RLIMIT_NOFILE)
        self.room = max(
            8, min(self.cfg.worker_connections, descriptors[0] - SPARE_DESCRIPTORS)
        )
        self.max_held = max(limits.max_bytes_in_flight, limits.max_body_bytes)
        self.tls = ssl_context(self.cfg) if self.cfg.is_ssl else None
        self.connections: dict[int, Connection] = {}
        #: Seconds that answers took lately, by path and magnitude of the body.
        self.costs: dict[tuple[str, str | None, int], float] = {}
        self.held, self.next_tick, self.stopped = 0, 0.0, 0.0
        self.pool, self.probes = Pool(limits.threads), Pool(1)
        self.done: deque[tuple[Pool, Connection, bytes]] = deque()
        self.epoll, self.listening, self.short = select.epoll(), False, False
        self.epoll.register(self.PIPE[0], READ)
        self.listeners = {listener.fileno(): listener for listener in self.sockets}
        self._listen(True)

    def _listen(self, on: bool) -> None:
        if on != self.listening:
            self.listening = on
            for fd, listener in self.listeners.items():
                listener.setblocking(False)
                self.epoll.register(fd, READ) if on else self.epoll.unregister(fd)

    def _turn(self) -> None:
        """Handle what has happened, then what is overdue."""
        for fd, _ in self.epoll.poll(TICK_SECONDS if self.connections else 1.0):
            if conn := self.connections.get(fd):
                self._guarded(conn, self._ready)
            elif listener := self.listeners.get(fd):
                self._accept(listener)
            elif fd == self.PIPE[0]:
                os.read(fd, 4096)
        while self.done:
            pool, conn, reply = self.done.popleft()
            pool.active -= 1
            self._guarded(conn, self._finish, reply)
        if (now := time.monotonic()) >= self.next_tick:
            self.next_tick = now + TICK_SECONDS
            self.notify()
            for conn in list(self.connections.values()):
                if now > self._deadline(conn):
                    self._guarded(conn, self._overdue)
            self._listen(self.alive and len(self.connections) < self.room)

    def _accept(self, listener: socket.socket) -> bool:
        """Accept a connection; return whether there was one."""
        try:
            sock, peer = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:  # no descriptor or no memory is left
            if not self.short:
                self.log.error("cannot accept a connection: %s", error)
            self.short = True
            self._make_room()
            self._listen(False)  # until the next tick
            return False
        self.short = False
        environ = {"SERVER_NAME": "", "SERVER_PORT": "", "REMOTE_ADDR": ""}
        if isinstance(peer, tuple):
            host, port = listener.getsockname()[:2]
            environ = {"SERVER_NAME": host, "SERVER_PORT": str(port)}
            environ |= {"REMOTE_ADDR": peer[0], "REMOTE_PORT": str(peer[1])}
        try:
            sock.setblocking(False)
            if self.tls:  # the handshake is part of the first read
                sock = self.tls.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            conn = Connection(sock, environ)
            self.epoll.register(conn.fd, READ)
        except OSError:  # it has gone already
            sock.close()
            return True
        self.connections[conn.fd] = conn
        if len(self.connections) >= self.room:
            self._make_room()
        return True

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client."""
        idle = [c for c in self.connections.values() if c.state in (HEAD, LINGER)]
        if idle:
            self._close(min(idle, key=lambda conn: conn.since))
        else:
            self._listen(False)

    def _guarded(self, conn: Connection, act: Callable[..., None], *args: Any) -> None:
        """Act on a connection; then wait for its socket, or close it, as that says."""
        try:
            act(conn, *args)
        except _WOULD_BLOCK as error:
            write = conn.state == REPLY and not isinstance(error, ssl.SSLWantReadError)
            write |= isinstance(error, ssl.SSLWantWriteError)
            self._want(conn, WRITE if write else READ)
        except OSError:
            self._close(conn)
        except Exception:
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
        conn.received += data
        if data:
            self._advance(conn, data)
        elif (
            conn.head and conn.head.length is not None
        ):  # the view says what is missing
            self._answer(conn, bytes(conn.received[conn.head.size :]), last=True)
        elif conn.received:
            self._fail(conn, 400, "the request is incomplete")
        else:
            self._close(conn)

    def _advance(self, conn: Connection, data: bytes = b"\n") -> None:
        """Answer the requests that have arrived, of which `data` arrived last."""
        while conn.received and conn.state in (HEAD, BODY):
            try:
                body = self._body(conn) if conn.head or self._head(conn, data) else None
            except Rejected as rejection:
                self._answer(conn, b"", rejection, last=True)
                return
            except Exception as error:  # the parser's
                self.log.debug("malformed request: %r", error)
                self._fail(conn, *http.malformed(error))
                return
            if body is None:
                self._hold(conn, len(data))
                return
            self._answer(conn, body)

    def _head(self, conn: Connection, data: bytes) -> bool:
        """Parse the head if it is whole, or can be refused already."""
        size = conn.received.find(b"\r\n\r\n") + 4
        if size < 4:
            if b"\n" in data or len(conn.received) > http.MAX_HEAD_BYTES:
                with suppress(NoMoreData):
                    http.parse(self.cfg, bytes(conn.received))
            if len(conn.received) > http.MAX_HEAD_BYTES:
                raise LimitRequestHeaders
            return False
        parse = http.parse_repeated if size <= REPEATED_BYTES else http.parse
        conn.head = head = parse(self.cfg, bytes(conn.received[:size]))
        conn.state, conn.since, conn.moved = BODY, conn.last, 0
        conn.chunks = http.Chunks(size)
        if (head.length or 0) > self.settings.max_body_bytes:
            raise TooLarge(self.settings.max_body_bytes)
        expects = head.environ.get("HTTP_EXPECT") and head.length != 0
        if expects and head.environ["SERVER_PROTOCOL"] != "HTTP/1.0":
            conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _body(self, conn: Connection) -> bytes | None:
        """Remove a request whose body is whole, and return that."""
        head, received = conn.head, conn.received
        assert head and conn.chunks
        if head.length is not None:
            end = head.size + head.length
            if len(received) < end:
                return None
            body = bytes(memoryview(received)[head.size : end])
            del received[:end]
            return body
        if conn.chunks.complete(received):
            body, rest = http.read_chunked(self.cfg, bytes(received))
            conn.received = bytearray(rest)
            return body
        largest = max(conn.chunks.size, len(received) // 2)
        if (
            largest > self.settings.max_body_bytes
            or conn.chunks.count > http.MAX_CHUNKS
        ):
            raise TooLarge(self.settings.max_body_bytes)
        return None

    def _hold(self, conn: Connection, count: int) -> None:
        """Count bytes that wait for a client; reject the request that is too much."""
        self.held += count
        conn.held += count
        if conn.state == BODY and self.held > self.max_held and conn.held > READ_BYTES:
            rejection = Overloaded(
                "this process holds as many bytes of unfinished requests and unread "
                "replies as it may (GLASSNET_MAX_BYTES_IN_FLIGHT); try again"
            )
            self._answer(conn, b"", rejection, last=True)

    def _answer(
        self,
        conn: Connection,
        body: bytes,
        rejection: Rejected | None = None,
        last: bool = False,
    ) -> None:
        """Answer a request here if that is quick, otherwise in a thread."""
        head, conn.head = conn.head, None
        assert head
        self.nr += 1
        if last:
            conn.received.clear()
        conn.keep = head.keep and self.alive and not last
        conn.state = ANSWER
        environ = {**head.environ, **conn.environ, "wsgi.input": BytesIO(body)}
        environ["wsgi.errors"] = sys.stderr
        if head.length is None:
            environ["CONTENT_LENGTH"] = str(len(body))
        probe = environ["PATH_INFO"] in self.public_paths
        encoding = environ.get("HTTP_CONTENT_ENCODING")
        key = environ["PATH_INFO"], encoding, len(body).bit_length()
        quick = self.costs.get(key, 0.0 if probe else 1.0) < SLOW_SECONDS
        pool = self.probes if probe else self.pool
        most = self.settings.threads * (1 + QUEUED_PER_THREAD)
        if pool.active >= most and not (quick or probe or rejection):
            rejection = Overloaded(
                f"{most} requests run or wait in this process, its limit "
                "(GLASSNET_THREADS); try again"
            )
        environ |= {REJECTION: rejection} if rejection else {}
        call = partial(self._call, head, environ, conn.keep, key, pool)
        if quick or rejection or not pool.threads:
            self._reply(conn, call())
        else:
            pool.active += 1
            pool.tasks.put(partial(self._call_in_thread, pool, conn, call))

    def _call_in_thread(
        self, pool: Pool, conn: Connection, call: Callable[[], bytes]
    ) -> None:
        self.done.append((pool, conn, call()))
        with suppress(BlockingIOError):  # then the loop is awake
            os.write(self.PIPE[1], b".")

    def _call(
        self, head: http.Head, environ: dict[str, Any], keep: bool, key: Any, pool: Pool
    ) -> bytes:
        """Return the application's reply; remember how long it took."""
        begun = time.perf_counter()
        try:
            reply = http.encode(head, *http.call(self.wsgi, environ), keep)
        except Exception:
            self.log.exception("a request failed")
            reply = http.refusal(500, "internal error", keep)
        # Requests that run at once slow each other down.
        took = (time.perf_counter() - begun) / max(1, self.pool.active)
        if len(self.costs) > MAX_COSTS:
            self.costs.clear()
        self.costs[key] = max(took, FORGETS * self.costs.get(key, 0.0))
        return reply

    def _fail(self, conn: Connection, code: int, sentence: str) -> None:
        """Reply to what never became a request."""
        conn.keep = False
        conn.received.clear()
        self._reply(conn, http.refusal(code, sentence))

    def _reply(self, conn: Connection, reply: bytes) -> None:
        conn.reply, conn.state, conn.moved = reply, REPLY, 0
        conn.since = conn.last = time.monotonic()
        self._send(conn)

    def _finish(self, conn: Connection, reply: bytes) -> None:
        self._reply(conn, reply)
        self._advance(conn)

    def _send(self, conn: Connection) -> None:
        """Write what the client's socket takes; at the end, wait or close."""
        while conn.reply:
            sent = conn.sock.send(conn.reply)
            if sent == len(conn.reply):
                break
            if not conn.moved:
                self._hold(conn, len(conn.reply))
            conn.reply = memoryview(conn.reply)[sent:]
            conn.moved, conn.last = conn.moved + sent, time.monotonic()
        conn.reply, conn.since = b"", time.monotonic()
        self.held, conn.held = self.held - conn.held, 0
        conn.state, conn.kept = HEAD, True
        if not conn.keep:  # else the client might not read its reply
            conn.state = LINGER
            with suppress(*_WOULD_BLOCK):
                conn.sock.unwrap() if self.tls else None  # type: ignore[attr-defined]
            conn.sock.shutdown(socket.SHUT_WR)
        self._want(conn, READ)

    def _close(self, conn: Connection) -> None:
        self.held, conn.held = self.held - conn.held, 0
        if self.connections.pop(conn.fd, None):
            conn.sock.close()

    def _overdue(self, conn: Connection) -> None:
        """Give a client up."""
        if conn.state == BODY:
            sentence = (
                "the body stalled for longer than GLASSNET_READ_SECONDS, or came in "
                "fewer than GLASSNET_MIN_BYTES_PER_SECOND"
            )
            self._answer(conn, b"", TooSlow(sentence), last=True)
        elif conn.state == HEAD and conn.received:
            self._fail(
                conn, 408, "the head took longer than GLASSNET_READ_SECONDS to arrive"
            )
        else:
            self._close(conn)

    def _deadline(self, conn: Connection) -> float:
        """Return when to give a client up, by the monotonic clock."""
        patience = self.settings.read_seconds
        if conn.state == ANSWER:
            return float("inf")
        if conn.state == LINGER:
            return conn.since + LINGER_SECONDS
        if conn.state == HEAD:
            idle = conn.kept and not conn.received
            end = conn.since + (self.cfg.keepalive if idle else patience)
            return min(end, self.stopped + LINGER_SECONDS) if self.stopped else end
        rate = self.settings.min_bytes_per_second
        return min(conn.last, conn.since + conn.moved / rate) + patience
