"""Many processes that publish and move labels in one store, some of them killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.storage.base import ARTEFACT, RUN, ArtefactStore
from models.storage.factory import open_store

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]
#: A larger size: PUBLISHED=50 MOVED=1000 make cloud
PUBLISHED = int(os.environ.get("PUBLISHED", "6"))
MOVED = int(os.environ.get("MOVED", "80"))
PUBLISHERS, KILLED, MOVERS = 8, 2, 4
#: The processes begin at once, when their standard input ends.
BEGIN = """
import sys
from pathlib import Path
from models.storage.base import ARTEFACT, RUN
from models.storage.factory import open_store

store, name, count = open_store(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.read()
"""
PUBLISH = """
artefact = Path(sys.argv[4]).read_bytes()
for number in range(count):
    written = f"{name} {number}"
    files = {ARTEFACT: artefact, RUN: b'{"by": "%s"}' % written.encode()}
    print(written, store.publish("m", files), flush=True)
"""
MOVE = """
for number in range(count):
    store.promote("m", 1 + number % 3, name)
"""
Process = subprocess.Popen[str]


def begin(
    code: str, store: ArtefactStore, names: Sequence[str], *arguments: object
) -> list[Process]:
    """Start a process for each name; all of them begin their work at once."""
    command = [sys.executable, "-c", BEGIN + code, str(store)]
    processes = [
        subprocess.Popen(
            [*command, name, *map(str, arguments)],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in processes:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.close()  # type: ignore[union-attr]
        process.stdin = None
    return processes


def test_each_of_many_publishers_gets_its_numbers_and_none_is_lost(
    store: ArtefactStore, classifier: Any, tmp_path: Path
) -> None:
    """Killed publishers lose at most the version that they were writing."""
    artefact = tmp_path / ARTEFACT
    artefact.write_bytes(classifier.dump())
    names = [f"publisher {number}" for number in range(PUBLISHERS)]
    processes = begin(PUBLISH, store, names, PUBLISHED, artefact)
    began, rng = time.monotonic(), random.Random()
    for process in processes[:KILLED]:
        time.sleep(rng.uniform(0.1, 0.5 + PUBLISHED / 50))
        process.send_signal(signal.SIGKILL)
    printed = [process.communicate(timeout=560)[0] for process in processes]
    took = time.monotonic() - began
    assert [process.returncode for process in processes[KILLED:]] == [0] * 6

    said = {}
    for line in "".join(printed).splitlines():
        written, _, version = line.rpartition(" ")
        said[int(version)] = written
    assert len(said) == sum(text.count("\n") for text in printed)  # none twice
    store = open_store(str(store))
    versions = store.versions("m")
    found = {version: store.run("m", version)["by"] for version in versions}
    assert found.items() >= said.items()  # none lost
    assert len({*found.values()}) == len(found)
    unsaid = found.keys() - said.keys()
    assert len(unsaid) <= KILLED  # published, but killed before they said so
    for writer in names[KILLED:]:
        assert sum(str(by).startswith(writer) for by in found.values()) == PUBLISHED
    for version in versions:
        store.load("m", version)  # with its golden pair
    print(f"{len(versions)} versions by {PUBLISHERS} publishers in {took:.1f} s")


def test_no_move_of_a_label_is_lost(store: ArtefactStore) -> None:
    for number in range(3):
        store.publish("m", {ARTEFACT: b"%d" % number, RUN: b"{}"})
    names = [f"label_{number}" for number in range(MOVERS)]
    began = time.monotonic()
    for process in begin(MOVE, store, names, MOVED // MOVERS):
        process.communicate(timeout=560)
        assert process.returncode == 0
    took = time.monotonic() - began
    history = open_store(str(store)).history("m")
    assert len(history) == MOVED
    expected = [1 + number % 3 for number in range(MOVED // MOVERS)]
    for name in names:
        assert [c.version for c in history if c.label == name] == expected
    print(f"{MOVED} moves by {MOVERS} processes in {took:.1f} s")
