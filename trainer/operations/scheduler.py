"""Run `trainer fit` on a schedule: one run at a time, none missed, none doubled.

    STORE/NAME/schedule/state.json    until when runs are done, and how the last ended

A scheduled time is due until a run has begun after it, so a machine that slept through
three of them makes up one. Before a run, a scheduler locks the directory and reads the
state again: several schedulers of one model share one schedule, which survives the loss
of a machine. The run inherits the lock, so that no second run begins beside one whose
scheduler was killed.

`trainer.operations.cron` computes the scheduled times; here they are compared in UTC.
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
#: Seconds between two readings of the clock, which jumps when a machine was suspended.
CLOCK_SECONDS = 1.0
#: Seconds between two attempts to take a lock that another scheduler holds.
RETRY_SECONDS = 5.0
#: Seconds from SIGTERM to SIGKILL when a run is stopped.
GRACE_SECONDS = 10.0
#: Exit codes of `trainer fit` that count as success.
DONE, REFUSED = 0, 3
#: Clocks differ by less: a state further in the future comes from a wrong clock.
MAX_CLOCK_SKEW = timedelta(days=1)


class ScheduledRun(msgspec.Struct, frozen=True):
    """How one run ended: `result` is what `trainer fit --json` printed."""

    began: datetime
    ended: datetime
    code: int
    result: dict[str, Any] | None = None
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether it published a version, be it one that the gate refused."""
        return self.code in (DONE, REFUSED)


class State(msgspec.Struct):
    """The state that all schedulers of a model share.

    `since` is when this schedule began, `covered` the time up to which runs are done.
    """

    cron: str
    zone: str
    since: datetime
    covered: datetime
    last: ScheduledRun | None = None
    last_done: ScheduledRun | None = None


def read_state(home: Schedule) -> State | None:
    """Return the state, or None; raise ArtefactCorrupt if it is damaged."""
    content = home.state.read()
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=State)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtefactCorrupt(f"{home.state}: {error}") from None


def write_state(home: Schedule, state: State) -> None:
    """Replace the state atomically."""
    home.state.write(msgspec.json.format(msgspec.json.encode(state)))


def health(home: Schedule, hours: float | None, now: datetime) -> tuple[bool, str]:
    """Return whether the last successful run is recent enough, and what was seen.

    It may be `hours` old, or else two periods of the schedule: a run that is due has
    until the next one is due.
    """
    state = read_state(home)
    if state is None:
        return False, f"no schedule has started in {home}"
    clock = CronSchedule(state.cron, state.zone)
    began, sentence, well = state.since, "no run has succeeded since", "not late"
    if state.last_done and state.last_done.began >= state.since:
        began, well = state.last_done.began, "well"
        sentence = f"the last successful run{_published(state.last_done)} began"
    sentence += f" {clock.local_time(began)}"
    if state.last and state.last.error:
        sentence += f"; the latest run failed: {state.last.error}"
    two_periods = clock.next_after(clock.next_after(began))
    until = two_periods if hours is None else began + timedelta(hours=hours)
    if now >= until:
        return False, f"{sentence}; a newer one was due by {clock.local_time(until)}"
    due = clock.local_time(clock.next_after(max(state.covered, began)))
    return True, f"{well}: {sentence}; next run {due}"


def _published(run: ScheduledRun) -> str:
    """Return what a successful run has made."""
    result = run.result or {}
    if "version" not in result:
        return ""
    verdict = "promoted" if result.get("promoted") else "not promoted"
    return f", of version {result['version']} ({verdict}),"


