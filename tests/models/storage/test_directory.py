"""A store on a disk: versions appear whole or not at all; nothing is left behind.

`test_contract` has what every store does.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    ModelNotFound,
    VersionNotFound,
)
from models.storage import directory as module
from models.storage.base import ARTEFACT, LABELS, RUN
from models.storage.directory import ABANDONED_SECONDS
from models.storage.directory import DirectoryStore as Store
from tests.models.storage.filled import FILES, LABELLED, fill, missing, standing


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def three(store: Store) -> Store:
    fill(store)
    return store


@pytest.fixture
def ten(store: Store) -> Store:
    fill(store, 10, LABELLED)
    return store


def hidden(store: Store, name: str = "m") -> list[str]:
    """What lies hidden beside the versions."""
    return [entry for entry in os.listdir(store.root / name) if entry[0] == "."]


def content(store: Store, version: int, name: str = "m") -> bytes:
    return store.path(name, version).read_bytes()


# Publishing


def test_a_version_holds_its_files_and_nothing_is_left_beside_it(
    store: Store,
) -> None:
    version = store.publish("m", FILES)
    home = store.root / "m" / str(version)
    assert {p.name: p.read_bytes() for p in home.iterdir()} == FILES
    assert store.path("m", version) == home / ARTEFACT
    assert os.listdir(store.root / "m") == ["1"]


def test_a_gap_is_not_filled(three: Store) -> None:
    shutil.rmtree(three.root / "m" / "2")
    assert three.publish("m", FILES) == 4
    assert three.versions("m") == [1, 3, 4]


def test_a_number_taken_meanwhile_is_passed_over(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others published 1, 2 and 3 since this one looked.
    monkeypatch.setattr(three, "versions", lambda name: [])
    assert three.publish("m", {ARTEFACT: b"late"}) == 4
    monkeypatch.undo()
    assert content(three, 2) == b"model 2"
    assert content(three, 4) == b"late"


@contextmanager
def fsync_calls(monkeypatch: pytest.MonkeyPatch, call: Any) -> Iterator[None]:
    """Call `call(number, path)` in the place of each fsync, from 1."""
    numbers = iter(range(1, 100))

    def fsync(handle: int) -> None:
        call(next(numbers), os.readlink(f"/proc/self/fd/{handle}"))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


def test_nothing_is_visible_until_it_is_whole_and_on_the_disk(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[int]]] = []

    def record(number: int, path: str) -> None:
        seen.append((Path(path).name.split("-")[0], three.versions("m")))

    with fsync_calls(monkeypatch, record):
        three.publish("m", FILES)
    before, after = [1, 2, 3], [1, 2, 3, 4]
    assert seen[-4:] == [
        (ARTEFACT, before),
        (RUN, before),
        (".new", before),
        ("m", after),
    ]


def test_a_new_model_is_flushed_into_the_store_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    with fsync_calls(monkeypatch, lambda number, path: flushed.append(path)):
        store.publish("m", FILES)
    assert str(store.root) in flushed


@pytest.mark.parametrize("failing", range(1, 6))
def test_a_full_disk_leaves_a_whole_version_or_no_trace(
    three: Store, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    def full(number: int, path: str) -> None:
        if number == failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    with (
        fsync_calls(monkeypatch, full),
        pytest.raises(OSError, match="No space left"),
    ):
        three.publish("m", FILES)
    assert hidden(three) == []
    # The last flush comes after the rename: then the version stands, whole.
    assert three.versions("m") == ([1, 2, 3, 4] if failing == 5 else [1, 2, 3])
    assert all(content(three, v) for v in three.versions("m"))
    assert three.publish("m", FILES) == len(three.versions("m"))


def test_a_rename_that_fails_leaves_no_trace(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(OSError, match="Read-only"):
            three.publish("m", FILES)
    assert hidden(three) == []
    assert three.versions("m") == [1, 2, 3]


def test_an_interrupt_while_writing_leaves_no_trace(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path, content: bytes) -> None:
        path.write_bytes(content[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(module.files, "write_durable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        three.publish("m", FILES)
    assert hidden(three) == []
    assert three.versions("m") == [1, 2, 3]


def test_a_failed_first_version_makes_no_model(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.files, "write_durable", full)
    with pytest.raises(OSError, match="No space left"):
        store.publish("m", FILES)
    assert store.names() == []
    with pytest.raises(ModelNotFound):
        store.resolve("m")


def test_a_place_that_cannot_be_written_is_an_os_error(store: Store) -> None:
    store.root.parent.mkdir(exist_ok=True)
    store.root.write_bytes(b"a file")
    with pytest.raises(OSError, match="store"):
        store.publish("m", FILES)


# Processes

CHILD = """
import os, signal, sys
from models.storage import directory as module
from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store

