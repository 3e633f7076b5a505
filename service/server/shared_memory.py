"""Check how much shared memory is free, and reserve it before it is written to.

A file in shared memory gets its pages when they are first written to. If no page is
free, the kernel kills the process with SIGBUS. `mapped` reserves all pages of a file
first. The files of prometheus_client reserve nothing, so `shortage` looks at the start.
"""

from __future__ import annotations

import mmap
import os
import shutil
from pathlib import Path

#: What the metric files of one worker take, with dozens of models and versions.
WORKER_BYTES = 1 << 20


def shortage(directory: Path, workers: int) -> str | None:
    """Return a warning if the workers' metric files may not fit, or None."""
    free, needed = shutil.disk_usage(directory).free, workers * WORKER_BYTES
    if free >= needed:
        return None
    return (
        f"{directory} has {free >> 10} KiB free, and the metrics of {workers} workers "
        f"need up to {needed >> 10}: the kernel kills a worker that finds no free page "
        "(SIGBUS). Give it more, such as with docker run --shm-size"
    )


def mapped(path: Path, size: int) -> mmap.mmap:
    """Make a file of zeros, reserve its pages, and map it.

    Raises OSError, and leaves no file, if the pages are not free.
    """
    hidden = path.with_name(f".{path.name}")
    try:
        with hidden.open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            memory = mmap.mmap(file.fileno(), size)
        hidden.rename(path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise
    return memory
