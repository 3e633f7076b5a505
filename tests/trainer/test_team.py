"""Work that processes share: what comes of it, what is told, and what ends them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import GlassnetError, TrainingDiverged
from tests.processes import gone, state
from tests.serving import wait_for
from trainer.team import MOST, Tell, share_out


def deaf(number: int, message: Any) -> None:
    pytest.fail(f"{number} told {message}")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_piece_is_done_once_and_comes_in_its_place(count: int, size: int) -> None:
    heard: list[tuple[int, Any]] = []

    def work(number: int, tell: Tell) -> Any:
        tell("begins")
        tell(np.full(3, number))
        return number, np.full((50, 50), number)

    found = share_out(count, size, work, lambda *told: heard.append(told))
    assert [number for number, _ in found] == list(range(count))
    for number, array in found:
        np.testing.assert_array_equal(array, np.full((50, 50), number))
    for number in range(count):
        told = [message for who, message in heard if who == number]
        assert told[0] == "begins"
        np.testing.assert_array_equal(told[1], [number] * 3)
        assert len(told) == 2


def test_the_caller_does_the_first_and_helpers_are_processes_of_their_own(
    tmp_path: Path,
) -> None:
    def work(number: int, tell: Tell) -> int:
        (tmp_path / str(number)).touch()
        # So that each of three takes one.
        wait_for("the others", lambda: len(list(tmp_path.iterdir())) == 3)
        return os.getpid()

    pids = share_out(3, 3, work, deaf)
    assert pids[0] == os.getpid()
    assert len(set(pids)) == 3
    assert all(gone(pid) for pid in pids[1:])


def test_all_numbers_there_are_fit_into_the_pipe() -> None:
    assert share_out(MOST, 2, lambda number, tell: number, deaf) == list(range(MOST))


def test_what_helpers_tell_is_heard_while_the_caller_works(tmp_path: Path) -> None:
    heard = []

    def work(number: int, tell: Tell) -> None:
        if number:
            tell("ready")
            (tmp_path / "told").touch()
            wait_for("the others", (tmp_path / "heard").exists)
            return
        wait_for("the others", (tmp_path / "told").exists)
        tell("own")
        assert heard == [(0, "own"), (1, "ready")]
        (tmp_path / "heard").touch()

    share_out(2, 2, work, lambda *told: heard.append(told))


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_first_error_is_raised_and_nobody_goes_on(
    failing: int, tmp_path: Path
) -> None:
    def work(number: int, tell: Tell) -> None:
        (tmp_path / str(number)).write_text(str(os.getpid()))
        if number == failing:
            wait_for("the others", lambda: len(list(tmp_path.iterdir())) == 3)
            raise TrainingDiverged(f"network {number}")
        while True:  # would never end
            tell("still here")
            time.sleep(0.01)

    with pytest.raises(TrainingDiverged) as raised:
        share_out(3, 3, work, lambda number, message: None)
    assert str(raised.value) == f"network {failing}"
    if failing:  # where in the helper is written beside it
        assert "test_team.py" in "".join(raised.value.__notes__)
    pids = [int((tmp_path / str(number)).read_text()) for number in (1, 2)]
    assert all(gone(pid) for pid in pids)


def test_what_the_listener_raises_ends_all() -> None:
    class Enough(BaseException):
        pass

    def enough(number: int, message: Any) -> None:
        if number == 1:
            raise Enough

    def work(number: int, tell: Tell) -> None:
        while True:
            tell(os.getpid())
            time.sleep(0.01)

    with pytest.raises(Enough):
        share_out(2, 2, work, enough)


def test_a_helper_that_is_killed_is_an_error_and_no_wait(tmp_path: Path) -> None:
    def work(number: int, tell: Tell) -> None:
        if number == 0:  # until a helper has the other
            wait_for("the others", (tmp_path / "taken").exists)
            return
        (tmp_path / "taken").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(GlassnetError, match="was ended from outside"):
        share_out(2, 2, work, deaf)


def test_a_helper_that_is_killed_while_it_speaks_is_an_error(tmp_path: Path) -> None:
    def work(number: int, tell: Tell) -> None:
        if number:
            (tmp_path / "pid").write_text(str(os.getpid()))
            tell(np.zeros(1 << 20))  # more than the pipe holds, and nobody reads
            return
        wait_for("the others", lambda: (tmp_path / "pid").exists())
        pid = int((tmp_path / "pid").read_text())
        wait_for("the others", lambda: state(pid) == "S")
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(GlassnetError, match="was ended from outside"):
        share_out(2, 2, work, deaf)


CALLER = """
import os, sys, time
from trainer.team import share_out

def work(number, tell):
    with open(f"{sys.argv[1]}/{number}", "w") as file:
        file.write(str(os.getpid()))
    if number == 1:
        tell(bytes(1 << 20))  # more than the pipe holds, and nobody reads
    time.sleep(600)

share_out(3, 3, work, print)
"""


@pytest.mark.parametrize(
    "signalled", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name
)
def test_helpers_end_with_the_caller_however_it_ends(
    signalled: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", CALLER, str(tmp_path)]
    caller = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(
        "the others", lambda: len([p for p in tmp_path.iterdir() if p.read_text()]) == 3
    )
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    caller.send_signal(signalled)
    caller.wait(30)
    wait_for("the others", lambda: all(gone(pid) for pid in pids))
