"""A server of another process: started, asked by wrk, and what it cost (Linux)."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")


@dataclass
class Case:
    """One body, and where a server takes it."""

    path: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Server:
    """A command to start, where to ask whether it is up, and what to send."""

    command: list[object]
    cases: dict[str, Case]
    ready: str = "/"
    environment: dict[str, str] | None = None
    directory: Path | None = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, server: Server, place: Path) -> Iterator[tuple[int, str]]:
    """Start a server on a port of its own; yield its process and its address."""
    port = str(free_port())
    more = server.environment or {}
    environment = os.environ | ONE_THREAD
    if "PYTHONPATH" in more:
        environment.pop("PYTHONPATH", None)
    environment |= {k: v.replace("{port}", port) for k, v in more.items()}
    log = place / f"{name.replace(' ', '-')}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(part).replace("{port}", port) for part in server.command],
            cwd=server.directory or place,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            started = time.perf_counter()
            address = f"http://127.0.0.1:{port}"
            while not _up(address + server.ready):
                if process.poll() is not None or time.perf_counter() - started > 90:
                    sys.exit(f"{name} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.02)
            seconds = time.perf_counter() - started
            print(
                f"{name}: up in {seconds:.2f} s, {_pss(process.pid):.0f} MB", flush=True
            )
            yield process.pid, address
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _up(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def cpu_of_an_answer(pid: int, address: str, case: Case, seconds: int) -> float:
    """Return microseconds of CPU an answer."""
    with tempfile.TemporaryDirectory() as place:
        body, script = Path(place, "body"), Path(place, "ask.lua")
        body.write_bytes(case.body)
        headers = "".join(
            f'wrk.headers["{k}"]="{v}"\n' for k, v in case.headers.items()
        )
        script.write_text(
            f'local f=io.open("{body}","rb") wrk.body=f:read("*a") f:close()\n'
            f'wrk.method="POST"\n{headers}'
            "done=function(s) io.write(string.format('R %d %d\\n',"
            "s.requests,s.errors.status+s.errors.timeout)) end\n"
        )
        wrk = ["wrk", "-t1", "-c8", "-s", str(script), address + case.path]
        subprocess.run([*wrk, "-d1"], capture_output=True, check=True)
        before = _cpu(pid)
        done = subprocess.run([*wrk, f"-d{seconds}"], capture_output=True, text=True)
        used = _cpu(pid) - before
    answered, failed = map(int, re.findall(r"^R (\d+) (\d+)", done.stdout, re.M)[0])
    if failed or not answered:
        sys.exit(f"{address}{case.path}: {failed} of {answered} answers were errors")
    return 1e6 * used / answered


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for each in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(_stat(int(each))[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(each))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu(pid: int) -> float:
    """Return the seconds of CPU of a process and those below it."""
    return sum(sum(map(int, _stat(each)[11:13])) for each in _tree(pid)) / TICK


def _pss(pid: int) -> float:
    """Return the megabytes of memory of a process and those below it."""
    pages = 0
    for each in _tree(pid):
        text = Path(f"/proc/{each}/smaps_rollup").read_text()
        pages += int(re.findall(r"^Pss:\s+(\d+)", text, re.M)[0])
    return pages / 1024