store, name = Store(sys.argv[1]), sys.argv[2]
"""


def child(store: Store, name: str, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(store.root), name],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_at_once_get_versions_of_their_own(store: Store) -> None:
    code = """
print("ready", flush=True)
sys.stdin.readline()
for i in range(20):
    content = f"{name} {i}".encode()
    version = store.publish("m", {ARTEFACT: content, "run.json": b"{}"})
    assert store.path("m", version).read_bytes() == content
    store.promote("m", version)
"""
    children = [child(store, name, code) for name in ("one", "two")]
    for each in children:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in children:
        each.communicate("go\n", timeout=60)
        assert each.returncode == 0
    assert store.versions("m") == [*range(1, 41)]
    found = {content(store, v).decode() for v in store.versions("m")}
    assert found == {f"{name} {i}" for name in ("one", "two") for i in range(20)}
    assert hidden(store) == []
    promoted = [change.version for change in store.history("m")]
    assert sorted(promoted) == [*range(1, 41)]
    assert store.resolve("m") == promoted[-1]


@pytest.mark.parametrize("call", range(1, 8))
def test_a_process_killed_anywhere_leaves_whole_versions_and_labels(
    three: Store, call: int
) -> None:
    three.promote("m", 2)
    code = f"""
calls = 0
def fsync(handle):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
module.os.fsync = fsync
version = store.publish(name, {{ARTEFACT: b"model 4", "run.json": b"{{}}"}})
store.promote(name, version)
"""
    killed = child(three, "m", code)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL

    assert three.versions("m") in ([1, 2, 3], [1, 2, 3, 4])
    for version in three.versions("m"):
        assert content(three, version) == b"model %d" % version
        assert three.run("m", version) is not None
    assert three.resolve("m") in ((2, 4) if call == 7 else (2,))
    # The lock died with the process, and so the next may do what it could not.
    three.promote("m", 3)
    for left in (three.root / "m").glob(".new-*"):
        age(left, ABANDONED_SECONDS + 1)
    three.publish("m", FILES)
    assert not [*(three.root / "m").glob(".new-*")]
    assert three.resolve("m") == 3


# What was left behind


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def leave(store: Store, seconds: float) -> Path:
    """A hidden directory as a trainer that died so long ago left it."""
    left = store.root / "m" / ".new-dead"
    left.mkdir()
    (left / ARTEFACT).write_bytes(b"half")
    age(left, seconds)
    return left


def test_what_a_dead_trainer_left_is_removed(three: Store) -> None:
    left = leave(three, ABANDONED_SECONDS + 5)
    three.publish("m", FILES)
    assert not left.exists()


def test_what_is_new_may_be_of_one_just_starting(three: Store) -> None:
    left = leave(three, ABANDONED_SECONDS - 30)
    three.publish("m", FILES)
    assert (left / ARTEFACT).read_bytes() == b"half"


def test_what_a_living_trainer_holds_stays_however_old(three: Store) -> None:
    left = leave(three, 100 * ABANDONED_SECONDS)
    handle = os.open(left, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        three.publish("m", FILES)
        assert (left / ARTEFACT).read_bytes() == b"half"
    finally:
        os.close(handle)
    three.publish("m", FILES)
    assert not left.exists()


def test_a_hidden_file_is_ignored(three: Store) -> None:
    stray = three.root / "m" / ".new-file"
    stray.write_bytes(b"")
    age(stray, 100 * ABANDONED_SECONDS)
    assert three.publish("m", FILES) == 4


def test_what_is_hidden_is_no_version(three: Store) -> None:
    leave(three, 0)
    assert three.versions("m") == [1, 2, 3]


# Finding


@pytest.mark.parametrize(
    "entry", ["0", "01", "-1", "+4", "4 ", "4.0", "1e1", "four", "４", "v4", "1" * 19]
)
def test_what_is_no_version_is_ignored(three: Store, entry: str) -> None:
    (three.root / "m" / entry).mkdir()
    assert three.versions("m") == [1, 2, 3]
    assert three.resolve("m") == 3
    assert three.publish("m", FILES) == 4


def test_a_file_is_no_version(three: Store) -> None:
    (three.root / "m" / "9").write_bytes(b"")
    assert three.versions("m") == [1, 2, 3]
    (three.root / "other").mkdir()
    (three.root / "other" / "1").write_bytes(b"")
    (three.root / "file").write_bytes(b"")
    assert three.names() == ["m"]


def test_models_are_those_with_a_version(store: Store) -> None:
    assert store.names() == []
    for name in "b", "a", "a.b-c_d":
        store.publish(name, FILES)
    for entry in "empty", ".hidden/1", "lost+found/1", "bad name/1":
        (store.root / entry).mkdir(parents=True)
    assert store.names() == ["a", "a.b-c_d", "b"]


def test_a_store_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file")
    with pytest.raises(OSError, match="store"):
        Store(tmp_path / "store").names()


@pytest.mark.parametrize(
    ("n", "named"), [(8, "1, 2, 3, 4, 5, 6, 7, 8"), (9, "… 2, 3, 4, 5, 6, 7, 8, 9")]
)
def test_of_many_versions_the_last_are_named(store: Store, n: int, named: str) -> None:
    for number in range(1, n + 1):
        (store.root / "m" / str(number)).mkdir(parents=True)
    found = missing(VersionNotFound, store.resolve, "m", 99)
    assert found == f"model 'm' has no version 99; it has {named}"


def test_a_name_leads_nowhere_outside_the_store(tmp_path: Path) -> None:
    Store(tmp_path / "secret").publish("m", FILES)
    store = Store(tmp_path / "store")
    store.publish("m", FILES)
    for name in "../secret/m", "..", ".", "", "m/../m", "/", "m\n", "m\x00":
        assert missing(ModelNotFound, store.require, name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".m", "-m", "_m", "a/b", "a b", "a\n", "é", "a" * 129]
)
def test_a_name_that_cannot_be_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ConfigError, match="a model's name is letters"):
        store.publish(name, FILES)
    assert not store.root.exists()


def test_what_is_loaded_is_proven(store: Store, made: Any) -> None:
    version = store.publish("m", {ARTEFACT: made.dump()})
    assert store.load("m", version).manifest.task == made.manifest.task
    store.publish("m", {ARTEFACT: made.dump()[:-1]})
    with pytest.raises(ArtefactCorrupt, match=r"m/2/model\.npz: its bytes"):
        store.load("m", 2)
    with pytest.raises(FileNotFoundError):
        store.load("m", 3)


def test_a_run_is_told_where_it_is_known(three: Store) -> None:
    assert three.run("m", 1) == {"trained_at": "2026-01-31"}
    three.publish("m", {ARTEFACT: b"by hand"})
    assert three.run("m", 4) == {}
    (three.root / "m" / "1" / RUN).write_bytes(b"{")
    with pytest.raises(ArtefactCorrupt, match=r"m/1/run\.json"):
        three.run("m", 1)


def test_a_label_whose_version_is_gone_is_told(three: Store) -> None:
    three.promote("m", 2)
    shutil.rmtree(three.root / "m" / "2")
    for asked in ({}, {"label": "production"}):
        with pytest.raises(
            VersionNotFound, match="points at version 2, which does not"
        ):
            three.resolve("m", **asked)
    assert three.resolve("m", version=3) == 3


def test_what_a_killed_promotion_left_is_removed_by_the_next(three: Store) -> None:
    left = three.root / "m" / f".{LABELS}-left"
    left.write_bytes(b"{")
    three.promote("m", 1)
    assert not left.exists()


def test_a_label_that_moves_while_it_is_looked_up_still_leads_somewhere(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.promote("m", 1)
    real = three.versions

    def then_moved(name: str) -> list[int]:
        found = real(name)
        monkeypatch.undo()
        three.publish("m", FILES, "production")
        three.prune("m", 1, forget=True)
        return found

    monkeypatch.setattr(three, "versions", then_moved)
    assert three.resolve("m") == 4
    stale = three.read_labels("m")
    three.publish("m", FILES, "production")
    three.prune("m", 1, forget=True)

    def once_stale(name: str) -> bytes | None:
        monkeypatch.undo()
        return stale

    monkeypatch.setattr(three, "read_labels", once_stale)
    assert three.resolve("m") == 5


# Pruning


def test_a_model_without_labels_keeps_its_newest(three: Store) -> None:
    assert three.prune("m", 1) == [1, 2]
    assert three.resolve("m") == 3
    assert not (three.root / "m" / LABELS).exists()


def test_what_cannot_be_pruned_is_told(three: Store) -> None:
    assert missing(ModelNotFound, three.prune, "n", 1)
    with pytest.raises(ConfigError, match="expected to keep at least 1 version, not 0"):
        three.prune("m", 0)
    (three.root / "m" / LABELS).write_bytes(b"{")
    with pytest.raises(ArtefactCorrupt):
        three.prune("m", 1)
    assert three.versions("m") == [1, 2, 3]


def test_who_has_a_file_open_reads_on(three: Store) -> None:
    with three.path("m", 1).open("rb") as file:
        assert three.prune("m", 1) == [1, 2]
        assert file.read() == b"model 1"
    with pytest.raises(FileNotFoundError):
        three.load("m", 1)


def test_what_a_killed_pruning_left_is_removed(three: Store) -> None:
    left = three.root / "m" / ".old-1-dead"
    (three.root / "m" / "1").rename(left)
    assert three.versions("m") == [2, 3]
    three.publish("m", FILES)
    assert not left.exists()


def test_trainers_readers_and_pruning_at_once(store: Store) -> None:
    """What a trainer labelled stands, and a label always leads to a version."""
    store.publish("m", {ARTEFACT: b"first"}, "production")
    training = """
