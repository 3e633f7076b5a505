"""Runs `trainer fit` by the clock: one run at a time, none missed, none doubled.

    STORE/NAME/schedule/state.json    up to when runs are done, and how the last ended

Every time that the cron expression names is due until a run has begun after it, so a
machine that slept through three of them makes up one. Who is about to run takes the
lock of the directory and looks at the state again; two schedulers of one model are one
schedule that outlives either machine. The run holds the lock too: a scheduler that is
killed does not let a second run begin beside the one it left.

`trainer.operations.cron` says which times those are; here they are compared in UTC.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Literal

import msgspec

from models.errors import ArtefactCorrupt
from models.storage.interfaces import Schedule
from trainer.operations.cron import CronSchedule

OnStop = Literal["wait", "kill"]
#: Seconds: between looks at the clock (a suspended machine's jumps), between tries of a
#: lock that another holds, and from a run's SIGTERM to its SIGKILL.
LOOK, RETRY, GRACE = 1.0, 5.0, 10.0
DONE, REFUSED = 0, 3
#: A state further in the future than clocks differ was written by a wrong one.
AHEAD = timedelta(days=1)


class ScheduledRun(msgspec.Struct, frozen=True):
    """How one run ended: `result` is what `trainer fit --json` printed."""

    began: datetime
    ended: datetime
    code: int
    result: dict[str, Any] | None = None
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether it went through, be it that the gate refused what came of it."""
        return self.code in (DONE, REFUSED)


class State(msgspec.Struct):
    """What schedulers of one model share; `covered` is up to when runs are done."""

    cron: str
    zone: str
    since: datetime
    covered: datetime
    last: ScheduledRun | None = None
    last_done: ScheduledRun | None = None


def read_state(home: Schedule) -> State | None:
    """Return the state, if there is one; raises ArtefactCorrupt if it is damaged."""
    content = home.state.read()
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=State)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtefactCorrupt(f"{home.state}: {error}") from None


def write_state(home: Schedule, state: State) -> None:
    """Replace the state."""
    home.state.write(msgspec.json.format(msgspec.json.encode(state)))


def health(home: Schedule, hours: float | None, now: datetime) -> tuple[bool, str]:
    """Tell whether the last good run is recent, and a sentence on it.

    It may be `hours` ago, or else two times of the schedule: the run that is due next
    has had until the one after it.
    """
    state = read_state(home)
    if state is None:
        return False, f"no schedule has begun in {home}"
    clock = CronSchedule(state.cron, state.zone)
    began, what = state.since, "no run was good since"
    if state.last_done and state.last_done.began >= state.since:
        began, what = state.last_done.began, "the last good run began"
    what += f" {clock.show(began)}"
    if state.last and state.last.error:
        what += f"; the last one failed: {state.last.error}"
    next_but_one = clock.after(clock.after(began))
    until = next_but_one if hours is None else began + timedelta(hours=hours)
    return now < until, what


