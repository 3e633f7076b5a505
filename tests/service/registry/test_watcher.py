"""A thread that repeats its action whatever happens, and says when it cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.registry import watcher as module
from service.registry.watcher import Watcher


@pytest.fixture
def watch() -> Iterator[Callable[..., Watcher]]:
    """Start a watcher, and end it after the test."""
    started: list[Watcher] = []

    def watch(action: Callable[[], object], *options: Any) -> Watcher:
        started.append(Watcher("store watcher", action, *options))
        started[-1].start(30)
        return started[-1]

    yield watch
    for watcher in started:
        watcher.stop()


def test_an_action_is_done_at_once_and_repeated(watch: Callable[..., Watcher]) -> None:
    calls, enough = [], threading.Event()

    def action() -> None:
        calls.append(1)
        if len(calls) > 2:
            enough.set()

    watcher = watch(action, 0.01)
    assert calls and enough.wait(30)
    assert watcher.alive and watcher.fault == ""


def test_what_is_waited_for_brings_the_next_action_forward(
    watch: Callable[..., Watcher],
) -> None:
    called, acted = threading.Event(), threading.Event()
    calls: list[int] = []

    def action() -> None:
        calls.append(1)
        if len(calls) > 1:
            acted.set()

    watch(action, 3600, lambda seconds: called.wait(seconds))
    assert not acted.is_set()
    called.set()
    assert acted.wait(30)


@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), OSError(24, "files"), MemoryError(), SystemExit()]
)
def test_no_error_ends_the_thread_and_each_is_told_once(
    watch: Callable[..., Watcher], error: BaseException
) -> None:
    told: list[str] = []
    calls, enough = [], threading.Event()

    def action() -> None:
        calls.append(1)
        if len(calls) > 5:
            enough.set()
        raise error

    watcher = Watcher("w", action, 0.001, None, told.append)
    watcher.start()
    try:
        assert enough.wait(30)
        assert watcher.alive and told == [repr(error)]
    finally:
        watcher.stop()


def test_a_report_that_fails_too_is_made_again(watch: Callable[..., Watcher]) -> None:
    """As without a file descriptor for the metric of the failure."""
    told: list[str] = []
    enough = threading.Event()

    def action() -> None:
        raise OSError("no descriptor")

    def report(failure: str) -> None:
        told.append(failure)
        if len(told) > 2:
            enough.set()
        else:
            raise OSError("no descriptor either")

    watcher = Watcher("w", action, 0.001, None, report)
    watcher.start()
    try:
        assert enough.wait(30)
        assert watcher.alive
    finally:
        watcher.stop()


def test_a_stuck_action_is_told(
    watch: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.0)
    begun, over = threading.Event(), threading.Event()

    def action() -> None:
        begun.set()
        over.wait(30)

    watcher = Watcher("store watcher", action, 3600)
    watcher.start()
    try:
        assert begun.wait(30)
        assert watcher.fault.startswith("the store watcher has been stuck for ")
        assert watcher.alive
    finally:
        over.set()
        watcher.stop()


def test_a_thread_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    told: list[str] = []
    watcher = Watcher("store watcher", lambda: None, 1, None, told.append)
    watcher.start(30)
    assert told == ["can't start new thread"]
    assert watcher.fault == "the store watcher does not run" and not watcher.alive
