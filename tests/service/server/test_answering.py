"""Which requests are answered at once, which in a thread, and which are rejected."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any

import pytest

from service.middleware.rejection import REJECTION, Overloaded
from service.server import answering
from service.server.answering import QUEUED_PER_THREAD, SLOW_SECONDS, Answerer

log = logging.getLogger("test")


class Application:
    """Answers with the path; some requests wait for an event or work for a while."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.wait = threading.Event()
        self.rejected: list[Any] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.threads.append(threading.get_ident())
        path = environ["PATH_INFO"]
        if REJECTION in environ:
            self.rejected.append(environ[REJECTION])
        elif path == "/waits":
            self.wait.wait(30)
        elif path == "/works":
            until = time.thread_time() + 2 * SLOW_SECONDS
            while time.thread_time() < until:
                pass
        elif path == "/fails":
            raise ArithmeticError
        elif path == "/short":
            raise MemoryError
        start_response("200 OK", [])
        return [path.encode()]


class Asked:
    """An answerer, and the replies that came from threads."""

    def __init__(self, threads: int = 2) -> None:
        self.application = Application()
        self.later: queue.Queue[bytes] = queue.Queue()
        self.answerer = Answerer(
            self.application, threads, frozenset({"/alive"}), log, self.done
        )

    def done(self, reply: bytes, conn: Any, pool: Any) -> None:
        pool.active -= 1
        self.later.put(reply)

    def ask(self, path: str, size: int = 0) -> bytes | None:
        environ = {"PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1"}
        return self.answerer.answer(None, environ, size, True)

    def wait(self, path: str, size: int = 0) -> bytes:
        reply = self.ask(path, size)
        return self.later.get(timeout=30) if reply is None else reply


def test_a_quick_path_is_answered_at_once_from_its_second_request_on() -> None:
    asked = Asked()
    assert asked.ask("/a") is None
    assert asked.later.get(timeout=30).endswith(b"/a")
    assert asked.ask("/a", 0)
    assert asked.ask("/a", 1 << 20) is None  # a body of another magnitude
    own = threading.get_ident()
    assert [thread == own for thread in asked.application.threads][:2] == [False, True]


def test_a_slow_path_stays_in_threads_until_it_was_quick_for_a_while() -> None:
    asked = Asked()
    for _ in range(3):
        assert asked.ask("/works") is None
        asked.later.get(timeout=30)
    kind = ("/works", None, 0)
    cost = asked.answerer._costs[kind]
    assert cost >= 2 * SLOW_SECONDS
    asked.answerer._costs[kind] = SLOW_SECONDS / answering.FORGETS / 2
    assert asked.ask("/works") is not None  # once, and then it is known again
    assert asked.ask("/works") is None


def test_what_waits_long_is_slow_too() -> None:
    asked = Asked()
    assert asked.ask("/waits") is None
    time.sleep(25 * SLOW_SECONDS)
    asked.application.wait.set()
    asked.later.get(timeout=30)
    assert asked.ask("/waits") is None


def test_a_bounded_number_waits_and_probes_always_pass() -> None:
    asked = Asked(threads=2)
    for _ in range(2 * (1 + QUEUED_PER_THREAD)):
        assert asked.ask("/waits") is None
    assert asked.ask("/waits")
    (rejection,) = asked.application.rejected
    assert isinstance(rejection, Overloaded) and "GLASSNET_THREADS" in str(rejection)
    assert asked.ask("/alive")
    asked.application.wait.set()
    for _ in range(2 * (1 + QUEUED_PER_THREAD)):
        asked.later.get(timeout=30)
    assert asked.wait("/waits").endswith(b"/waits")
    assert len(asked.application.rejected) == 1


def test_a_failure_of_the_application_is_500() -> None:
    asked = Asked()
    assert b" 500 " in asked.wait("/fails")
    assert b" 500 " in asked.wait("/fails")
    assert b" 503 " in asked.wait("/short")


def test_costs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MAX_COSTS", 10)
    asked = Asked()
    for number in range(50):
        asked.wait(f"/{number}")
        assert len(asked.answerer._costs) <= 11


def test_without_threads_requests_are_answered_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    asked = Asked()
    assert asked.ask("/a") and asked.ask("/works") and asked.ask("/works")
