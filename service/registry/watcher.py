"""A thread that repeats an action, whatever becomes of it, and is itself watched."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("glassnet.service")

#: An action that takes longer is said to be stuck.
STUCK_SECONDS = 15.0


class Watcher:
    """Calls `action` now, and again after each `wait(seconds)`, in a thread.

    Errors are reported to `on_error`, once for each sentence, and never end the thread.
    """

    def __init__(
        self,
        name: str,
        action: Callable[[], object],
        seconds: float,
        wait: Callable[[float], object] | None = None,
        on_error: Callable[[str], object] | None = None,
    ) -> None:
        self.name = name
        self._action, self._seconds = action, seconds
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._on_error = on_error or self._log
        self._failure = ""
        self._began: float | None = None
        self._acted = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, seconds: float = 0.0) -> None:
        """Start the thread; wait up to `seconds` for the first action to end.

        If there can be no more threads, `fault` says so.
        """
        try:
            self._thread.start()
            self._acted.wait(seconds)
        except RuntimeError as error:
            self._report(str(error))

    def stop(self) -> None:
        """End the thread after its present action or wait."""
        self._stop.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def fault(self) -> str:
        """The fault of the thread, or an empty text."""
        if not self.alive:
            return f"the {self.name} does not run"
        began = self._began
        if began is None or (took := time.monotonic() - began) < STUCK_SECONDS:
            return ""
        return f"the {self.name} has been stuck for {took:.0f} s"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._act()
                self._acted.set()
                self._wait(self._seconds)
            # Even out of memory or file descriptors: it may pass.
            except BaseException as error:
                self._began = None
                self._report(repr(error))
                self._stop.wait(self._seconds)

    def _act(self) -> None:
        self._began = time.monotonic()
        self._action()
        self._began, self._failure = None, ""

    def _report(self, failure: str) -> None:
        if failure == self._failure:
            return
        try:
            self._on_error(failure)
            self._failure = failure
        except BaseException:  # what was short for the action may be for the report
            self._failure = ""

    def _log(self, failure: str) -> None:
        log.error("%s: %s", self.name, failure)
