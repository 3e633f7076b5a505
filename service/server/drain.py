"""The lame duck: told to stop, it says so first, and goes on answering a while.

A load balancer needs time to notice that a server is leaving. SIGTERM therefore makes
readiness fail at once in every worker, and only after the drain time does gunicorn
stop. How far it is stands in one byte of memory that the workers share with the master.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
from typing import Any

_DRAINING, _OVER = 1, 2
# Anonymous and shared: made in the master before it forks, seen by all its workers.
_flag = mmap.mmap(-1, 1)


def begin() -> None:
    """Let every worker say that it is not ready."""
    _flag[0] = _DRAINING


def end() -> None:
    """Take it back, as a new server does."""
    _flag[0] = 0


def active() -> bool:
    """Whether the server has been told to stop."""
    return _flag[0] >= _DRAINING


def over() -> bool:
    """Whether the drain is over, and every worker is told to stop."""
    return _flag[0] == _OVER


def install(arbiter: Any, seconds: float) -> None:
    """Put the drain between gunicorn's master and its first SIGTERM."""
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
