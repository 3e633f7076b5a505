"""Drain before stopping: fail readiness first, and keep answering for a while.

A load balancer needs time to notice that a server is leaving. On SIGTERM readiness
fails at once in every worker, and gunicorn stops only after the drain time. The state
is one byte of memory that the workers share with the master.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
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


def install(arbiter: Any, seconds: float) -> None:
    """Make gunicorn's master drain on its first SIGTERM."""
    handle_term = arbiter.handle_term

    def stop() -> None:
        _flag[0] = _OVER
        handle_term()

    def drain() -> None:
        arbiter.handle_term = stop  # a second SIGTERM stops at once
        begin()
        arbiter.log.info("draining for %s s", seconds)
        again = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    arbiter.handle_term = drain
