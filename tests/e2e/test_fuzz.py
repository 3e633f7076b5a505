"""Whatever comes: requests that are no good, files that are no models.

REQUESTS says how many; `make fuzz` asks for 50,000, and a fifth as many files.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import random
import socket
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from models.artefact import SEAL_BYTES, load
from models.errors import ArtefactCorrupt
from models.store import Store
from service import create_app
from service.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(7200)]

REQUESTS = int(os.environ.get("REQUESTS", "200"))
#: So many at least, before it is told whether memory grows.
TELLING = 5_000
MAX_BODY = 1 << 20
LENGTH = "Inference-Header-Content-Length"
BOMB = gzip.compress(b'{"instances": [' + b" " * (40 << 20), 9)

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
HEADERS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=3)
METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW"]


class Sent(NamedTuple):
    """A request: its bytes, and whether they are one by the rules of HTTP."""

    method: str
    raw: bytes
    whole: bool = True


@pytest.fixture(scope="module")
def contract(served: Path) -> Any:
    client = create_app(Settings(store=str(served))).test_client()
    return client.get("/openapi.json").get_json()


def examples(contract: Any) -> list[tuple[str, Any]]:
    """Return the paths that take a body, each with a good one."""
    return [
        (path.format(version=1, label="production"), media["example"])
        for path, methods in contract["paths"].items()
        for operation in methods.values()
        for media in operation.get("requestBody", {}).get("content", {}).values()
        if "example" in media
    ]


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


@st.composite
def bodies(draw: Any, good: Any) -> tuple[bytes, dict[str, str]]:
    """A body, and the headers that belong to it."""
    pick, value = random.Random(draw(st.integers(0, 2**32))), draw(JSON)
    match draw(st.integers(0, 9)):
        case 0:
            return json.dumps(value).encode(), {}
        case 1:
            return draw(st.binary(max_size=64)), {}
        case 2:
            return b'{"instances": ' + b"[" * draw(st.integers(1, 100_000)), {}
        case 3:
            return BOMB, {"Content-Encoding": "gzip"}
        case 4:
            raw = zlib.compress(json.dumps(good).encode())[: draw(st.integers(0, 99))]
            return raw + draw(st.binary(max_size=3)), {"Content-Encoding": "deflate"}
        case 5 | 6:
            return tensors(pick, value)
        case _:
            return json.dumps(changed(good, value, pick)).encode(), {}


@st.composite
def requests(draw: Any, good: list[tuple[str, Any]], paths: list[str]) -> Sent:
    """A request over any route, most of them close to one that is answered."""
    path, example = draw(st.sampled_from(good))
    method = "POST"
    if draw(st.integers(0, 4)) == 0:
        path = draw(st.sampled_from(paths) | st.text(max_size=9).map(lambda t: f"/{t}"))
        method = draw(
            st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW"])
        )
    body, headers = draw(bodies(example))
    headers = {"Host": "x", **draw(HEADERS), **headers, "Connection": "close"}
    framing = draw(st.sampled_from(["right"] * 9 + ["chunks", "lie", "broken"]))
    cut = draw(st.integers(0, 40))
    if framing == "right":
        headers["Content-Length"] = str(len(body))
    elif framing == "lie":
        headers["Content-Length"] = str(len(body) + cut - 20)
    else:
        headers["Transfer-Encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    target = "".join(c if "!" <= c <= "~" else "%25" for c in path)
    lines = [f"{method} {target} HTTP/1.1", *map(": ".join, headers.items())]
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
    if framing == "broken":
        raw = raw[: len(raw) * cut // 41]
    return Sent(method, raw, framing in ("right", "chunks"))


def exchange(port: int, sent: Sent) -> tuple[int, bytes] | None:
    """Return the status and body of the answer, or nothing if there was none."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
            client.sendall(sent.raw)
        if not sent.whole:
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
        try:
            reply = http.client.HTTPResponse(client, method=sent.method)
            reply.begin()
            return reply.status, reply.read()
        except (ConnectionResetError, http.client.HTTPException):
            return None


