"""Tasks in processes: their results and messages, and every way in which they end."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import DataError, GlassnetError, TrainingDiverged
from tests.processes import gone, state
from tests.serving import wait_for
from trainer.engines.base import Report
from trainer.engines.processes import MAX_TASKS, ProcessEngine

CALLER = os.getpid()
#: A message that takes many writes, and an error that does.
LARGE = 10_000_000


def ignore(number: int, message: Any) -> None:
    pass


def call(shared: Any, task: Callable[[Report], Any], report: Report) -> Any:
    """Run a task that is a function itself: a fork needs no pickling."""
    assert os.getpid() != CALLER
    return task(report)


def run(*tasks: Callable[[Report], Any], on_message: Any = ignore) -> list[Any]:
    return ProcessEngine(len(tasks)).map(call, None, tasks, on_message)


def endless(report: Report) -> None:
    while True:
        report("still here")
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Nor a thread, nor an open file."""
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    yield
    assert multiprocessing.active_children() == []
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= files


# Results and messages.


def filled(shared: int, task: int, report: Report) -> tuple[int, Any]:
    report("begins")
    report(np.full(3, task))
    return os.getpid(), np.full((50, 50), shared + task)


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("count", [2, 5])
def test_results_and_messages_come_by_number(count: int, size: int) -> None:
    heard: list[tuple[int, Any]] = []
    tasks = list(range(count))
    results = ProcessEngine(size).map(filled, 10, tasks, lambda *m: heard.append(m))
    for number, (_, array) in enumerate(results):
        np.testing.assert_array_equal(array, np.full((50, 50), 10 + number))
        first, second = (message for n, message in heard if n == number)
        assert first == "begins"
        np.testing.assert_array_equal(second, [number] * 3)
    pids = {pid for pid, _ in results}
    assert CALLER not in pids and len(pids) <= size
    assert all(gone(pid) for pid in pids)


def test_as_many_tasks_run_at_once_as_there_are_processes(tmp_path: Path) -> None:
    def meet(report: Report) -> int:
        (tmp_path / str(os.getpid())).touch()
        wait_for("the others", lambda: len(list(tmp_path.iterdir())) == 3)
        return os.getpid()

    assert len(set(run(meet, meet, meet))) == 3


def same(shared: None, task: int, report: Report) -> int:
    return task


def test_each_of_many_tasks_runs_once() -> None:
    tasks = list(range(MAX_TASKS))
    assert ProcessEngine(2).map(same, None, tasks, ignore) == tasks


def test_messages_arrive_while_tasks_run(tmp_path: Path) -> None:
    def waits(report: Report) -> None:
        report("ready")
        wait_for("the caller", (tmp_path / "heard").exists)

    def heard(number: int, message: Any) -> None:
        (tmp_path / "heard").touch()

    run(waits, waits, on_message=heard)


def test_shared_data_is_inherited() -> None:
    """So it need not be picklable, and is not copied."""
    shared = threading.Lock()

    def seen(shared: Any, task: int, report: Report) -> int:
        return id(shared)

    assert ProcessEngine(2).map(seen, shared, [0, 1], ignore) == [id(shared)] * 2


# Errors.


class TwoArguments(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class OddError(GlassnetError):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def holding_a_lock(error: Exception) -> Exception:
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (TrainingDiverged("step 3"), TrainingDiverged, "step 3"),
        (holding_a_lock(DataError("row 1")), DataError, "row 1"),
        (TrainingDiverged("x" * LARGE), TrainingDiverged, "x" * LARGE),
        (OddError("a", "b"), RuntimeError, "OddError: a and b"),
        (ValueError("why"), ValueError, "why"),
        (holding_a_lock(ValueError("why")), ValueError, "why"),
        (TwoArguments("a", "b"), RuntimeError, "TwoArguments: a and b"),
        (KeyError("k"), KeyError, "'k'"),
        (EOFError("own"), EOFError, "own"),
        (OSError(errno.ENOSPC, "full"), OSError, "[Errno 28] full"),
        (MemoryError(), MemoryError, ""),
        (SystemExit(0), RuntimeError, "SystemExit: 0"),
        (KeyboardInterrupt(), RuntimeError, "KeyboardInterrupt: "),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnicodeDecodeError, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_error_arrives_as_what_it_is_with_its_traceback(
    error: BaseException, kind: type[BaseException], message: str | None
) -> None:
    def fails(report: Report) -> None:
        raise error

    with pytest.raises(kind) as raised:
        run(endless, fails)
    assert type(raised.value) is kind
    assert str(raised.value) == (str(error) if message is None else message)
    (note,) = raised.value.__notes__
    assert "in fails" in note and type(error).__name__ in note


def test_an_error_that_cannot_be_pickled_by_its_class_is_told() -> None:
    class Local(Exception):
        pass

    def fails(report: Report) -> None:
        raise Local("here")

    with pytest.raises(RuntimeError, match="Local: here"):
        run(endless, fails)


@pytest.mark.parametrize("how", ["returned", "reported"])
def test_what_cannot_be_pickled_is_an_error(how: str) -> None:
    def sends(report: Report) -> Any:
        if how == "reported":
            report(threading.Lock())
        return threading.Lock()

    with pytest.raises(TypeError, match="cannot pickle"):
        run(endless, sends)


def test_an_error_comes_before_the_end_of_its_process() -> None:
    """Also if nothing was read from the process before it exited."""

    def fails(report: Report) -> None:
        report(os.getpid())
        raise TrainingDiverged("at last")

    def slow(number: int, message: Any) -> None:
        if number == 1:
            wait_for("its end", lambda: gone(message))

    with pytest.raises(TrainingDiverged, match="at last"):
        run(endless, fails, on_message=slow)


def test_an_error_of_on_message_stops_all() -> None:
    class Enough(BaseException):
        pass

    def enough(number: int, message: Any) -> None:
        raise Enough

    with pytest.raises(Enough):
        run(endless, endless, on_message=enough)


def test_a_process_that_cannot_be_started_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []
    start = multiprocessing.get_context("fork").Process.start

    def second_fails(self: Any) -> None:
        if started:
            raise BlockingIOError(errno.EAGAIN, "no more processes")
        started.append(1)
        start(self)

    monkeypatch.setattr(
        multiprocessing.get_context("fork").Process, "start", second_fails
    )
    with pytest.raises(BlockingIOError, match="no more processes"):
        run(endless, endless)


# Processes that end or stop.


def kill(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda: os._exit(0), "exit code 0"),
        (lambda: os._exit(3), "exit code 3"),
        (lambda: kill(signal.SIGKILL), "signal SIGKILL, as when memory runs out"),
        (lambda: kill(signal.SIGTERM), "signal SIGTERM"),
    ],
    ids=["exit 0", "exit 3", "SIGKILL", "SIGTERM"],
)
def test_a_process_that_ends_is_one_sentence(end: Callable[[], None], why: str) -> None:
    def ends(report: Report) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end()

    with pytest.raises(GlassnetError) as raised:
        run(endless, ends)
    assert str(raised.value) == (f"a training process ended without a result ({why})")


