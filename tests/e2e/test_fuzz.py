"""Whatever comes: requests that are no good.

REQUESTS says how many; `make fuzz` asks for 50,000. What Hypothesis and Schemathesis
draw is a stock, of which plain Python makes the requests. Each follows from its number,
so that one that failed can be made again.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import random
import select
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service import create_app
from service.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(7200)]

REQUESTS = int(os.environ.get("REQUESTS", "200"))
#: Shares of the requests after which memory is looked at; the first warm the server.
MARKS = (0.1, 0.5, 1.0)
#: So many at least, before it is told whether memory grows.
TELLING = 20_000
#: So many ask at once, and so many dawdle beside them.
CLIENTS, DAWDLERS = 4, 6
MAX_BODY = 1 << 20
LENGTH = "Inference-Header-Content-Length"
BOMB = gzip.compress(b'{"instances": [' + b" " * (40 << 20), 9)
XOR = b'{"instances": [[0, 1]]}'
ASKED = (
    b"POST /v1/models/xor:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
) % (len(XOR), XOR)

TERMS = (
    "instances inputs examples context outputs parameters name shape datatype data "
    "binary_data_size binary_data b64 x dataframe_split dataframe_records columns "
    "target activations income home member since children x1 classification"
)
WORDS = TERMS.split()
ODD = [0, 1, -1, 2**31, 2**63, 1e308, "", "FP32", "BYTES", "2024-01-01"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(ODD)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = (
    f"Content-Type Content-Encoding Accept Accept-Encoding {LENGTH} X-Request-Id "
    "traceparent Authorization Expect Connection"
).split()
VALUES = (
    "application/json text/csv gzip deflate identity br 0 1 -1 10 */* keep-alive close "
    f"00-{'a' * 32}-{'b' * 16}-01 100-continue {'9' * 30} {'x' * 300}"
).split()
VALUES += ["", "Bearer x", "text/csv; header=present"]
METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW"]
#: What is wrong with a body, and how many of a hundred requests have that.
BODIES = {
    "any JSON": 11,
    "one place changed": 25,
    "bytes": 6,
    "nesting": 6,
    "gzip bomb": 6,
    "cut deflate": 6,
    "lengths of tensors": 15,
    "Schemathesis": 10,
}
#: What is wrong beside it.
KINDS = BODIES | {
    "any route": 5,
    "wrong length": 3,
    "cut off": 3,
    "aborted": 2,
    "slow": 2,
}
#: Sent twice, since the server ended a connection that it had said it keeps.
AGAIN = "kept", "ended"
#: A hundred kinds: the request of a number has the one in its place.
ORDER = random.Random(0).sample([*KINDS], 100, counts=[*KINDS.values()])


class Case(NamedTuple):
    """What a request asks for, however it is framed."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Sent(NamedTuple):
    """A request: its bytes, and whether they are one by the rules of HTTP."""

    kind: str
    method: str
    raw: bytes
    whole: bool = True


class Answer(NamedTuple):
    """What came back, and whether the server keeps the connection."""

    status: int
    body: bytes
    kept: bool


class Stock(NamedTuple):
    """What requests are made of: good ones, values by Hypothesis, Schemathesis' own."""

    good: list[tuple[str, Any]]
    paths: list[str]
    values: list[Any]
    cases: list[Case]


