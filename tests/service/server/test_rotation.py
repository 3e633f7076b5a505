"""Real sockets in the event loop, and a main loop that takes them back."""

from __future__ import annotations

import queue
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.server import rotation
from service.server.rotation import QUIET_SECONDS, SLOW_SECONDS, EventLoop

WAIT = 30.0


class Loops:
    """An event loop, the main loop around it, and what was answered by which thread."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(8)
        self.event_loop = EventLoop(self.answer, self.give_back, self.threads)
        self.returned: queue.Queue[tuple[socket.socket, bool]] = queue.Queue()
        self.by: list[int] = []
        self.sockets: list[socket.socket] = []
        #: What an answer to a byte waits for.
        self.held: dict[bytes, threading.Event] = {}

    def answer(self, connection: socket.socket) -> bool | None:
        asked = connection.recv(1)
        self.by.append(threading.get_ident())
        if asked in self.held:
            self.held[asked].wait(WAIT)
        if asked:
            connection.send(asked)
        return {b"": False, b"x": False, b"-": None}.get(asked, True)

    def give_back(self, connection: socket.socket, kept: bool) -> None:
        self.returned.put((connection, kept))

    def join(self, count: int) -> tuple[list[socket.socket], list[socket.socket]]:
        pairs = [socket.socketpair() for _ in range(count)]
        for client, connection in pairs:
            self.sockets += client, connection
            client.settimeout(WAIT)
            self.threads.submit(self.event_loop.add, connection)
        return [client for client, _ in pairs], [connection for _, connection in pairs]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loops]:
    # Longer than a busy machine keeps a client from asking, or a thread from answering.
    monkeypatch.setattr(rotation, "QUIET_SECONDS", 1.0)
    monkeypatch.setattr(rotation, "SLOW_SECONDS", 0.5)
    made = Loops()
    yield made
    made.threads.shutdown()
    for each in made.sockets:
        each.close()


def ask(client: socket.socket, what: bytes = b"a") -> None:
    client.send(what)
    assert client.recv(1) == what


def test_one_thread_answers_all_busy_connections(place: Loops) -> None:
    clients, _ = place.join(8)
    for _ in range(100):
        for client in clients:
            ask(client)
    assert len(place.by) == 800
    assert len(set(place.by)) == 1


def test_a_quiet_connection_is_given_back_once_and_may_return(place: Loops) -> None:
    clients, connections = place.join(3)
    for client in clients:
        ask(client)
    back = [place.returned.get(timeout=WAIT) for _ in connections]
    assert {connection for connection, _ in back} == set(connections)
    assert all(kept for _, kept in back)
    time.sleep(0.1)
    assert place.returned.empty()
    place.threads.submit(place.event_loop.add, connections[0])
    ask(clients[0])


def test_a_busy_connection_stays_while_a_quiet_one_leaves(place: Loops) -> None:
    (busy, _), (connection, idle) = place.join(2)
    until = time.monotonic() + WAIT
    while place.returned.empty() and time.monotonic() < until:
        ask(busy)
    assert place.returned.get_nowait() == (idle, True)
    assert connection is not idle


def test_a_slow_request_delays_no_other_and_its_connection_is_given_back(
    place: Loops,
) -> None:
    slow = place.held[b"s"] = threading.Event()
    (first, *others), (connection, *_) = place.join(4)
    first.send(b"s")
    for _ in range(20):
        for client in others:
            ask(client)
    slow.set()
    assert first.recv(1) == b"s"
    found = place.returned.get(timeout=WAIT)
    while found[0] is not connection:
        found = place.returned.get(timeout=WAIT)
    assert found == (connection, True)


def test_several_requests_may_be_slow_at_once(place: Loops) -> None:
    names = [b"1", b"2", b"3", b"4"]
    place.held |= {name: threading.Event() for name in names}
    clients, _ = place.join(len(names) + 1)
    for client, name in zip(clients, names, strict=False):
        client.send(name)
    ask(clients[-1])
    for client, name in zip(clients, names, strict=False):
        place.held[name].set()
        assert client.recv(1) == name


@pytest.mark.parametrize(("answer", "kept"), [(b"x", False), (b"-", True)])
def test_a_connection_that_is_not_kept_is_given_back(
    place: Loops, answer: bytes, kept: bool
) -> None:
    (client,), (connection,) = place.join(1)
    ask(client, answer)
    assert place.returned.get(timeout=WAIT) == (connection, kept)


def test_a_connection_whose_client_is_gone_leaves_and_the_loop_runs_on(
    place: Loops,
) -> None:
    (busy,), _ = place.join(1)
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            ask(busy)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    gone = set()
    for _ in range(300):
        client, connection = socket.socketpair()
        place.sockets += client, connection
        client.close()
        gone.add(connection)
        place.threads.submit(place.event_loop.add, connection)
    while gone:
        gone.discard(place.returned.get(timeout=WAIT)[0])
    stop.set()
    asking.join()


def test_a_failed_answer_ends_only_its_connection(
    place: Loops, caplog: pytest.LogCaptureFixture
) -> None:
    (bad, good), (connection, _) = place.join(2)
    place.held[b"f"] = None  # type: ignore[assignment]  # it has no wait
    bad.send(b"f")
    ask(good)
    found = place.returned.get(timeout=WAIT)
    while found[0] is not connection:
        found = place.returned.get(timeout=WAIT)
    assert found == (connection, False)
    assert "AttributeError" in caplog.text


def test_a_connection_closed_by_its_answer_leaves(place: Loops) -> None:
    def close(connection: socket.socket) -> bool:
        connection.close()
        return False

    place.event_loop._answer = close
    (client,), (connection,) = place.join(1)
    client.send(b"a")
    assert place.returned.get(timeout=WAIT) == (connection, False)


def test_no_connection_is_lost_at_any_length_of_pause(
    place: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main loop takes what is given back, answers once, and adds it again."""
    monkeypatch.setattr(rotation, "QUIET_SECONDS", QUIET_SECONDS)
    monkeypatch.setattr(rotation, "SLOW_SECONDS", SLOW_SECONDS)
    stop = threading.Event()
    waiting = selectors.DefaultSelector()

    def first(connection: socket.socket) -> None:
        if place.answer(connection):
            place.event_loop.add(connection)

    def loop() -> None:
        while not stop.is_set():
            while not place.returned.empty():
                connection, kept = place.returned.get()
                assert kept
                waiting.register(connection, selectors.EVENT_READ)
            for key, _ in waiting.select(0.002) if waiting.get_map() else ():
                waiting.unregister(key.fileobj)
                place.threads.submit(first, key.fileobj)

    def client_of(seed: int) -> Callable[[socket.socket], int]:
        chance = random.Random(seed)

        def asks(client: socket.socket) -> int:
            for _ in range(150):
                ask(client, bytes([chance.randrange(65, 91)]))
                if chance.random() < 0.2:
                    time.sleep(chance.choice([0.001, QUIET_SECONDS, 0.03]))
            return 150

        return asks

    clients, _ = place.join(6)
    looping = threading.Thread(target=loop)
    looping.start()
    with ThreadPoolExecutor(6) as pool:
        runs = [
            pool.submit(client_of(seed), client) for seed, client in enumerate(clients)
        ]
        asked = sum(run.result(120) for run in runs)
    stop.set()
    looping.join()
    waiting.close()
    assert len(place.by) == asked == 900
