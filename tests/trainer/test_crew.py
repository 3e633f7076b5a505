"""A crew does every piece of work once, fails as one, and is gone when it is left."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from trainer.crew import ALONE, Crew

SIZES = pytest.mark.parametrize("size", [1, 2, 3])


@SIZES
def test_every_member_does_the_work_in_a_thread_of_its_own(size: int) -> None:
    threads: dict[int, int] = {}

    def work(member: int) -> None:
        threads[member] = threading.get_ident()

    with Crew(size) as crew:
        crew.run(work)
    assert sorted(threads) == list(range(size))
    assert threads[0] == threading.get_ident()
    assert len(set(threads.values())) == size


def test_members_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3)
    with Crew(3) as crew:
        crew.run(lambda member: meeting.wait(60) and None)


@SIZES
def test_nobody_goes_on_before_all_are_done(size: int) -> None:
    counts = [0] * size

    def work(member: int) -> None:
        assert min(counts) == max(counts) or member
        counts[member] += 1

    with Crew(size) as crew:
        for step in range(1, 300):
            crew.run(work)
            assert counts == [step] * size


@SIZES
def test_each_item_is_taken_once(size: int) -> None:
    taken: list[tuple[int, int]] = []
    with Crew(size) as crew:
        crew.each(range(200), lambda item, member: taken.append((item, member)))
    assert sorted(item for item, _ in taken) == list(range(200))
    assert {member for _, member in taken} <= set(range(size))


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_what_one_raises_is_raised_when_all_are_done(failing: int) -> None:
    done = []

    def work(member: int) -> None:
        if member == failing:
            raise ValueError(f"member {member}")
        done.append(member)

    with Crew(3) as crew:
        with pytest.raises(ValueError, match=f"member {failing}"):
            crew.run(work)
        assert sorted(done) == [m for m in range(3) if m != failing]
        crew.run(lambda member: done.append(member))  # and it can go on
    assert len(done) == 5


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_no_thread_is_left(error: type[BaseException]) -> None:
    before = set(threading.enumerate())

    def work(member: int) -> None:
        assert len(threading.enumerate()) == len(before) + 2
        if member == 0:
            raise error

    with pytest.raises(error), Crew(3) as crew:
        crew.run(work)
    assert set(threading.enumerate()) == before


def test_ctrl_c_while_it_waits_for_a_helper_hangs_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = set(threading.enumerate())
    waiting = threading.Event()

    class Interrupted:
        def get(self) -> None:
            waiting.set()
            raise KeyboardInterrupt

        def put(self, error: object) -> None:
            pass

    def slow(member: int) -> None:
        if member:
            assert waiting.wait(60)

    crew = Crew(2)
    monkeypatch.setattr(crew, "_done", Interrupted())
    with pytest.raises(KeyboardInterrupt), crew:
        crew.run(slow)
    assert set(threading.enumerate()) == before


def test_helpers_treat_overflows_as_their_caller_does() -> None:
    def work(member: int) -> None:
        if member:
            np.float32(1e38) * np.float32(1e38)

    with (
        np.errstate(over="raise"),
        Crew(2) as crew,
        pytest.raises(FloatingPointError),
    ):
        crew.run(work)
    with np.errstate(over="ignore"), Crew(2) as crew:
        crew.run(work)


def test_one_who_is_alone_needs_no_thread() -> None:
    before = threading.active_count()
    seen: list[tuple[str, int]] = []
    ALONE.each("ab", lambda item, member: seen.append((item, member)))
    assert seen == [("a", 0), ("b", 0)]
    assert threading.active_count() == before
