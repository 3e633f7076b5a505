"""What a person sees: one line, and only now and then without a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from trainer import progress as module
from trainer.loop import History
from trainer.progress import line, progress, say


def history(validation: bool = True) -> History:
    return History(
        loss=[0.9, 0.54321],
        validation_loss=[0.8, 0.81] if validation else [],
        best_epoch=1,
        seconds=2.34,
    )


def test_line_tells_the_latest_and_the_best_epoch() -> None:
    assert line(history()) == (
        "epoch    2  loss 0.54321  validation 0.81000  best 0.80000 in epoch 1  2.3 s"
    )


def test_line_leaves_out_a_validation_that_is_not() -> None:
    assert line(history(validation=False)) == "epoch    2  loss 0.54321  2.3 s"


def test_line_tells_which_network_of_several() -> None:
    some = history()
    some.member = "2 of 5"
    assert line(some) == f"network 2 of 5  {line(history())}"


def test_say_leaves_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    assert capsys.readouterr() == ("", "hello\n")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return iter([now])


def test_without_a_terminal_a_line_comes_at_intervals(
    clock: Iterator[list[float]], capsys: pytest.CaptureFixture[str]
) -> None:
    now = next(clock)
    with progress() as watch:
        for elapsed in (0.0, 9.9, 10.0, 15.0, 19.9, 20.0, 75.0, 80.0):
            now[0] = 100.0 + elapsed
            watch(history())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [line(history())] * 3


def test_on_a_terminal_the_line_moves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    with progress() as watch:
        watch(history())
    out, err = capsys.readouterr()
    assert out == ""
    assert line(history()) in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)
