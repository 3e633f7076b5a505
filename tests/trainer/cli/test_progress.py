"""What a person sees: one line, and only now and then without a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from trainer.cli import progress as module
from trainer.cli.progress import line, progress, say
from trainer.training.history import History
from trainer.training.progress import Progress


def standing(validation: bool = True, count: int = 1, left: float = 110.7) -> Progress:
    history = History(
        planned=20,
        loss=[0.9, 0.54321],
        validation_loss=[0.8, 0.81] if validation else [],
        best_epoch=1,
    )
    return Progress(history, 2, count, left)


def test_line_tells_the_latest_epoch() -> None:
    assert line(standing()) == ("epoch 2/20  loss 0.5432  validation 0.8100  1:51 left")


def test_line_leaves_out_a_validation_that_is_not() -> None:
    assert line(standing(validation=False)) == "epoch 2/20  loss 0.5432  1:51 left"


def test_line_tells_which_network_of_several() -> None:
    assert line(standing(count=5)) == f"network 2/5  {line(standing())}"


@pytest.mark.parametrize(
    ("left", "text"),
    [(0.0, "0:00"), (59.6, "1:00"), (3599.0, "59:59"), (7325, "2:02:05")],
)
def test_line_ends_with_the_time_left(left: float, text: str) -> None:
    assert line(standing(left=left)).endswith(f"  {text} left")


def test_the_longest_line_fits_80_columns() -> None:
    history = History(
        planned=10_000, loss=[123.4567] * 9_999, validation_loss=[123.4567] * 9_999
    )
    assert len(line(Progress(history, 64, 64, left=35_999.0))) < 80


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
            watch(standing())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [line(standing())] * 3


def test_on_a_terminal_the_line_moves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    with progress() as watch:
        watch(standing())
    out, err = capsys.readouterr()
    assert out == ""
    assert line(standing()) in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_narrow_terminal_the_line_is_cut_not_broken(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    with progress() as watch:
        watch(standing(count=5))
        watch(standing(count=5))
    err = capsys.readouterr().err
    assert "\n" not in err
    whole = line(standing(count=5))
    drawn = [text for text in re.split(r"\r\x1b\[K", err) if text]
    assert drawn == [whole[: width - 1]] * 2
    assert (drawn[0] == whole) == (width == 80)