@contextmanager
def slow_clients(port: int, count: int) -> Iterator[None]:
    """Clients that stop in the middle, wait, and go away in one of several ways."""
    stop = threading.Event()
    body = b'{"instances": [[0, 1]]}'
    head = (
        b"POST /v1/models/xor:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    )
    whole = head % len(body) + body

    def run(seed: int) -> None:
        pick = random.Random(seed)
        while not stop.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as c:
                c.sendall(whole[: pick.randrange(len(whole))])
                stop.wait(pick.random())
                if pick.random() < 0.5:  # a reset in place of an end
                    c.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def memory(server: Any) -> int:
    """Return the kilobytes that the workers have of their own."""
    total = 0
    for pid in server.workers():
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(
            int(line.split()[1])
            for line in text.splitlines()
            if line.startswith(("Private_Dirty", "Private_Clean"))
        )
    return total


def test_no_request_breaks_it(
    start: Callable[..., Any], served: Path, contract: Any
) -> None:
    """No 5xx but 503, no hang, no worker that dies, no memory that is kept."""
    server = start(served, threads=4, read_seconds=2, max_body_bytes=MAX_BODY)
    pids, statuses, sizes = server.workers(), Counter[int](), list[int]()
    paths = [path.format(version=1, label="production") for path in contract["paths"]]

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(examples(contract), paths))
    def ask(sent: Sent) -> None:
        answer = exchange(server.port, sent)
        statuses[answer[0] if answer else 0] += 1
        if sum(statuses.values()) % TELLING == 0:
            sizes.append(memory(server))
        if answer is None:
            assert not sent.whole, sent.raw[:2000]
            return
        status, body = answer
        assert status < 500 or status == 503, (status, sent.raw[:2000], body)
        if status >= 400 and sent.method != "HEAD":
            assert json.loads(body).keys() >= {"error"}, body

    with slow_clients(server.port, 5):
        ask()
    assert statuses[200] > REQUESTS / 50
    assert statuses[400] > REQUESTS / 10
    assert server.workers() == pids
    assert [line for line in server.log() if line["level"] == "error"] == []
    assert server.predict("xor", [[0, 1]])[0]["label"] == 1
    print(f"\n{dict(statuses)}, {sizes} kB")
    assert not sizes[2:] or sizes[-1] <= 1.1 * sizes[1]


def damaged(data: bytes, pick: random.Random) -> bytes:
    """Return a file with something wrong: flipped, cut, moved, doubled or zeroed."""
    at, length = pick.randrange(len(data)), pick.choice([1, 2, 8, 100, 5000])
    part = data[at : at + length]
    match pick.randrange(6):
        case 0:
            part = bytes(byte ^ (1 << pick.randrange(8)) for byte in part)
        case 1:
            return data[:at]
        case 2:
            part = pick.randbytes(length)
        case 3:
            part = b""
        case 4:
            part = part * 2
        case 5:
            part = b"\xff" * len(part)
    return data[:at] + part + data[at + length :]


def peak(reset: bool = False) -> int:
    """Return the most memory this process has had since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def test_no_file_breaks_it(served: Path) -> None:
    """Each damaged file is refused, sealed again or not, in little memory."""
    pick = random.Random(REQUESTS)
    whole = [
        Store(served).path(name, 1).read_bytes()
        for name in ("people", "half_plus_two", "digits", "xor")
    ]
    for data in whole:
        load(data)
    before, refused = peak(reset=True), 0
    for _ in range(REQUESTS // 5):
        data = pick.choice(whole)
        bad = damaged(data, pick)
        if bad == data:
            continue
        with pytest.raises(ArtefactCorrupt):
            load(bad)
        # The same by one who knows how to seal: it may stand where nobody looks.
        body = damaged(data[:-SEAL_BYTES], pick)
        with suppress(ArtefactCorrupt):
            load(body + hashlib.sha256(body).hexdigest().encode())
            refused -= 1
        refused += 1
    assert refused > REQUESTS / 10
    assert peak() - before < 64 << 20