@dataclass
class Scheduler:
    """A process that runs a command whenever it is due."""

    name: str
    #: The stored state, and the lease that a run holds.
    home: Schedule
    clock: CronSchedule
    command: Sequence[str]
    say: Callable[[str], None]
    jitter: float = 0.0
    on_stop: OnStop = "wait"
    #: Called with the reason if a run was killed by a signal and could not notify.
    on_death: Callable[[str], None] = lambda reason: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    signals: int = field(default=0, init=False)
    _covered: datetime = field(default=datetime.max, init=False)
    #: Why no run can start now, as it was last said.
    _fault: str = field(default="", init=False)

    def forever(self) -> None:
        """Run until SIGTERM or SIGINT; a second signal kills the current run."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self.begin()
        while not self.signals:
            until = self.now() + timedelta(seconds=self.tick())
            while not self.signals and self.now() < until:
                left = (until - self.now()).total_seconds()
                time.sleep(min(max(left, 0.0), CLOCK_SECONDS))

    def _stop(self, number: int, frame: object) -> None:
        self.signals += 1

    def begin(self) -> None:
        """Continue the stored schedule, or start a new or changed one from now."""
        self._covered = self.now()
        # A scheduler that holds the lease has already written a state.
        with suppress(BlockingIOError), self.home.lease():
            state = self._state()
            if CronSchedule(state.cron, state.zone) != self.clock:
                state.cron, state.zone = self.clock.cron, self.clock.zone
                state.since = state.covered = self._covered
            write_state(self.home, state)
        self._covered = self._covered_by(self._state())
        self.say(f"{self.name}: next run {self._next()}")

    def _state(self) -> State:
        fresh = State(self.clock.cron, self.clock.zone, self._covered, self._covered)
        return read_state(self.home) or fresh

    def _covered_by(self, state: State) -> datetime:
        """Return the time up to which runs are done, ignoring a wrong clock's state."""
        wrong = state.covered > self.now() + MAX_CLOCK_SKEW
        return self._covered if wrong else state.covered

    def due(self) -> datetime:
        """Return when the next run is due, as far as this process knows."""
        moment = self.clock.next_after(self._covered)
        # The same delay for one time, a different one for each model and machine.
        seed = f"{self.name} {os.uname().nodename} {moment.isoformat()}"
        return moment + timedelta(seconds=random.Random(seed).uniform(0, self.jitter))

    def _next(self) -> str:
        return self.clock.local_time(self.due())

    def tick(self) -> float:
        """Start a run if one is due; return the seconds until the next check."""
        if self.now() >= self.due():
            try:
                with self.home.lease() as handles:
                    self._run_if_due(handles)
                self._fault = ""
            except BlockingIOError:
                return RETRY_SECONDS  # if that run dies, this scheduler takes over
            except OSError as error:  # such as a bucket that does not answer
                if self._fault != str(error):
                    self._fault = str(error)
                    self.say(f"{self.name}: no run can start: {error}; trying again")
                return RETRY_SECONDS
        return max((self.due() - self.now()).total_seconds(), 0.0)

    def _run_if_due(self, handles: tuple[int, ...]) -> None:
        """Run, unless another scheduler has just done so."""
        began = self.now()
        state = self._state()
        self._covered = self._covered_by(state)
        if began < self.clock.next_after(self._covered):
            return
        self.say(f"{self.name}: run started")
        run = self.run(handles, began)
        if run is None:
            self.say(f"{self.name}: run stopped; the next start makes it up")
            return
        self._covered = state.covered = began
        state.last, state.last_done = run, run if run.is_done else state.last_done
        try:
            write_state(self.home, state)
        except OSError as error:  # a full disk must not end the schedule
            self.say(f"{self.home.state}: cannot write the state: {error.strerror}")
        self.say(f"{self.name}: {_outcome(run)}; next run {self._next()}")

    def run(self, handles: tuple[int, ...], began: datetime) -> ScheduledRun | None:
        """Run the command to its end; return None if this scheduler stopped it."""
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            pass_fds=handles,
            start_new_session=True,  # Ctrl-C must reach the scheduler alone
        )
        last_line: list[str] = []
        printed: list[str] = []
        readers = [
            threading.Thread(target=self._forward, args=(process.stderr, last_line)),
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
        run = _ended(began, self.now(), process.returncode, printed, last_line)
        if run.code < 0:
            self.on_death(str(run.error))
        return run

    def _wait(self, process: subprocess.Popen[str]) -> bool:
        """Wait for a run to end; return whether it was stopped."""
        stopped_at = 0.0
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(CLOCK_SECONDS / 5)
            if not stopped_at and self.signals > (0 if self.on_stop == "kill" else 1):
                stopped_at = time.monotonic()
                process.terminate()
            elif stopped_at and time.monotonic() > stopped_at + GRACE_SECONDS:
                process.kill()
        return bool(stopped_at)

    def _forward(self, stream: IO[str], last_line: list[str]) -> None:
        """Forward the messages of a run as they come, and keep the last."""
        for line in stream:
            last_line[:] = [line.rstrip("\n")]
            self.say(last_line[0])


def _ended(
    began: datetime,
    ended: datetime,
    code: int,
    printed: list[str],
    last_line: list[str],
) -> ScheduledRun:
    """Return the outcome of a run from its exit code and its last lines of output."""
    result = error = None
    if code in (DONE, REFUSED):
        with suppress(msgspec.MsgspecError, IndexError):
            result = msgspec.json.decode(printed[-1], type=dict[str, Any])
    elif code < 0:
        error = f"killed by {signal.Signals(-code).name}"
    else:
        error = (last_line or ["no message"])[0].removeprefix("Error: ")
    return ScheduledRun(began, ended, code, result, error)


def _outcome(run: ScheduledRun) -> str:
    """Return the outcome of a run in one line."""
    seconds = (run.ended - run.began).total_seconds()
    if not run.is_done:
        return f"run failed after {seconds:.0f} s: {run.error}"
    result = run.result or {}
    version = f"version {result.get('version')}"
    if run.code == REFUSED:
        return (
            f"the gate refused {version} after {seconds:.0f} s: {result.get('reason')}"
        )
    verdict = "promoted" if result.get("promoted") else "not promoted"
    return (
        f"run done after {seconds:.0f} s: {version} {verdict}: {result.get('reason')}"
    )
