"""One run at a time, none missed and none doubled: by a fake clock and for real."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ArtefactCorrupt
from models.storage import files
from models.storage.directory import SCHEDULE, DirectorySchedule
from models.storage.directory import DirectoryStore as Store
from trainer.operations.cron import CronSchedule
from trainer.operations.scheduler import (
    RETRY_SECONDS,
    ScheduledRun,
    Scheduler,
    State,
    health,
    read_state,
    write_state,
)

SECOND, MINUTE, HOUR, DAY = (
    timedelta(**{u: 1}) for u in ("seconds", "minutes", "hours", "days")
)
#: The afternoons before clocks change, each followed by a night of the change.
SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)


class Night:
    """Schedulers on one store under a clock that jumps to the next thing to do."""

    def __init__(self, home: Path, clock: CronSchedule, start: datetime) -> None:
        self.home, self.clock, self.time = home, clock, start
        self.began: list[datetime] = []
        self.lasts = MINUTE
        self.said: list[str] = []

    def scheduler(self, **options: Any) -> Scheduler:
        made = Scheduler(
            *("m", DirectorySchedule(self.home), self.clock, [], self.said.append),
            now=lambda: self.time,
            **options,
        )

        def run(handles: tuple[int, ...], began: datetime) -> ScheduledRun:
            with pytest.raises(BlockingIOError), files.locked(self.home, wait=False):
                pytest.fail("it runs without the lock")
            assert began == self.time
            self.began.append(began)
            self.time += self.lasts
            return ScheduledRun(began, self.time, 0)

        made.run = run  # type: ignore[method-assign]
        made.begin()
        return made

    def until(self, end: datetime, *schedulers: Scheduler) -> None:
        """Let schedulers live until a moment, each asked again when it asked to be."""
        wake = dict.fromkeys(range(len(schedulers)), self.time)
        while (first := min(wake, key=wake.__getitem__)) in wake and wake[first] < end:
            self.time = max(self.time, wake[first])
            asked = schedulers[first].tick()
            wake[first] = self.time + max(timedelta(seconds=asked), SECOND)
        self.time = max(self.time, end)

    def check(self, start: datetime, end: datetime) -> None:
        """No run without a time of its own, and no time without a run after it."""
        covered = start
        for began in self.began:
            assert self.clock.next_after(covered) <= began, "a doubled run"
            covered = began
        assert self.clock.next_after(covered) >= end, "a missed run"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "store" / "m" / SCHEDULE


@pytest.mark.parametrize("start", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("jitter", [0.0, 45 * 60.0])
@pytest.mark.parametrize(
    ("cron", "runs"),
    [("30 2 * * *", 3), ("0 3 * * *", 3), ("0 2 * * *", 3), ("15 */6 * * *", 12)],
)
def test_a_night_in_which_the_clocks_change(
    cron: str, runs: int, jitter: float, start: datetime, home: Path
) -> None:
    night = Night(home, CronSchedule.parse(cron, "Europe/Berlin"), start)
    night.until(start + 3 * DAY, night.scheduler(jitter=jitter))
    assert len(night.began) == runs
    covered = start
    for began in night.began:
        due = night.clock.next_after(covered)
        assert due <= began <= due + timedelta(seconds=jitter) + SECOND
        covered = began


@pytest.mark.parametrize(("start", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_an_hourly_run_comes_every_real_hour(
    start: datetime, hours: int, home: Path
) -> None:
    midnight = start.replace(hour=23 if start is SPRING else 22)
    night = Night(home, CronSchedule.parse("30 * * * *", "Europe/Berlin"), midnight)
    night.until(midnight + hours * HOUR, night.scheduler())
    assert night.began == [midnight + n * HOUR + 30 * MINUTE for n in range(hours)]


@pytest.mark.long
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_restarts_long_runs_and_two_at_once_miss_and_double_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whoever lives when, over the night the clocks change, in any of the zones."""
    cron = data.draw(st.sampled_from(["30 2 * * *", "*/40 * * * *", "0 1-4 * * *"]))
    zone = data.draw(st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "UTC"]))
    start = data.draw(
        st.sampled_from([SPRING, AUTUMN, datetime(2026, 4, 3, tzinfo=UTC)])
    )
    home = tmp_path_factory.mktemp("night") / SCHEDULE
    night = Night(home, CronSchedule.parse(cron, zone), start)
    night.scheduler()
    for _ in range(data.draw(st.integers(1, 6))):
        night.lasts = MINUTE * data.draw(st.integers(0, 130))
        jitter = 60.0 * data.draw(st.integers(0, 20))
        alive = [
            night.scheduler(jitter=jitter) for _ in range(data.draw(st.integers(1, 2)))
        ]
        night.until(night.time + MINUTE * data.draw(st.integers(1, 900)), *alive)
        night.time += MINUTE * data.draw(st.integers(0, 900))  # no process lives
    night.lasts = MINUTE
    night.until(night.time + HOUR, night.scheduler())
    night.check(start, night.time)


