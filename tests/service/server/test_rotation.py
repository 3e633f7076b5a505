"""Real sockets in rotation, with a loop that takes them back."""

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


class Place:
    """A rotation, the loop around it, and who answered what."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(8)
        self.event_loop = EventLoop(self.answer, self.give_back, self.threads)
        self.returned: queue.Queue[tuple[socket.socket, bool]] = queue.Queue()
        self.by: list[int] = []
        self.sockets: list[socket.socket] = []
        #: What an answer to a byte waits for.
        self.held: dict[bytes, threading.Event] = {}

    def answer(self, member: socket.socket) -> bool | None:
        asked = member.recv(1)
        self.by.append(threading.get_ident())
        if asked in self.held:
            self.held[asked].wait(WAIT)
        if asked:
            member.send(asked)
        return {b"": False, b"x": False, b"-": None}.get(asked, True)

    def give_back(self, member: socket.socket, kept: bool) -> None:
        self.returned.put((member, kept))

    def join(self, count: int) -> tuple[list[socket.socket], list[socket.socket]]:
        pairs = [socket.socketpair() for _ in range(count)]
        for client, member in pairs:
            self.sockets += client, member
            client.settimeout(WAIT)
            self.threads.submit(self.event_loop.join, member)
        return [client for client, _ in pairs], [member for _, member in pairs]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    # Longer than a busy machine keeps a client from asking, or a thread from answering.
    monkeypatch.setattr(rotation, "QUIET_SECONDS", 1.0)
    monkeypatch.setattr(rotation, "SLOW_SECONDS", 0.5)
    made = Place()
    yield made
    made.threads.shutdown()
    for each in made.sockets:
        each.close()


def ask(client: socket.socket, what: bytes = b"a") -> None:
    client.send(what)
    assert client.recv(1) == what


def test_one_thread_answers_all_who_ask_again_at_once(place: Place) -> None:
    clients, _ = place.join(8)
    for _ in range(100):
        for client in clients:
            ask(client)
    assert len(place.by) == 800
    assert len(set(place.by)) == 1


def test_who_does_not_ask_is_given_back_once_and_may_join_again(place: Place) -> None:
    clients, members = place.join(3)
    for client in clients:
        ask(client)
    back = [place.returned.get(timeout=WAIT) for _ in members]
    assert {member for member, _ in back} == set(members)
    assert all(kept for _, kept in back)
    time.sleep(0.1)
    assert place.returned.empty()
    place.threads.submit(place.rotation.join, members[0])
    ask(clients[0])


def test_one_who_asks_is_kept_while_another_who_does_not_leaves(place: Place) -> None:
    (busy, _), (member, idle) = place.join(2)
    until = time.monotonic() + WAIT
    while place.returned.empty() and time.monotonic() < until:
        ask(busy)
    assert place.returned.get_nowait() == (idle, True)
    assert member is not idle


def test_who_takes_long_holds_nobody_up_and_is_given_back(place: Place) -> None:
    slow = place.held[b"s"] = threading.Event()
    (first, *others), (member, *_) = place.join(4)
    first.send(b"s")
    for _ in range(20):
        for client in others:
            ask(client)
    slow.set()
    assert first.recv(1) == b"s"
    found = place.returned.get(timeout=WAIT)
    while found[0] is not member:
        found = place.returned.get(timeout=WAIT)
    assert found == (member, True)


def test_several_may_take_long_at_once(place: Place) -> None:
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
def test_who_is_not_to_stay_is_given_back(
    place: Place, answer: bytes, kept: bool
) -> None:
    (client,), (member,) = place.join(1)
    ask(client, answer)
    assert place.returned.get(timeout=WAIT) == (member, kept)


def test_whose_client_is_gone_already_leaves_and_no_leader_falls(place: Place) -> None:
    (busy,), _ = place.join(1)
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            ask(busy)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    gone = set()
    for _ in range(300):
        client, member = socket.socketpair()
        place.sockets += client, member
        client.close()
        gone.add(member)
        place.threads.submit(place.rotation.join, member)
    while gone:
        gone.discard(place.returned.get(timeout=WAIT)[0])
    stop.set()
    asking.join()


def test_an_answer_that_fails_ends_its_connection_alone(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    (bad, good), (member, _) = place.join(2)
    place.held[b"f"] = None  # type: ignore[assignment]  # it has no wait
    bad.send(b"f")
    ask(good)
    found = place.returned.get(timeout=WAIT)
    while found[0] is not member:
        found = place.returned.get(timeout=WAIT)
    assert found == (member, False)
    assert "AttributeError" in caplog.text


def test_a_member_that_is_closed_by_its_answer_leaves(place: Place) -> None:
    def close(member: socket.socket) -> bool:
        member.close()
        return False

    place.rotation._answer = close
    (client,), (member,) = place.join(1)
    client.send(b"a")
    assert place.returned.get(timeout=WAIT) == (member, False)


def test_none_is_lost_whatever_pauses_there_are(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop waits for who is given back, answers once, and lets it join again."""
    monkeypatch.setattr(rotation, "QUIET_SECONDS", QUIET_SECONDS)
    monkeypatch.setattr(rotation, "SLOW_SECONDS", SLOW_SECONDS)
    stop = threading.Event()
    waiting = selectors.DefaultSelector()

    def first(member: socket.socket) -> None:
        if place.answer(member):
            place.rotation.join(member)

    def loop() -> None:
        while not stop.is_set():
            while not place.returned.empty():
                member, kept = place.returned.get()
                assert kept
                waiting.register(member, selectors.EVENT_READ)
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