@pytest.fixture(scope="module")
def stock(served: Path) -> Stock:
    client = create_app(Settings(store=str(served))).test_client()
    contract: Any = client.get("/openapi.json").get_json()
    paths = {p: p.format(version=1, label="production") for p in contract["paths"]}
    good = [
        (paths[path], media["example"])
        for path, methods in contract["paths"].items()
        for operation in methods.values()
        for media in operation.get("requestBody", {}).get("content", {}).values()
        if "example" in media
    ]
    strange = [f"/{text}" for text in drawn(st.text(max_size=9), 50)]
    values = drawn(JSON, min(1000, 50 + REQUESTS // 50))
    return Stock(good, [*paths.values(), *strange], values, contracted(contract))


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return so many examples of a strategy, the same each time."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(value: Any) -> None:
        found.append(value)

    keep()
    return found


def contracted(contract: Any) -> list[Case]:
    """Return requests that the contract allows, and others that it forbids."""
    operations = schemathesis.openapi.from_dict(contract).get_all_operations()
    strategies = [
        operation.ok().as_strategy(generation_mode=mode)
        for operation in operations
        for mode in schemathesis.GenerationMode
    ]
    cases = []
    for case in drawn(st.one_of(strategies), min(400, 20 + REQUESTS // 100)):
        asked = requests.Request(**case.as_transport_kwargs(base_url="http://x"))
        request = asked.prepare()
        body = request.body or b""
        framing = ("Content-Length", "Transfer-Encoding", "Connection")
        headers = {k: v for k, v in request.headers.items() if k not in framing}
        raw = body if isinstance(body, bytes) else body.encode()
        cases.append(Case(str(request.method), request.path_url, headers, raw))
    return cases


def changed(document: Any, value: Any, pick: random.Random) -> Any:
    """Return a copy of a document with something else in one of its places."""
    if not isinstance(document, (dict, list)) or not document or pick.random() < 0.1:
        return value
    keys = list(document) if isinstance(document, dict) else range(len(document))
    key = pick.choice(list(keys))
    copy = document.copy()
    copy[key] = changed(document[key], value, pick)
    return copy


def tensors(pick: random.Random, value: Any) -> tuple[bytes, dict[str, str]]:
    """Return a body in bytes that may lie about each of its lengths."""
    n = pick.choice([0, 1, 2, 3, 1000, 2**40])
    size = pick.choice([0, 1, 256, 512, 2**31, 2**62, -1])
    one = {"name": "x", "datatype": pick.choice(["FP32", "BYTES", "BOOL", "FP16", "?"])}
    one |= {"shape": pick.choice([[n, 8, 8], [n, 64], [n], [], [-1, 64], value])}
    one["parameters"] = {"binary_data_size": pick.choice([size, value])}
    head = json.dumps({"inputs": [one] * pick.choice([0, 1, 1, 1, 2])}).encode()
    told = pick.choice([len(head)] * 4 + [0, len(head) - 1, len(head) + 300, 2**62, -5])
    return head + pick.randbytes(pick.choice([0, 4, 256, 512, 999])), {
        LENGTH: str(told)
    }


def contents(
    kind: str, good: Any, pick: random.Random, value: Any
) -> tuple[bytes, dict[str, str]]:
    """Return a body, and the headers that belong to it."""
    match kind:
        case "any JSON":
            return json.dumps(value).encode(), {}
        case "bytes":
            return pick.randbytes(pick.randrange(64)), {}
        case "nesting":
            return b'{"instances": ' + b"[" * pick.randint(1, 100_000), {}
        case "gzip bomb":
            return BOMB, {"Content-Encoding": "gzip"}
        case "cut deflate":
            raw = zlib.compress(json.dumps(good).encode())[: pick.randrange(100)]
            raw += pick.randbytes(pick.randrange(4))
            return raw, {"Content-Encoding": "deflate"}
        case "lengths of tensors":
            return tensors(pick, value)
        case _:
            return json.dumps(changed(good, value, pick)).encode(), {}


def case(kind: str, pick: random.Random, stock: Stock) -> Case:
    """Return what a request with a body of a kind asks for."""
    if kind == "Schemathesis":
        return pick.choice(stock.cases)
    path, example = pick.choice(stock.good)
    body, own = contents(kind, example, pick, pick.choice(stock.values))
    names = pick.sample(NAMES, pick.randrange(4))
    return Case("POST", path, {name: pick.choice(VALUES) for name in names} | own, body)


def kind_of(number: int) -> str:
    """Return what is wrong with the request of a number."""
    return ORDER[number % 100]


def request(number: int, stock: Stock) -> Sent:
    """Return the request of a number, over any route, most close to a good one."""
    kind, pick = kind_of(number), random.Random(number)
    inner = kind if kind in BODIES else pick.choice([*BODIES])
    method, path, headers, body = case(inner, pick, stock)
    if kind == "any route":
        method, path = pick.choice(METHODS), pick.choice(stock.paths)
    whole = kind in BODIES or kind == "any route"
    headers = {"Host": "x", **headers}
    headers["Connection"] = pick.choice(["close", "keep-alive"]) if whole else "close"
    if kind == "wrong length":
        headers["Content-Length"] = str(len(body) + pick.randint(-20, 20))
    elif whole and pick.random() < 0.9:
        headers["Content-Length"] = str(len(body))
    else:
        headers["Transfer-Encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    target = "".join(c if "!" <= c <= "~" else "%25" for c in path)
    lines = [f"{method} {target} HTTP/1.1", *map(": ".join, headers.items())]
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
    if kind == "cut off" or (kind == "aborted" and pick.random() < 0.5):
        raw = raw[: pick.randrange(len(raw))]
    return Sent(kind, method, raw, whole)


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
