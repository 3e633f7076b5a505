"""Drain before stopping: fail readiness first, and keep answering for a while.

A load balancer needs time to notice that a server is leaving. On SIGTERM readiness
fails at once in every worker, and gunicorn stops only after the drain time. The state
is one byte of memory that the workers share with the master.
"""

from __future__ import annotations

import mmap
import signal
from typing import Any

_DRAINING, _OVER = 1, 2
# Anonymous shared memory, made in the master before it forks.
_flag = mmap.mmap(-1, 1)


def begin() -> None:
    """Make every worker report that it is not ready."""
    _flag[0] = _DRAINING


def end() -> None:
    """Reset the state, as in a new server."""
    _flag[0] = 0


def active() -> bool:
    """Tell whether the server is to stop."""
    return _flag[0] >= _DRAINING


def over() -> bool:
    """Tell whether the drain is over and the workers are stopping."""
    return _flag[0] == _OVER


def install(log: Any, seconds: float) -> None:
    """Make this process, gunicorn's master, drain on its first SIGTERM."""
    terminate: Any = signal.getsignal(signal.SIGTERM)

    def stop(*_: Any) -> None:
        _flag[0] = _OVER
        terminate(signal.SIGTERM, None)

    def drain(*_: Any) -> None:
        signal.signal(signal.SIGTERM, stop)  # a second one stops at once
        begin()
        log.info("draining for %s s", seconds)
        signal.signal(signal.SIGALRM, stop)
        # At zero it would be switched off.
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))

    signal.signal(signal.SIGTERM, drain)
