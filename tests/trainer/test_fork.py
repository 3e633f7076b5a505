"""A helper that is a fork ends when it is done, when it is told to, and never alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.errors import GlassnetError
from tests.processes import gone
from tests.serving import wait_for
from trainer.fork import Fork, placed


def test_it_sees_what_the_caller_had(tmp_path: Path) -> None:
    words = ["of the caller"]
    fork = Fork(lambda: (tmp_path / "seen").write_text(words[0]) and None)
    fork.ended()
    assert (tmp_path / "seen").read_text() == "of the caller"
    fork.end()


@pytest.mark.parametrize(
    ("signalled", "why"),
    [
        (signal.SIGKILL, r"signal SIGKILL, as when memory runs out\)"),
        (signal.SIGTERM, r"signal SIGTERM\)"),
    ],
)
def test_who_ended_it_is_told(signalled: signal.Signals, why: str) -> None:
    fork = Fork(lambda: os.kill(os.getpid(), signalled))
    with pytest.raises(GlassnetError, match=f"was ended from outside \\({why}"):
        fork.ended()
    fork.end()


def test_an_exit_of_its_own_is_told() -> None:
    fork = Fork(lambda: os._exit(3))
    with pytest.raises(GlassnetError, match=r"was ended from outside \(code 3\)"):
        fork.ended()
    fork.end()


def test_it_is_ended_wherever_it_is() -> None:
    fork = Fork(lambda: time.sleep(600))
    fork.end()
    assert multiprocessing.active_children() == []


def test_ctrl_c_is_the_callers() -> None:
    fork = Fork(lambda: os.kill(os.getpid(), signal.SIGINT))
    fork.ended()
    fork.end()


def test_an_error_says_where_it_was_raised() -> None:
    with pytest.raises(ValueError, match="why") as raised:
        raise ValueError("why")
    assert "test_fork.py" in placed(raised.value).__notes__[0]


CALLER = """
import os, sys, time
from trainer.fork import Fork

def work():
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)

Fork(work).ended()
"""


@pytest.mark.parametrize(
    "signalled", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name
)
def test_it_ends_with_the_caller_however_that_ends(
    signalled: signal.Signals, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(pid)], stderr=subprocess.DEVNULL
    )
    wait_for("the helper", lambda: pid.exists() and pid.read_text())
    caller.send_signal(signalled)
    caller.wait(30)
    wait_for("its end", lambda: gone(int(pid.read_text())))