for i in range(25):
    content = f"{name} {i}".encode()
    version = store.publish("m", {ARTEFACT: content}, f"label_{name}")
    assert store.path("m", version).read_bytes() == content
    assert store.labels("m")[f"label_{name}"].version == version
"""
    pruning = """
import time
while not (store.root / "stop").exists():
    store.prune("m", 1, forget=True)
"""
    reading = """
while not (store.root / "stop").exists():
    for label in store.labels("m"):
        # A label may move on between the look and the read, and its old place go.
        try:
            store.path("m", store.resolve("m", label=label)).read_bytes()
        except FileNotFoundError:
            continue
    store.resolve("m")
"""
    others = [child(store, "x", code) for code in (pruning, pruning, reading)]
    trainers = [child(store, name, training) for name in ("one", "two")]
    try:
        for each in trainers:
            each.communicate(timeout=120)
            assert each.returncode == 0
    finally:
        (store.root / "stop").touch()
        for each in others:
            each.communicate(timeout=60)
    assert [each.returncode for each in others] == [0, 0, 0]
    labels = store.labels("m")
    assert content(store, labels["label_one"].version) == b"one 24"
    assert content(store, labels["label_two"].version) == b"two 24"
    assert len(store.prune("m", 1, forget=True)) <= len(store.versions("m"))
    assert {*store.versions("m")} >= {label.version for label in labels.values()}
    assert max(store.versions("m")) == 51


@pytest.mark.parametrize("call", range(1, 10))
def test_a_pruning_killed_anywhere_leaves_labels_that_lead_somewhere(
    ten: Store, call: int
) -> None:
    code = f"""