def test_a_process_that_ends_after_a_large_message_has_sent_it() -> None:
    heard: list[int] = []

    def ends(report: Report) -> None:
        report(bytes(LARGE))
        os._exit(1)

    with pytest.raises(GlassnetError, match="exit code 1"):
        run(endless, ends, on_message=lambda n, m: heard.append(len(m)))
    assert LARGE in heard


def test_a_process_that_is_killed_in_the_middle_of_a_message_is_an_error() -> None:
    """A large message is sent only as it is read: the pipe holds 64 KiB."""

    class Slow:
        def __reduce__(self) -> Any:
            threading.Thread(target=die, daemon=True).start()
            return bytes, (bytes(200_000_000),)

    def die() -> None:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)

    def sends(report: Report) -> None:
        while True:
            report(Slow())

    with pytest.raises(GlassnetError, match="signal SIGKILL"):
        run(endless, sends)


@pytest.mark.parametrize("size", [0, LARGE])
def test_a_process_that_is_stopped_can_be_interrupted(size: int) -> None:
    """Also in the middle of a message."""
    caller = os.getpid()

    def stops(report: Report) -> None:
        pid = os.getpid()

        def stop() -> None:
            time.sleep(0.05)
            os.kill(pid, signal.SIGSTOP)

        if size:
            threading.Thread(target=stop).start()
            while True:
                report(bytes(size))
        os.kill(pid, signal.SIGSTOP)

    def interrupts(report: Report) -> None:
        time.sleep(0.5)
        os.kill(caller, signal.SIGINT)
        time.sleep(60)

    # As Python sets it: it may be ignored, as under nohup.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(stops, interrupts)
    finally:
        signal.signal(signal.SIGINT, before)


def test_processes_ignore_ctrl_c() -> None:
    def interrupted(report: Report) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return "done"

    assert run(interrupted, interrupted) == ["done", "done"]


#: Like `trainer fit`: polars is there, and Ctrl-C is Python's, also under nohup.
PROGRAM = """
import os, signal, sys, time
import polars
from trainer.engines.processes import ProcessEngine

signal.signal(signal.SIGINT, signal.default_int_handler)

def work(shared, task, report):
    with open(f"{sys.argv[1]}/{task}.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{sys.argv[1]}/{task}.new", f"{sys.argv[1]}/{task}")
    if task == 1:
        report(bytes(1 << 20))  # more than the pipe holds
    time.sleep(600)

def busy(number, message):
    while True:  # one long sleep would miss a signal that comes just before it
        time.sleep(0.01)

ProcessEngine(3).map(work, None, [0, 1, 2], busy)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """Start a caller with three workers; end all of them whatever happens."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    caller = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        files = [tmp_path / str(task) for task in range(3)]
        wait_for("the workers", lambda: all(file.exists() for file in files))
        yield caller, [int(file.read_text()) for file in files]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(caller.pid, signal.SIGKILL)
        caller.wait(30)


@pytest.mark.parametrize(
    "signalled", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name
)
def test_workers_end_with_the_caller_however_it_ends(
    signalled: signal.Signals, program: tuple[subprocess.Popen[bytes], list[int]]
) -> None:
    caller, pids = program
    assert all(state(pid) != "Z" for pid in pids)
    caller.send_signal(signalled)
    caller.wait(30)
    wait_for("their end", lambda: all(gone(pid) for pid in pids))


FORKING = """
import os, signal, time
from trainer.engines.processes import ProcessEngine

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)

signal.signal(signal.SIGINT, signal.default_int_handler)
os.register_at_fork(after_in_parent=interrupt)
try:
    ProcessEngine(2).map(lambda *given: time.sleep(600), None, [0, 1], print)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_not_lost_while_processes_start() -> None:
    """Python ignores the exception that a hook of `os.fork` ends in."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_pickle_keeps_the_notes_of_an_error() -> None:
    """The traceback travels as a note: this is Python's promise, not ours."""
    error = ValueError("why")
    error.add_note("where")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["where"]
