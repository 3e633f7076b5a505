"""Whatever comes: requests that are no good.

REQUESTS says how many; `make fuzz` asks for 50,000.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.bad_requests import KINDS, Sent, Stock, kind_of, request, stock_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(7200)]

REQUESTS = int(os.environ.get("REQUESTS", "200"))
#: Shares of the requests after which memory is looked at; the first warm the server.
MARKS = (0.1, 0.5, 1.0)
#: So many at least, before it is told whether memory grows.
TELLING = 20_000
#: Clients that ask at once, and slow ones beside them.
CLIENTS, DAWDLERS = 4, 6
MAX_BODY = 1 << 20
XOR = b'{"instances": [[0, 1]]}'
ASKED = (
    b"POST /v1/models/xor:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
) % (len(XOR), XOR)

#: Sent twice, since the server ended a connection that it had said it keeps.
AGAIN = "kept", "ended"


class Answer(NamedTuple):
    """What came back, and whether the server keeps the connection."""

    status: int
    body: bytes
    kept: bool


@pytest.fixture(scope="module")
def stock(served: Path) -> Stock:
    return stock_of(served, REQUESTS)


def ask(port: int, numbers: Iterable[int], stock: Stock) -> Counter[tuple[str, str]]:
    """Send requests one after the other; return how many of a kind ended how.

    A connection is kept where both sides want that.
    """
    counted, kept = Counter[tuple[str, str]](), None
    for number in numbers:
        sent = request(number, stock)
        reused = kept is not None and sent.whole and not ended(kept)
        if kept is None or not reused:
            kept = connect(port, kept)
        answer = exchange(kept, sent)
        if answer is None and reused:  # both were about to use or to end it
            counted[AGAIN] += 1
            kept = connect(port, kept)
            answer = exchange(kept, sent)
        counted[sent.kind, outcome(sent, answer)] += 1
        if answer is None or not answer.kept:
            kept.close()
            kept = None
    if kept is not None:
        kept.close()
    return counted


def connect(port: int, old: socket.socket | None = None) -> socket.socket:
    """Return a new connection in place of one that is over."""
    if old is not None:
        old.close()
    return socket.create_connection(("127.0.0.1", port), 30)


def ended(connection: socket.socket) -> bool:
    """Tell whether the server has closed a connection that was kept."""
    return bool(select.select([connection], [], [], 0)[0])


def exchange(connection: socket.socket, sent: Sent) -> Answer | None:
    """Send a request and return its answer, if there is one."""
    with suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
        connection.sendall(sent.raw)
    if sent.kind == "aborted":
        return leave(connection, len(sent.raw) % 2)
    if not sent.whole:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
    try:
        reply = http.client.HTTPResponse(connection, method=sent.method)
        reply.begin()
        return Answer(reply.status, reply.read(), not reply.will_close)
    except (ConnectionResetError, http.client.HTTPException):
        return None


def leave(connection: socket.socket, reset: int) -> None:
    """Go away, by a reset or an end, whatever the server is about."""
    linger = struct.pack("ii", reset, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def dawdle(port: int, numbers: Iterable[int]) -> Counter[tuple[str, str]]:
    """The same, each request good, but for the time its client takes."""
    counted = Counter[tuple[str, str]]()
    whole = Sent("slow", "POST", ASKED)
    for number in numbers:
        pick = random.Random(number)
        at, pause = pick.randrange(1, len(ASKED)), pick.random()
        first, rest = whole._replace(raw=ASKED[:at]), whole._replace(raw=ASKED[at:])
        with connect(port) as connection:
            match pick.randrange(4):
                case 0:  # one part, and a while later the other
                    connection.sendall(first.raw)
                    time.sleep(pause)
                    answer, due = exchange(connection, rest), {200, 503}
                case 1:  # one part, and no other
                    answer = exchange(connection, first)
                    due = {408, 503, 0}
                case 2:  # one part, and away
                    connection.sendall(first.raw)
                    time.sleep(pause)
                    answer, due = leave(connection, number % 2), {0}
                case _:  # all of it, and the answer is read late
                    connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
                    time.sleep(pause)
                    answer, due = exchange(connection, whole._replace(raw=b"")), {200}
        status = answer.status if answer else 0
        assert status in due, (number, at, answer)
        counted["slow", outcome(whole._replace(whole=0 not in due), answer)] += 1
    return counted


def outcome(sent: Sent, answer: Answer | None) -> str:
    """Say what an answer is, if it is one that there may be."""
    if answer is None:
        assert not sent.whole, (sent.kind, sent.raw[:2000])
        return "none"
    status, body, _ = answer
    assert status < 500 or status == 503, (status, sent.raw[:2000], body)
    if status >= 400 and sent.method != "HEAD":
        assert json.loads(body).keys() >= {"error"}, body
    return "503" if status == 503 else f"{status // 100}xx"


def ask_at_once(port: int, numbers: range, stock: Stock) -> Counter[tuple[str, str]]:
    """Send the requests of numbers, from several clients and some slow ones."""
    quick = [n for n in numbers if kind_of(n) != "slow"]
    slow = [n for n in numbers if kind_of(n) == "slow"]
    with ThreadPoolExecutor(CLIENTS + DAWDLERS) as pool:
        shares = [
            pool.submit(ask, port, quick[i::CLIENTS], stock) for i in range(CLIENTS)
        ]
        shares += [
            pool.submit(dawdle, port, slow[i::DAWDLERS]) for i in range(DAWDLERS)
        ]
    return sum((share.result() for share in shares), Counter())


def memory(server: Any) -> dict[int, int]:
    """Return the kilobytes of each worker that are no file's.

    What is copied on write counts before and after: it is no growth.
    """
    sizes = {}
    for pid in server.workers():
        text = Path(f"/proc/{pid}/status").read_text()
        sizes[pid] = int(text.partition("RssAnon:")[2].split()[0])
    return sizes


@pytest.mark.fuzz
def test_no_request_breaks_it(
    start: Callable[..., Any], served: Path, stock: Stock
) -> None:
    """No 5xx but 503, no hang, no worker that dies, no memory that is kept."""
    server = start(served, threads=8, read_seconds=2, max_body_bytes=MAX_BODY)
    pids, sent, sizes = server.workers(), 0, []
    counted = Counter[tuple[str, str]]()
    for mark in MARKS:
        numbers = range(sent, round(mark * REQUESTS))
        counted += ask_at_once(server.port, numbers, stock)
        sent = numbers.stop
        sizes.append(memory(server))
        print(f"\nafter {sent} requests: {sizes[-1]} kB")
    again = counted.pop(AGAIN, 0)
    print(f"{again} kept connections ended under a request")
    kinds, ends = Counter[str](), Counter[str]()
    for (kind, end), count in sorted(counted.items()):
        kinds[kind] += count
        ends[end] += count
        print(f"{kind:20} {end:4} {count:6}")
    assert ends.total() == REQUESTS
    assert again <= REQUESTS / 1000
    for kind, share in KINDS.items():
        assert kinds[kind] >= REQUESTS // 100 * share, kind
    assert ends["2xx"] > REQUESTS / 25
    assert ends["4xx"] > REQUESTS / 2
    assert ends["503"] < REQUESTS / 20
    assert server.workers() == pids
    assert [line for line in server.log() if line["level"] == "error"] == []
    assert server.predict("xor", [[0, 1]])[0]["label"] == 1
    if REQUESTS >= TELLING:
        for pid in pids:
            assert sizes[-1][pid] <= 1.1 * sizes[0][pid]
