"""Two do each step together, agree on numbers, fail as one, and leave nobody behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import Any

import numpy as np
import pytest

from models.errors import GlassnetError, TrainingDiverged
from tests.processes import gone
from trainer import crew
from trainer.crew import ALONE, Crew, shared, together

SIZES = pytest.mark.parametrize("size", [1, 2])


@SIZES
def test_every_member_does_the_work_in_a_process_of_its_own(size: int) -> None:
    pids = shared(np.zeros(2, np.int64))

    def work(crew: Crew) -> int:
        assert crew.size == size
        pids[crew.number] = os.getpid()
        return os.getpid()

    assert together(size, work) == os.getpid() == pids[0]
    assert np.count_nonzero(np.unique(pids)) == size
    assert multiprocessing.active_children() == []


@SIZES
def test_nobody_goes_on_before_all_are_there(size: int) -> None:
    counts = shared(np.zeros(size, np.int64))

    def work(crew: Crew) -> None:
        for step in range(1, 2000):
            counts[crew.number] = step
            crew.meet()
            assert counts.tolist() == [step] * size
            crew.meet()

    together(size, work)
    assert counts.tolist() == [1999] * size


def test_one_who_comes_much_later_is_waited_for() -> None:
    def work(crew: Crew) -> float:
        for late in (0, 1):
            if crew.number == late:
                time.sleep(0.3)
            crew.meet()
        return crew.meet(0.5)

    assert together(2, work) == 1.0


@SIZES
def test_numbers_are_summed_to_the_last_bit(size: int) -> None:
    given = [[0.1, 0.2], [1e300, -1e-300], [np.inf, 1.0], [2.0, np.nan], [0.0, 0.7]]
    sums = shared(np.zeros((2, len(given))))

    def work(crew: Crew) -> None:
        for k, numbers in enumerate(given):
            sums[crew.number, k] = crew.meet(numbers[crew.number])

    together(size, work)
    expected = [sum(numbers[:size]) for numbers in given]
    for found in sums[:size]:
        np.testing.assert_array_equal(found, expected)


@SIZES
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_each_item_is_one_members(size: int, count: int) -> None:
    taken = shared(np.zeros(count + 1, np.int64))[:count]

    def work(crew: Crew) -> None:
        for item in crew.part(range(count)):
            taken[item] += crew.number + 1

    together(size, work)
    assert (taken > 0).all()
    assert (taken <= size).all()
    assert count < 2 or len(np.unique(taken)) == size


@SIZES
def test_what_cannot_be_divided_is_done_once_before_all_go_on(size: int) -> None:
    done = shared(np.zeros(1, np.int64))

    def add() -> None:
        time.sleep(0.01)
        done[0] += 1

    def work(crew: Crew) -> None:
        for step in range(1, 10):
            crew.once(add)
            assert done[0] == step
            crew.meet()

    together(size, work)
    assert done[0] == 9


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("error", [TrainingDiverged("why"), KeyError("k")])
def test_what_one_raises_is_raised_and_nobody_goes_on(
    failing: int, error: Exception
) -> None:
    pids = shared(np.zeros(2, np.int64))

    def work(crew: Crew) -> None:
        pids[crew.number] = os.getpid()
        while True:
            crew.meet()
            if crew.number == failing:
                raise error

    with pytest.raises(type(error)) as raised:
        together(2, work)
    assert raised.value.args == error.args
    if failing:  # where in the helper is written beside it
        assert "test_crew.py" in "".join(raised.value.__notes__)
    assert gone(int(pids[1]))


def test_what_both_raise_is_the_callers() -> None:
    def work(crew: Crew) -> None:
        crew.meet()
        raise ValueError(crew.number)

    for _ in range(20):
        with pytest.raises(ValueError, match="0"):
            together(2, work)


def test_a_helper_that_is_killed_is_an_error_and_no_wait() -> None:
    def work(crew: Crew) -> None:
        crew.meet()
        if crew.number:
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            crew.meet()

    with pytest.raises(GlassnetError, match="signal SIGKILL, as when memory runs out"):
        together(2, work)


def test_ctrl_c_is_the_callers_and_leaves_nobody() -> None:
    pids = shared(np.zeros(2, np.int64))

    def work(crew: Crew) -> None:
        pids[crew.number] = os.getpid()
        os.kill(os.getpid(), signal.SIGINT if crew.number else 0)
        crew.meet()  # the helper is still there
        if crew.number:
            os.kill(int(pids[0]), signal.SIGINT)
            time.sleep(60)
        crew.meet()

    # As Python sets it: another test may have left its own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            together(2, work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert gone(int(pids[1]))


def test_helpers_treat_overflows_as_their_caller_does() -> None:
    def work(crew: Crew) -> None:
        if crew.number:
            np.float32(1e38) * np.float32(1e38)

    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        together(2, work)
    with np.errstate(over="ignore"):
        together(2, work)


def test_no_file_is_left_open() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    together(2, Crew.meet)
    before = opened()
    for _ in range(5):
        together(2, Crew.meet)
    assert opened() == before


def test_one_who_is_alone_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "Fork", None)
    assert together(1, lambda crew: crew) is ALONE
    assert ALONE.meet(0.3) == 0.3


@pytest.mark.parametrize("array", [np.arange(6.0), np.zeros((2, 3), "f4")])
def test_what_is_shared_is_a_copy_that_a_fork_writes_to(array: Any) -> None:
    copy = shared(array)
    assert copy.dtype == array.dtype
    np.testing.assert_array_equal(copy, array)

    def work(crew: Crew) -> None:
        if crew.number:
            copy[...] = 7.0

    together(2, work)
    assert (copy == 7.0).all()
    assert not (array == 7.0).any()
