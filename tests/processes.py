"""What the system says of a process."""

from __future__ import annotations

from pathlib import Path


def state(pid: int) -> str:
    """Return what a process does, a letter of proc_pid_stat(5); Z if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def gone(pid: int) -> bool:
    """Whether a process has ended, or is a zombie that its own parent will take."""
    return state(pid) == "Z"