@dataclass
class Scheduler:
    """One process that runs a command whenever it is due."""

    name: str
    #: Where the state is, and whose lease a run holds.
    home: Schedule
    clock: CronSchedule
    command: Sequence[str]
    say: Callable[[str], None]
    jitter: float = 0.0
    on_stop: OnStop = "wait"
    #: Told of a run that ended without a word, which is by a signal.
    on_death: Callable[[str], None] = lambda reason: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    signals: int = field(default=0, init=False)
    _covered: datetime = field(default=datetime.max, init=False)

    def forever(self) -> None:
        """Run until SIGTERM or SIGINT; a second one does not wait for the run."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self.begin()
        while not self.signals:
            until = self.now() + timedelta(seconds=self.tick())
            while not self.signals and self.now() < until:
                left = (until - self.now()).total_seconds()
                time.sleep(min(max(left, 0.0), LOOK))

    def _stop(self, number: int, frame: object) -> None:
        self.signals += 1

    def begin(self) -> None:
        """Take up the schedule where it was left, or begin it, or another, now."""
        self._covered = self.now()
        # Whoever holds it runs by a state that is there already.
        with suppress(BlockingIOError), self.home.lease():
            state = self._state()
            if CronSchedule(state.cron, state.zone) != self.clock:
                state.cron, state.zone = self.clock.cron, self.clock.zone
                state.since = state.covered = self._covered
            write_state(self.home, state)
        self._covered = self._until(self._state())
        self.say(f"the next run of {self.name} is {self.clock.show(self.due())}")

    def _state(self) -> State:
        fresh = State(self.clock.cron, self.clock.zone, self._covered, self._covered)
        return read_state(self.home) or fresh

    def _until(self, state: State) -> datetime:
        """Return up to when runs are done, for all that is known."""
        ahead = state.covered > self.now() + AHEAD
        return self._covered if ahead else state.covered

    def due(self) -> datetime:
        """Return when the next run is to begin, as far as this process knows."""
        moment = self.clock.after(self._covered)
        # The same for every look at one time, another for each model and machine.
        seed = f"{self.name} {os.uname().nodename} {moment.isoformat()}"
        return moment + timedelta(seconds=random.Random(seed).uniform(0, self.jitter))

    def tick(self) -> float:
        """Run what is due; return in how many seconds to look again."""
        if self.now() >= self.due():
            try:
                with self.home.lease() as handles:
                    self._take(handles)
            except BlockingIOError:
                return RETRY  # if that run dies, its time is still to be run
        return max((self.due() - self.now()).total_seconds(), 0.0)

    def _take(self, handles: tuple[int, ...]) -> None:
        """Run, unless another scheduler has done so since this one looked."""
        began = self.now()
        state = self._state()
        self._covered = self._until(state)
        if began < self.clock.after(self._covered):
            return
        self.say(f"a run of {self.name} begins")
        run = self.run(handles, began)
        if run is None:
            self.say(f"the run of {self.name} was stopped; the next start makes it up")
            return
        self._covered = state.covered = began
        state.last, state.last_done = run, run if run.is_done else state.last_done
        try:
            write_state(self.home, state)
        except OSError as error:  # a full disk ends no schedule
            self.say(f"{self.home.state}: the state was not written: {error.strerror}")
        self.say(f"{_told(self.name, run)}; the next is {self.clock.show(self.due())}")

    def run(self, handles: tuple[int, ...], began: datetime) -> ScheduledRun | None:
        """Run the command to its end; None if it was stopped on our own order."""
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            pass_fds=handles,
            start_new_session=True,  # a Ctrl-C is for us, who decide what it means
        )
        said: list[str] = []
        printed: list[str] = []
        readers = [
            threading.Thread(target=self._pass_on, args=(process.stderr, said)),
            threading.Thread(target=lambda: printed.extend(process.stdout or ())),
        ]
        with ExitStack() as stack:
            stack.enter_context(process)
            for reader in readers:
                reader.start()
                stack.callback(reader.join)
            stopped = self._wait(process)
        if stopped and process.returncode < 0:
            return None
        run = _ended(began, self.now(), process.returncode, printed, said)
        if run.code < 0:
            self.on_death(str(run.error))
        return run

    def _wait(self, process: subprocess.Popen[str]) -> bool:
        """Wait for a run; tell whether it was asked to end."""
        asked = 0.0
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK / 5)
            if not asked and self.signals > (0 if self.on_stop == "kill" else 1):
                asked = time.monotonic()
                process.terminate()
            elif asked and time.monotonic() > asked + GRACE:
                process.kill()
        return bool(asked)

    def _pass_on(self, stream: IO[str], said: list[str]) -> None:
        """Hand on what a run says as it says it, and keep the last line."""
        for line in stream:
            said[:] = [line.rstrip("\n")]
            self.say(said[0])


def _ended(
    began: datetime, ended: datetime, code: int, printed: list[str], said: list[str]
) -> ScheduledRun:
    """Return a run from its exit code and the last it printed and said."""
    result = error = None
    if code in (DONE, REFUSED):
        with suppress(msgspec.MsgspecError, IndexError):
            result = msgspec.json.decode(printed[-1], type=dict[str, Any])
    elif code < 0:
        error = f"killed by {signal.Signals(-code).name}"
    else:
        error = (said or ["it said nothing"])[0].removeprefix("Error: ")
    return ScheduledRun(began, ended, code, result, error)


def _told(name: str, run: ScheduledRun) -> str:
    """Return a run in one line."""
    seconds = (run.ended - run.began).total_seconds()
    if not run.is_done:
        return f"the run of {name} failed after {seconds:.0f} s: {run.error}"
    result = run.result or {}
    verdict = "refused" if run.code == REFUSED else "done"
    return (
        f"the run of {name} was {verdict} after {seconds:.0f} s: version "
        f"{result.get('version')}, {result.get('reason')}"
    )