def test_what_was_missed_is_made_up_once(home: Path) -> None:
    night = Night(home, CronSchedule.parse("0 3 * * *", "UTC"), AUTUMN)
    night.until(AUTUMN + DAY, night.scheduler())
    assert len(night.began) == 1
    night.time += 5 * DAY
    night.until(night.time + HOUR, night.scheduler())
    assert night.began[1:] == [AUTUMN + 6 * DAY]  # at once, and once
    night.until(night.time + DAY, night.scheduler())
    assert len(night.began) == 3


def test_a_first_start_makes_nothing_up(home: Path) -> None:
    night = Night(home, CronSchedule.parse("0 3 * * *", "UTC"), AUTUMN)
    night.until(AUTUMN + 14 * HOUR, night.scheduler())
    assert night.began == []
    assert night.said == ["m: next run 2026-10-25 03:00:00+00:00"]


def test_another_expression_begins_anew(home: Path) -> None:
    night = Night(home, CronSchedule.parse("0 3 * * *", "UTC"), AUTUMN)
    night.until(AUTUMN + DAY, night.scheduler())
    night.clock = CronSchedule.parse("0 * * * *", "UTC")
    night.until(AUTUMN + DAY + 90 * MINUTE, night.scheduler())
    assert night.began[1:] == [AUTUMN + DAY + HOUR]
    assert health(DirectorySchedule(home), None, night.time)[0]


def test_a_run_longer_than_the_interval_is_followed_by_one(home: Path) -> None:
    night = Night(home, CronSchedule.parse("*/10 * * * *", "UTC"), AUTUMN)
    night.lasts = 35 * MINUTE
    night.until(AUTUMN + 45 * MINUTE, night.scheduler())
    assert night.began == [AUTUMN + 10 * MINUTE]
    night.lasts = MINUTE
    night.until(AUTUMN + 65 * MINUTE, night.scheduler())
    begun = [AUTUMN + n * MINUTE for n in (10, 45, 50, 60)]
    assert night.began == begun


def test_a_state_from_a_wrong_clock_is_not_waited_for(home: Path) -> None:
    home.mkdir(parents=True)
    far = AUTUMN + 4000 * DAY
    write_state(DirectorySchedule(home), State("0 3 * * *", "UTC", far, far))
    night = Night(home, CronSchedule.parse("0 3 * * *", "UTC"), AUTUMN)
    night.until(AUTUMN + 2 * DAY, night.scheduler())
    assert len(night.began) == 2
    state = read_state(DirectorySchedule(home))
    assert state is not None and state.covered == night.began[-1]


def test_a_clock_a_little_behind_doubles_nothing(home: Path) -> None:
    night = Night(home, CronSchedule.parse("0 3 * * *", "UTC"), AUTUMN)
    ahead = night.scheduler()
    real = ahead.now
    ahead.now = lambda: real() + 5 * MINUTE
    behind = night.scheduler()
    begun: list[datetime] = []
    ahead.run = behind.run = lambda lock, began: (  # type: ignore[method-assign]
        begun.append(began) or ScheduledRun(began, began, 0)
    )
    night.until(AUTUMN + 2 * DAY, ahead, behind)
    assert len(begun) == 2


def test_a_lock_that_another_holds_is_tried_again(home: Path) -> None:
    night = Night(home, CronSchedule.parse("0 3 * * *", "UTC"), AUTUMN)
    scheduler = night.scheduler()
    night.time += 20 * HOUR
    with files.locked(home):
        assert scheduler.tick() == RETRY_SECONDS
        assert night.began == []
    assert scheduler.tick() > RETRY_SECONDS
    assert len(night.began) == 1


