"""What the workers of one server share: names, and a call that all of them hear."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from service.server.worker_sync import RefreshListener, SharedSet, refresh_all_workers


@contextmanager
def worker(directory: Path, name: str, look: Callable[[], None]) -> Iterator[None]:
    """A process that listens as a worker does; here a thread under another name."""
    ear = RefreshListener(directory)
    (directory / str(os.getpid())).rename(directory / name)
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            ear.wait(0.01)
            look()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for each in (ear._socket, *ear._callers):
            each.close()


def test_names_are_shared_by_those_who_share_a_directory(tmp_path: Path) -> None:
    mine, theirs = SharedSet(tmp_path / "names"), SharedSet(tmp_path / "names")
    mine.add("xor")
    mine.add("xor")
    mine.add("digits")
    assert set(theirs) == {"xor", "digits"}
    assert len(theirs) == 2
    theirs.discard("xor")
    theirs.discard("never there")
    assert "digits" in mine
    assert "xor" not in mine


@pytest.mark.parametrize("name", [".", "..", "../names", "", 5, "a\0b"])
def test_what_is_no_name_is_not_there(tmp_path: Path, name: object) -> None:
    assert name not in SharedSet(tmp_path / "names")


def test_a_call_returns_when_all_have_looked_since(tmp_path: Path) -> None:
    looks = [0, 0]

    def look(number: int) -> Callable[[], None]:
        def later() -> None:
            time.sleep(0.05)
            looks[number] += 1

        return later

    with worker(tmp_path, "1", look(0)), worker(tmp_path, "2", look(1)):
        for _ in range(5):
            before = list(looks)
            assert refresh_all_workers(tmp_path, 30) == 0
            assert all(now > then for now, then in zip(looks, before, strict=True))


def test_many_may_call_at_once(tmp_path: Path) -> None:
    silent: list[int] = []
    with worker(tmp_path, "1", lambda: None), worker(tmp_path, "2", lambda: None):
        callers = [
            threading.Thread(
                target=lambda: silent.append(refresh_all_workers(tmp_path, 30))
            )
            for _ in range(20)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert silent == [0] * 20


def test_who_does_not_answer_in_time_is_counted(tmp_path: Path) -> None:
    with (
        worker(tmp_path, "1", lambda: None),
        worker(tmp_path, "2", lambda: time.sleep(1)),
    ):
        assert refresh_all_workers(tmp_path, 0.2) == 1


def test_who_takes_no_more_calls_is_counted(tmp_path: Path) -> None:
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "1"))
        listener.listen(0)
        with suppress(BlockingIOError):
            while True:
                caller = sockets.enter_context(socket.socket(socket.AF_UNIX))
                caller.setblocking(False)
                caller.connect(str(tmp_path / "1"))
        assert refresh_all_workers(tmp_path, 30) == 1


def test_who_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        ear = RefreshListener(tmp_path)
        while True:
            ear.wait(0.01)
    place = tmp_path / str(child)
    while not place.exists():
        time.sleep(0.01)
    assert refresh_all_workers(tmp_path, 30) == 0
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert place.exists()
    assert refresh_all_workers(tmp_path, 30) == 0
    assert not place.exists()


def test_who_ends_while_called_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "1"))
        listener.listen()
        ended = threading.Thread(target=lambda: listener.accept()[0].close())
        ended.start()
        assert refresh_all_workers(tmp_path, 30) == 0
        ended.join()


def test_an_ear_takes_the_place_of_one_that_had_its_number(tmp_path: Path) -> None:
    for _ in range(2):
        RefreshListener(tmp_path)._socket.close()
        assert [path.name for path in tmp_path.iterdir()] == [str(os.getpid())]