from pathlib import Path
calls = 0
def counted(real):
    def run(*arguments):
        global calls
        calls += 1
        if calls == {call}:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)
    return run
Path.rename = counted(Path.rename)
module.files.write_durable = counted(module.files.write_durable)
module.shutil.rmtree = counted(module.shutil.rmtree)
store.prune("m", 4, forget=True)
"""
    child(ten, "m", code).communicate(timeout=60)
    assert {6, 7, 8, 9, 10} <= {*ten.versions("m")}
    assert ten.resolve("m") == 7 and ten.resolve("m", label="candidate") == 6
    while ten.labels("m")["production"].previous:
        try:
            assert ten.rollback("m") in ten.versions("m")
        except VersionNotFound:
            break
    assert ten.publish("m", FILES) == 11
    assert hidden(ten) == []


# Labels


def test_a_rollback_passes_over_what_was_pruned(three: Store) -> None:
    for version in 1, 2, 3:
        three.promote("m", version)
    shutil.rmtree(three.root / "m" / "2")
    assert three.rollback("m") == 1
    assert standing(three) == {"production": (1, [])}


def test_a_refused_move_changes_nothing(three: Store) -> None:
    three.promote("m", 1)
    before = (three.root / "m" / LABELS).read_bytes()
    missing(VersionNotFound, three.promote, "m", 9)
    missing(VersionNotFound, three.rollback, "m")
    assert (three.root / "m" / LABELS).read_bytes() == before
    assert hidden(three) == []


def test_labels_are_replaced_whole(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.promote("m", 1)
    seen: list[int] = []
    with fsync_calls(monkeypatch, lambda n, path: seen.append(three.resolve("m"))):
        three.promote("m", 2)
    assert seen == [1, 2]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_leaves_the_labels_readable(
    three: Store, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    three.promote("m", 1)

    def full(number: int, path: str) -> None:
        if number == failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    with (
        fsync_calls(monkeypatch, full),
        pytest.raises(OSError, match="No space left"),
    ):
        three.promote("m", 2)
    assert three.resolve("m") == (1 if failing == 1 else 2)
    assert hidden(three) == []
    three.promote("m", 3)
    assert three.resolve("m") == 3


def test_the_labels_are_readable_by_people(three: Store) -> None:
    three.promote("m", 2)
    text = (three.root / "m" / LABELS).read_text()
    assert json.loads(text)["labels"]["production"]["version"] == 2
    assert text.count("\n") > 5


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"labels":{"production":{"version":1}}}',
        b'{"labels":{"production":{"version":0,"since":""}}}',
        b'{"labels":{"production":{"version":"1","since":""}}}',
        b'{"labels":{},"novelty":1}',
        b'{"labels":{"\xff":{"version":1,"since":""}}}',
        b'{"labels":{"production":{"version":1,"since":"\xff"}}}',
        b'{"labels":' * 50_000,
        b'{"novelty":' + b"[" * 100_000,
        b"[" * 100_000,
        b"\x00" * 100,
    ],
)
def test_damaged_labels_are_said_to_be(three: Store, damage: bytes) -> None:
    path = three.root / "m" / LABELS
    path.write_bytes(damage)
    for call in (
        lambda: three.labels("m"),
        lambda: three.history("m"),
        lambda: three.resolve("m"),
        lambda: three.promote("m", 1),
        lambda: three.rollback("m"),
    ):
        with pytest.raises(ArtefactCorrupt) as caught:
            call()
        assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == damage  # whoever can mend it finds it as it was
    assert three.resolve("m", version=2) == 2  # needs no label