def test_a_store_that_is_away_ends_no_schedule(home: Path) -> None:
    night = Night(home, CronSchedule.parse("0 3 * * *", "UTC"), AUTUMN)
    scheduler = night.scheduler()
    night.time += 20 * HOUR
    away = home.rename(home.with_name("away"))
    home.write_bytes(b"no directory")
    assert [scheduler.tick(), scheduler.tick()] == [RETRY_SECONDS] * 2
    assert sum("no run can start" in line for line in night.said) == 1
    home.unlink()
    away.rename(home)
    assert scheduler.tick() > RETRY_SECONDS
    assert len(night.began) == 1


def test_a_full_disk_ends_no_schedule(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Night(home, CronSchedule.parse("0 3 * * *", "UTC"), AUTUMN)
    scheduler = night.scheduler()

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace_atomically", full)
        night.until(AUTUMN + DAY, scheduler)
    assert any("No space left on device" in line for line in night.said)
    night.until(AUTUMN + 2 * DAY, scheduler)
    assert len(night.began) == 2


def test_damage_is_told(home: Path) -> None:
    home.mkdir(parents=True)
    for damage in (b"", b"{", b"[]", b"\xff", b'{"cron":"x"}'):
        (home / "state.json").write_bytes(damage)
        with pytest.raises(ArtefactCorrupt, match=r"schedule/state\.json: "):
            read_state(DirectorySchedule(home))


# Health


@pytest.mark.parametrize(
    ("ago", "hours", "healthy"),
    [
        (timedelta(hours=23), None, True),
        (timedelta(hours=47), None, True),
        (timedelta(hours=48), None, False),
        (timedelta(hours=30), 26, False),
        (timedelta(hours=25), 26, True),
    ],
)
def test_a_schedule_is_well_while_good_runs_come(
    ago: timedelta, hours: float | None, healthy: bool, home: Path
) -> None:
    night = Night(home, CronSchedule.parse("0 12 * * *", "UTC"), AUTUMN - HOUR)
    night.until(AUTUMN + HOUR, night.scheduler())
    assert night.began == [AUTUMN]
    found, sentence = health(DirectorySchedule(home), hours, AUTUMN + ago)
    assert found is healthy
    began = "the last successful run began 2026-10-24 12:00:00+00:00"
    if healthy:
        assert sentence == f"well: {began}; next run 2026-10-25 12:00:00+00:00"
    else:
        until = AUTUMN + (2 * DAY if hours is None else timedelta(hours=hours))
        assert sentence == f"{began}; a newer one was due by {until}"


def test_runs_that_fail_make_no_schedule_well(home: Path) -> None:
    night = Night(home, CronSchedule.parse("0 12 * * *", "UTC"), AUTUMN)
    scheduler = night.scheduler()
    scheduler.run = lambda lock, began: ScheduledRun(began, began, 1, error="no rows")  # type: ignore[method-assign]
    night.until(AUTUMN + DAY + HOUR, scheduler)
    assert health(DirectorySchedule(home), None, night.time) == (
        True,
        "not late: no run has succeeded since 2026-10-24 12:00:00+00:00; "
        "the latest run failed: no rows; next run 2026-10-26 12:00:00+00:00",
    )
    assert not health(DirectorySchedule(home), None, AUTUMN + 2 * DAY)[0]
    assert night.said[-1].startswith("m: run failed after 0 s: no rows; next run ")


def test_a_refused_candidate_is_a_good_run(home: Path) -> None:
    night = Night(home, CronSchedule.parse("0 12 * * *", "UTC"), AUTUMN)
    scheduler = night.scheduler()
    result = {"version": 7, "reason": "worse: a against b"}
    scheduler.run = lambda lock, began: ScheduledRun(began, began + MINUTE, 3, result)  # type: ignore[method-assign]
    night.until(AUTUMN + DAY + HOUR, scheduler)
    said = health(DirectorySchedule(home), None, night.time)[1]
    assert "the last successful run, of version 7 (not promoted), began" in said
    assert night.said[-1].startswith(
        "m: the gate refused version 7 after 60 s: worse: a against b; next run "
    )


def test_without_a_schedule_nothing_is_well(home: Path) -> None:
    assert health(DirectorySchedule(home), None, AUTUMN) == (
        False,
        f"no schedule has started in {home}",
    )


# Real processes

#: A scheduler of a run every second; sys.argv: home, options, then the command.
DRIVER = """
import json, sys
from pathlib import Path
from models.storage.directory import DirectorySchedule
from trainer.operations import scheduler
from trainer.operations.cron import CronSchedule
home, options = DirectorySchedule(Path(sys.argv[1])), json.loads(sys.argv[2])
scheduler.CLOCK_SECONDS = scheduler.RETRY_SECONDS = 0.1
scheduler.GRACE_SECONDS = 0.5
def say(line): print(line, flush=True)
scheduler.Scheduler(
    "m", home, CronSchedule("* * * * * *", "UTC"), sys.argv[3:], say,
    on_death=lambda reason: say(f"told of {reason}"), **options
).forever()
"""
#: A run that says so, and does what stdin of a person would; it never overlaps.
RUNNER = """
import fcntl, json, os, signal, sys, time
mark = open(sys.argv[1], "a")
try:
    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    open(sys.argv[1] + ".overlap", "w").close()
print(f"began {os.getpid()}", file=mark, flush=True)
def end(): print(f"ended {os.getpid()}", file=mark, flush=True)
"""


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start schedulers of a command; all are stopped when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: object, **options: object) -> subprocess.Popen[str]:
        arguments = [str(home), json.dumps(options), *map(str, command)]
        with (home.parents[2] / f"log-{len(started)}").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, *arguments],
                cwd=Path(__file__).parents[3],
                stdout=log,
                stderr=log,
                text=True,
            )
        started.append(process)
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def until(what: str, condition: Callable[[], object], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            if found := condition():
                return found
        time.sleep(0.02)
    return pytest.fail(f"waited {seconds} s for {what}")


def is_done(home: Path) -> bool:
    state = read_state(DirectorySchedule(home))
    return state is not None and state.last_done is not None


def lines(mark: Path) -> list[list[str]]:
    return [line.split() for line in mark.read_text().splitlines()]


def alive(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except FileNotFoundError:
        return False


def test_the_result_of_a_run_is_kept(start: Any, home: Path, tmp_path: Path) -> None:
    code = RUNNER + (
        "print('a line', file=sys.stderr)\n"
        "print(json.dumps({'version': 3, 'promoted': True, 'reason': 'better'}))\n"
    )
    process = start(sys.executable, "-c", code, tmp_path / "mark")
    until("a run", lambda: is_done(home))
    process.terminate()
    assert process.wait(30) == 0
    state = read_state(DirectorySchedule(home))
    assert state is not None and state.last is not None
    assert state.last.code == 0 and state.last.error is None
    assert state.last.result == {"version": 3, "promoted": True, "reason": "better"}
    assert state.last.began <= state.last.ended
    log = (tmp_path / "log-0").read_text()
    assert "\na line\n" in log
    done = r"m: run done after \d s: version 3 promoted: better; next run "
    assert re.search(done, log)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("sys.exit('Error: no such file: x.csv')", "no such file: x.csv"),
        ("sys.exit(2)", "no message"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
    ],
)
def test_a_failed_run_is_told_and_the_next_comes(
    code: str, error: str, start: Any, home: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    process = start(sys.executable, "-c", RUNNER + code, mark)
    until("two runs", lambda: len(lines(mark)) > 1)
    process.terminate()
    assert process.wait(30) == 0
    state = read_state(DirectorySchedule(home))
    assert state is not None and state.last is not None and state.last_done is None
    assert state.last.error == error
    told = f"told of {error}" in (tmp_path / "log-0").read_text()
    assert told == ("SIGKILL" in error)


LONG = RUNNER + "time.sleep(1.5)\nend()\nprint('{}')"
ENDLESS = RUNNER + "signal.signal(signal.SIGTERM, lambda *a: None)\ntime.sleep(600)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_waits_for_the_run(
    number: signal.Signals, start: Any, home: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    process = start(sys.executable, "-c", LONG, mark)
    until("a run", lambda: lines(mark))
    process.send_signal(number)
    assert process.wait(30) == 0
    assert [word for word, _ in lines(mark)] == ["began", "ended"]
    state = read_state(DirectorySchedule(home))
    assert state is not None and state.last_done is not None


@pytest.mark.parametrize("code", [LONG.replace("1.5", "600"), ENDLESS])
@pytest.mark.parametrize("how", ["kill", "wait"])
def test_a_stop_kills_the_run_if_it_is_to(
    how: str, code: str, start: Any, home: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    process = start(sys.executable, "-c", code, mark, on_stop=how)
    until("a run", lambda: lines(mark))
    process.terminate()
    if how == "wait":
        time.sleep(0.5)
        assert process.poll() is None
        process.terminate()
    assert process.wait(30) == 0
    assert not alive(int(lines(mark)[0][1]))
    state = read_state(DirectorySchedule(home))
    assert state is not None and state.last is None  # it is still to be run
    log = (tmp_path / "log-0").read_text()
    assert "m: run stopped; the next start makes it up" in log and "told of" not in log
    with files.locked(home, wait=False):
        pass
    start(sys.executable, "-c", LONG, mark)
    until("the run made up", lambda: is_done(home))


def test_a_killed_schedulers_run_is_not_joined_by_another(
    start: Any, home: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    first = start(sys.executable, "-c", LONG.replace("1.5", "3"), mark)
    until("a run", lambda: lines(mark))
    second = start(sys.executable, "-c", LONG, mark)
    first.kill()
    first.wait(30)
    pid = int(lines(mark)[0][1])
    until("the next run", lambda: len({who for _, who in lines(mark)}) > 1)
    assert not alive(pid)  # its lock went with it, and not before
    second.terminate()
    assert second.wait(30) == 0
    assert not (tmp_path / "mark.overlap").exists()


@pytest.mark.long
@pytest.mark.e2e
def test_two_schedulers_on_one_store_never_run_at_once_and_lose_no_version(
    start: Any, home: Path, tmp_path: Path
) -> None:
    """Real runs of `trainer fit`; schedulers are killed at random and come again."""
    mark, store = tmp_path / "mark", Store(tmp_path / "store")
    data = tmp_path / "data.csv"
    rows = [random.Random(n).gauss(0, 1) for n in range(80)]
    data.write_text("x,y\n" + "".join(f"{v:.4f},{'ab'[v > 0]}\n" for v in rows))
    code = RUNNER + (
        "from trainer.cli.main import main\n"
        "try:\n    main(sys.argv[2:])\n"
        "except SystemExit as done:\n"
        "    if done.code in (0, 3): end()\n    raise\n"
    )
    fit = ["fit", data, "--target", "y", "--model", "m", "--store", store.root]
    command = [sys.executable, "-c", code, mark, *fit, "--epochs", 5, "--json"]
    schedulers = [start(*command), start(*command)]
    rng = random.Random(4)
    for _ in range(6):
        seen = len(lines(mark)) if mark.exists() else 0
        until("runs to go on", lambda seen=seen: len(lines(mark)) > seen)
        time.sleep(rng.uniform(0, 1.5))
        victim = rng.randrange(2)
        schedulers[victim].kill()
        schedulers[victim].wait(30)
        schedulers[victim] = start(*command)
    count = len(lines(mark))
    until("runs after all that", lambda: len(lines(mark)) > count + 4)
    for process in schedulers:
        process.terminate()
    assert [process.wait(60) for process in schedulers] == [0, 0]

    def idle() -> bool:
        with files.locked(home, wait=False):
            return True

    until("the lock", idle)
    assert not (tmp_path / "mark.overlap").exists()
    ended = sum(word == "ended" for word, _ in lines(mark))
    versions = store.versions("m")
    assert versions == [*range(1, len(versions) + 1)]
    assert 4 <= ended <= len(versions)  # a run may be cut off after it has published
    for version in versions:
        store.load("m", version)
    assert store.resolve("m") in versions
    state = read_state(DirectorySchedule(home))
    assert state is not None and state.last is not None and state.last.result
    assert state.last.result["version"] in versions
    assert not list(home.parent.glob(".new-*"))
    assert os.listdir(home) == ["state.json"]
