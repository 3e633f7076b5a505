"""A process that helps its caller: a fork of it.

It sees what the caller had, and none of it is copied until it is changed. It must stay
with NumPy and its own files: polars' threads are not there any more. It ends when the
caller does, however that is.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import wait

from models.errors import GlassnetError

#: Seconds that Ctrl-C may go unseen: polars makes it wait for the end of a wait (its
#: issue 21739).
PATIENCE = 0.2


class Fork:
    """A helper, from its first step on."""

    def __init__(self, work: Callable[[], None]) -> None:
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_help, args=(work,), daemon=True)
        with warnings.catch_warnings():
            # Of threads that are not there in the fork: it does not ask for them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()

    def ended(self) -> None:
        """Wait for its end; GlassnetError if it did not come by itself."""
        self._process.join()
        code = self._process.exitcode or 0
        if code:
            why = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
            hint = ", as when memory runs out" if code == -signal.SIGKILL else ""
            raise GlassnetError(
                f"a process that helped to train was ended from outside ({why}{hint})"
            )

    def end(self) -> None:
        """End it wherever it is."""
        self._process.kill()
        self._process.join()
        self._process.close()


def placed(error: BaseException) -> BaseException:
    """Return a helper's error with a note of where in the code it was raised."""
    error.add_note("".join(traceback.format_exception(error)))
    return error


def _help(work: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    work()


def _end_with_the_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    wait([caller.sentinel])
    os._exit(1)
