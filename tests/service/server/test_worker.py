"""Clients that take their time, against one real worker with few threads."""

from __future__ import annotations

import gzip
import json
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from gunicorn.config import Config

from service.server.http import Received
from service.server.worker import LINGER, Connection, Worker
from service.settings import Settings

pytestmark = pytest.mark.e2e

BODY = json.dumps({"instances": [[0, 1]]}).encode()
HEAD = b"POST /v1/models/xor:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
#: More clients than there are threads.
MANY = 48


@contextmanager
def clients(server: Any, count: int, *sent: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        found = [
            stack.enter_context(socket.create_connection(address, 30))
            for _ in range(count)
        ]
        for client in found:
            for piece in sent:
                client.sendall(piece)
        yield found


def received(client: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    content = b""
    with suppress(ConnectionResetError):  # where half a head was never read
        while piece := client.recv(65536):
            content += piece
    return content


def answered(client: socket.socket) -> bytes:
    """Return one answer on a connection that is kept: head and body may come apart."""
    content = b""
    while not content.endswith(b"}"):
        piece = client.recv(65536)
        assert piece, content
        content += piece
    return content


@pytest.fixture(scope="module")
def patient(start_shared: Callable[..., Any], served: Path) -> Any:
    """One worker of two slots that waits longer than any test."""
    return start_shared(served, workers=1, threads=2, read_seconds=600)


def test_a_head_that_does_not_come_delays_no_other_request(patient: Any) -> None:
    whole = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        for length in (0, 1, 20, len(whole) - 1):
            slow = stack.enter_context(clients(patient, MANY, whole[:length]))
            assert patient.predict("xor", [[0, 1]])[0]["label"] == 1
            slow[0].sendall(whole[length:])  # and is answered when it does
            assert received(slow[0]).startswith(b"HTTP/1.1 200")


def test_a_head_of_which_no_more_comes_is_over_at_once(patient: Any) -> None:
    for half in (b"G", HEAD[:20], HEAD[:-1]):
        with clients(patient, 1, half) as (client,):
            client.shutdown(socket.SHUT_WR)
            client.settimeout(10)
            received(client)


def test_a_connection_is_kept_after_a_body_that_was_not_read(patient: Any) -> None:
    for size in (1, 1 << 16, 1 << 20):
        head = HEAD.replace(b"Host: x", b"Host: x\r\nContent-Encoding: br")
        with clients(patient, 1, head % size + bytes(size)) as (client,):
            assert b" 415 " in answered(client)
            client.sendall(HEAD % len(BODY) + BODY)
            assert answered(client).startswith(b"HTTP/1.1 200")


def test_nor_do_more_connections_than_there_is_room_for(
    start: Callable[..., Any], served: Path
) -> None:
    # A server of its own: closing this many connections takes a while.
    patient = start(served, workers=1, threads=2, read_seconds=600)
    with clients(patient, 1100, b"G"):  # gunicorn's worker_connections and some
        assert patient.predict("xor", [[0, 1]])[0]["label"] == 1


def test_nor_does_the_next_head_on_a_connection_that_was_kept(patient: Any) -> None:
    whole = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with clients(patient, MANY, whole) as slow:
        for client in slow:
            assert answered(client).startswith(b"HTTP/1.1 200")
            client.sendall(whole[:9])
        assert patient.predict("xor", [[0, 1]])[0]["label"] == 1
        slow[0].sendall(whole[9:])
        assert answered(slow[0]).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_close_delays_no_other_request(patient: Any) -> None:
    with clients(patient, MANY, b"no request\r\n\r\n") as slow:
        for client in slow:
            assert received(client).startswith(b"HTTP/1.1 400")
        assert patient.predict("xor", [[0, 1]])[0]["label"] == 1


def test_a_refused_body_that_does_not_come_delays_no_other_request(
    patient: Any,
) -> None:
    with clients(patient, MANY, HEAD % len(BODY) + BODY[:3]):
        assert patient.request("GET", "/v2/health/ready")[0] == 200
        assert patient.request("GET", "/v2/health/live")[0] == 200


def test_a_body_without_a_valid_token_is_rejected_before_it_arrives(
    start: Callable[..., Any], served: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("t" * 32)
    tokens.chmod(0o600)
    server = start(served, workers=1, threads=2, read_seconds=600, token_file=tokens)
    for line in (b"", b"Authorization: Bearer %b\r\n" % (b"f" * 32)):
        head = HEAD.replace(
            b"Host: x\r\n", b"Host: x\r\nExpect: 100-continue\r\n" + line
        )
        with clients(server, 1, head % 3_000_000) as (client,):
            assert received(client).startswith(b"HTTP/1.1 401")
    head = HEAD.replace(b"Host: x", b"Host: x\r\nAuthorization: Bearer " + b"t" * 32)
    with clients(server, 1, head % len(BODY), BODY[:5], BODY[5:]) as (client,):
        assert answered(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("length", [10, 3_000_000])
def test_an_answer_arrives_whatever_of_the_body_is_still_on_its_way(
    patient: Any, length: int
) -> None:
    head = (HEAD % length).replace(b":predict", b":foretell")
    with clients(patient, 1, head, b" " * length) as (client,):
        assert client.recv(65536).startswith(b"HTTP/1.1 404")


def test_a_refused_client_that_still_sends_is_waited_for() -> None:
    worker = Worker.__new__(Worker)
    worker.cfg, worker.stopped = Config(), 0.0
    worker.settings = Settings(read_seconds=30)
    with socket.socket() as client:
        conn = Connection(client, {}, Received(worker.cfg, 1000))
    conn.state, conn.since = LINGER, 100.0
    for last, end in (100.0, 102.0), (120.0, 122.0), (129.0, 130.0):
        conn.last = last
        assert worker._deadline(conn) == end
    worker.stopped = 110.0
    assert worker._deadline(conn) == 112.0


def test_a_body_that_stalls_is_given_up(
    start: Callable[..., Any], served: Path
) -> None:
    server = start(served, workers=1, threads=2, read_seconds=0.3)
    chunked = HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
    bad = {
        HEAD % len(BODY) + BODY[:5]: b"HTTP/1.1 408",
        chunked + b"5\r\nab": b"HTTP/1.1 408",
        chunked + b"x\r\nab": b"HTTP/1.1 400",
        chunked + b"2\r\nabcd\r\n": b"HTTP/1.1 400",
        HEAD[:20]: b"HTTP/1.1 408",
    }
    for sent, status in bad.items():
        with clients(server, 1, sent) as (client,):
            reply = received(client)
            assert reply.startswith(status), sent
            assert not status or b'{"error":' in reply
    with clients(server, 1, HEAD % len(BODY) + BODY[:5]) as (client,):
        client.shutdown(socket.SHUT_WR)
        reply = received(client)
        assert b"the body ends after 5 of 23 bytes" in reply
    assert server.predict("xor", [[0, 1]])[0]["label"] == 1
    assert [line for line in server.log() if line["level"] == "error"] == []


def test_who_does_not_read_is_given_up(
    start: Callable[..., Any], served: Path, until: Callable[..., None]
) -> None:
    server = start(served, workers=1, threads=2, read_seconds=0.5)
    body = json.dumps({"instances": [[[0] * 8] * 8] * 10_000}).encode()
    head = (HEAD % len(body)).replace(b"xor", b"digits")
    with clients(server, 6) as slow:
        for client in slow:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.sendall(head + body)
        until("an answer", lambda: server.request("GET", "/v2/health/ready")[0] == 200)
    assert [line for line in server.log() if line["level"] == "error"] == []


def test_requests_sent_ahead_wait_while_their_client_does_not_read(
    patient: Any, until: Callable[..., None]
) -> None:
    path, count = "/v2/models/digits/versions/1", 600
    request = f"GET {path} HTTP/1.1\r\n\r\n".encode()

    def in_all() -> float:
        counts = patient.metrics()["glassnet_http_requests_total"].items()
        return sum(n for labels, n in counts if "/v2/models/" in str(labels))

    assert patient.request("GET", path)[0] == 200
    before, seen = in_all(), [-1.0]

    def at_rest() -> bool:
        seen.append(in_all() - before)
        return seen[-1] == seen[-2] > 0

    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.connect(("127.0.0.1", patient.port))
        client.sendall(request * (count - 1))
        until("its answers to wait", at_rest)
        assert seen[-1] < count / 2  # the kernel took them all before
        client.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.settimeout(30)
        assert received(client).count(b"HTTP/1.1 200") == count


def test_requests_sent_ahead_take_bounded_memory(patient: Any) -> None:
    (pid,), count = patient.workers(), 2000
    request = b"GET /ping HTTP/1.1\r\nX: " + b"a" * 8000 + b"\r\n"

    def peak_kib() -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def send(client: socket.socket) -> None:
        client.sendall((request + b"\r\n") * (count - 1))
        client.sendall(request + b"Connection: close\r\n\r\n")

    with clients(patient, 1, request + b"\r\n") as (client,):
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        before = peak_kib()
        sender = Thread(target=send, args=(client,))
        sender.start()
        assert received(client).count(b"HTTP/1.1 200") == count
        sender.join()
    assert peak_kib() - before < 6 << 10  # 16 MB were sent


def test_replies_that_are_not_read_take_bounded_memory(
    start: Callable[..., Any], served: Path, until: Callable[..., None]
) -> None:
    """Small requests with large replies: the one that is not read for longest goes."""
    limits = {"max_body_bytes": 1 << 20, "max_bytes_in_flight": 1 << 20}
    server = start(served, workers=1, threads=2, **limits)
    body = gzip.compress(json.dumps({"instances": [[0, 1]] * 10_000}).encode())
    head = (HEAD % len(body)).replace(b"Host: x", b"Content-Encoding: gzip")

    def answered_rows() -> float:
        return sum(server.metrics().get("glassnet_inference_rows_total", {}).values())

    with ExitStack() as stack:
        slow = []
        for number in range(1, 11):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.connect(("127.0.0.1", server.port))
            client.sendall(head + body)
            until("its reply", lambda n=number: answered_rows() == n * 10_000)
            slow.append(client)
        assert server.predict("xor", [[0, 1]])[0]["label"] == 1
        for client in slow:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            client.shutdown(socket.SHUT_WR)
        whole = [received(client).endswith(b"]}") for client in slow]
    assert not any(whole[:5]) and whole[-1]
    assert [line for line in server.log() if line["level"] == "error"] == []


def test_idle_connections_do_not_hold_up_the_end(
    start: Callable[..., Any], served: Path
) -> None:
    server = start(served, workers=1, read_seconds=600)
    with clients(server, 5) as idle:
        assert server.stop() == 0
        assert all(received(client) == b"" for client in idle)


def test_requests_sent_at_once_are_answered_in_order_and_by_turns(patient: Any) -> None:
    paths = [f"/v1/models/none{number}" for number in range(300)]
    sent = b"".join(b"GET %b HTTP/1.1\r\n\r\n" % path.encode() for path in paths)
    with clients(patient, 1, sent) as (client,):
        assert patient.predict("xor", [[0, 1]])[0]["label"] == 1
        client.shutdown(socket.SHUT_WR)
        client.settimeout(30)
        found = received(client)
    names = [b"none%d'" % number for number in range(300)]
    assert [found.count(name) for name in names] == [1] * 300
    assert sorted(names, key=found.index) == names


def test_a_client_that_waits_for_100_is_told_to_go_on(patient: Any) -> None:
    head = HEAD.replace(b"Host: x", b"Expect: 100-continue") % len(BODY)
    with clients(patient, 1, head) as (client,):
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        assert answered(client).startswith(b"HTTP/1.1 200")
    too_large = HEAD.replace(b"Host: x", b"Expect: 100-continue") % (1 << 40)
    with clients(patient, 1, too_large) as (client,):
        assert received(client).startswith(b"HTTP/1.1 413")


def test_more_bytes_than_a_process_may_hold_are_refused_before_they_come(
    start: Callable[..., Any], served: Path, until: Callable[..., None]
) -> None:
    limits = {"max_body_bytes": 1 << 20, "max_bytes_in_flight": 1 << 20}
    server = start(served, workers=1, read_seconds=600, **limits)
    head = HEAD % (1 << 20)
    with clients(server, 8, head, b" " * (300 << 10)) as slow:
        found = [client for client in slow if refused(client)]
        assert 5 <= len(found) <= 6  # three of 300 KiB fit into 1 MiB
        assert server.predict("xor", [[0, 1]])[0]["label"] == 1
        head = HEAD % (200 << 10)
        with clients(server, 1, head, b" " * (199 << 10)) as (client,):
            client.settimeout(0.5)
            assert refused(client)
    body = BODY, b" " * ((200 << 10) - len(BODY))
    # Those that closed are forgotten soon.
    until("a request is accepted", lambda: accepted(server, head, *body))


def accepted(server: Any, *pieces: bytes) -> bool:
    """Tell whether a new request gets 200."""
    with clients(server, 1, *pieces) as (client,):
        client.settimeout(30)
        return answered(client).startswith(b"HTTP/1.1 200")


def refused(client: socket.socket) -> bool:
    """Tell whether 503 came soon."""
    client.settimeout(2)
    try:
        return client.recv(65536).startswith(b"HTTP/1.1 503")
    except TimeoutError:
        return False


def test_few_requests_at_once_wait_instead_of_being_rejected(
    start: Callable[..., Any], served: Path
) -> None:
    server = start(served, workers=2, threads=2)
    body = json.dumps({"instances": [[[0] * 8] * 8] * 1000}).encode()
    head = (HEAD % len(body)).replace(b"xor", b"digits")
    for _ in range(3):
        with clients(server, 6) as many:
            for client in many:
                client.sendall(head + body)
            for client in many:
                assert answered(client).startswith(b"HTTP/1.1 200")


def test_a_slow_request_delays_no_quick_one(patient: Any) -> None:
    body = json.dumps({"instances": [[[0] * 8] * 8] * 5000}).encode()
    head = (HEAD % len(body)).replace(b"xor", b"digits")
    patient.predict("xor", [[0, 1]])
    with clients(patient, 3, head + body) as slow:
        for _ in range(3):
            assert patient.predict("xor", [[0, 1]])[0]["label"] == 1
        for client in slow:
            assert answered(client).startswith(b"HTTP/1.1 200")


def test_a_body_for_which_no_memory_is_left_is_rejected(
    start: Callable[..., Any], served: Path
) -> None:
    server = start(served, workers=1, threads=2)
    (pid,) = server.workers()
    server.predict("xor", [[0, 1]])
    mapped = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * 4096
    most = mapped + (6 << 20)
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    size = 15 << 20
    with clients(server, 1, HEAD % size, b" " * size) as (client,):
        reply = received(client)
    assert reply.startswith(b"HTTP/1.1 503") and b"cannot allocate memory" in reply
    assert server.predict("xor", [[0, 1]])[0]["label"] == 1
    assert server.workers() == [pid]
    assert [line for line in server.log() if line["level"] == "error"] == []


def test_without_free_descriptors_it_goes_on_and_says_so_once(
    start: Callable[..., Any], served: Path
) -> None:
    server = start(served, workers=1, poll_seconds=60)
    (pid,) = server.workers()
    server.predict("xor", [[0, 1]])  # it opens the files of its metrics
    few = len(os.listdir(f"/proc/{pid}/fd")) + 4
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, few))
    with clients(server, 60, b"GET /ping HTTP/1.1\r\n\r\n"):
        for _ in range(3):
            assert server.request("GET", "/v2/health/live")[0] == 200
    assert server.predict("xor", [[0, 1]])[0]["label"] == 1
    assert server.workers() == [pid]
    told = [line["message"] for line in server.log() if line["level"] == "error"]
    assert len([line for line in told if "cannot accept" in line]) == 1
