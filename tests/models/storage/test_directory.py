"""Versions appear whole or not at all, and labels forget nothing."""

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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    LabelNotFound,
    ModelNotFound,
    NotFound,
    VersionNotFound,
)
from models.storage import directory as module
from models.storage.base import ARTEFACT, LABELS, RUN
from models.storage.directory import ABANDONED_SECONDS
from models.storage.directory import DirectoryStore as Store
from models.storage.labels import Change

FILES = {ARTEFACT: b"model", RUN: b'{"trained_at":"2026-01-31"}'}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def three(store: Store) -> Store:
    """A store whose model `m` has three versions."""
    for number in 1, 2, 3:
        store.publish("m", {**FILES, ARTEFACT: b"model %d" % number})
    return store


def hidden(store: Store, name: str = "m") -> list[str]:
    """What lies hidden beside the versions."""
    return [entry for entry in os.listdir(store.root / name) if entry[0] == "."]


def content(store: Store, version: int, name: str = "m") -> bytes:
    return store.path(name, version).read_bytes()


# Publishing


def test_versions_count_from_one(store: Store) -> None:
    assert [store.publish("m", FILES) for _ in range(12)] == [*range(1, 13)]
    assert store.versions("m") == [*range(1, 13)]  # by number, not by text
    assert store.publish("other", FILES) == 1


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


def test_version_then_label_then_production_then_the_newest(three: Store) -> None:
    assert three.resolve("m") == 3
    three.promote("m", 2, "candidate")
    assert three.resolve("m") == 3  # a candidate answers only requests that name it
    three.promote("m", 1)
    assert three.resolve("m") == 1
    assert three.resolve("m", label="candidate") == 2
    assert three.resolve("m", label="production") == 1
    assert three.resolve("m", version=3) == 3


def missing(kind: type[NotFound], call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(NotFound) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is kind
    return str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest(three: Store) -> None:
    for number in range(3):
        three.publish("digits", {ARTEFACT: b"%d" % number})
    three.promote("m", 2)
    found = missing(ModelNotFound, three.resolve, "digist")
    assert found == "no model 'digist' in the store; did you mean 'digits'?"
    found = missing(ModelNotFound, three.resolve, "zzz")
    assert found == "no model 'zzz' in the store; it has digits, m"
    found = missing(VersionNotFound, three.resolve, "m", 7)
    assert found == "model 'm' has no version 7; it has 1, 2, 3"
    assert missing(VersionNotFound, three.resolve, "m", 0)
    found = missing(LabelNotFound, three.resolve, "m", label="prodution")
    assert found == "model 'm' has no label 'prodution'; did you mean 'production'?"
    found = missing(VersionNotFound, three.promote, "m", 4)
    assert found == "model 'm' has no version 4; it has 1, 2, 3"
    assert missing(ModelNotFound, three.promote, "n", 1)
    assert missing(ModelNotFound, three.rollback, "n")
    found = missing(LabelNotFound, three.rollback, "m", "candidate")
    assert found == "model 'm' has no label 'candidate'"


def test_an_empty_store_says_that_it_is(store: Store) -> None:
    found = missing(ModelNotFound, store.resolve, "m")
    assert found == "no model 'm' in the store, which is empty"


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


@pytest.mark.parametrize("name", ["a", "0", "A.b-c_d", "a" * 128, "1"])
def test_a_name_that_can_be_is_taken(store: Store, name: str) -> None:
    store.publish(name, FILES)
    assert store.names() == [name]


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


@pytest.fixture
def ten(store: Store) -> Store:
    """Ten versions; production went 2, 5, 7 and candidate 3, 6."""
    for number in range(1, 11):
        store.publish("m", {**FILES, ARTEFACT: b"model %d" % number})
    for version in 2, 5, 7:
        store.promote("m", version)
    for version in 3, 6:
        store.promote("m", version, "candidate")
    return store


@pytest.mark.parametrize(
    ("keep", "forget", "deleted"),
    [
        (1, False, [1, 3, 4, 8, 9]),
        (2, False, [1, 3, 4, 8]),
        (4, False, [1, 3, 4]),
        (1, True, [1, 2, 3, 4, 5, 8, 9]),
        (6, True, [1, 2, 3, 4]),
        (9, False, [1]),
        (10, True, []),
        (99, True, []),
    ],
)
def test_the_newest_and_what_labels_need_are_kept(
    ten: Store, keep: int, forget: bool, deleted: list[int]
) -> None:
    before = ten.versions("m"), standing(ten)
    assert ten.prune("m", keep, forget, dry_run=True) == deleted
    assert (ten.versions("m"), standing(ten)) == before
    assert ten.prune("m", keep, forget) == deleted
    left = [version for version in range(1, 11) if version not in deleted]
    assert ten.versions("m") == left
    assert hidden(ten) == []
    assert all(content(ten, version) == b"model %d" % version for version in left)
    assert ten.resolve("m") == 7 and ten.resolve("m", label="candidate") == 6
    assert ten.prune("m", keep, forget) == []
    if not forget:
        assert [ten.rollback("m"), ten.rollback("m")] == [5, 2]
    else:
        stood = [version for version in (2, 5) if version in left]
        assert ten.labels("m")["production"].previous == stood
    assert ten.publish("m", FILES) == 11


def test_what_happened_stays_told(ten: Store) -> None:
    moves = ten.history("m")
    ten.prune("m", 1, forget=True)
    assert ten.history("m") == moves


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


def test_a_version_deleted_meanwhile_is_not_promoted(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = three.require

    def then_pruned(name: str) -> list[int]:
        found = real(name)
        monkeypatch.undo()
        three.prune("m", 1)
        return found

    monkeypatch.setattr(three, "require", then_pruned)
    assert missing(VersionNotFound, three.promote, "m", 1)
    assert three.labels("m") == {}


def test_a_version_is_labelled_before_it_could_be_pruned(three: Store) -> None:
    assert three.publish("m", FILES, "production") == 4
    assert three.publish("m", FILES, "candidate") == 5
    assert standing(three) == {"production": (4, []), "candidate": (5, [])}
    with pytest.raises(ConfigError, match="a label is letters"):
        three.publish("m", FILES, "a b")
    assert three.versions("m") == [1, 2, 3, 4, 5]


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


def standing(store: Store) -> dict[str, tuple[int, list[int]]]:
    labels = store.labels("m")
    return {name: (label.version, label.previous) for name, label in labels.items()}


def test_a_label_moves_and_remembers(three: Store) -> None:
    assert three.labels("m") == {}
    three.promote("m", 1)
    three.promote("m", 3)
    three.promote("m", 2, "candidate")
    assert standing(three) == {"production": (3, [1]), "candidate": (2, [])}
    moves = [(c.label, c.version, c.action) for c in three.history("m")]
    assert moves == [
        ("production", 1, "promote"),
        ("production", 3, "promote"),
        ("candidate", 2, "promote"),
    ]


def test_each_move_has_its_time(three: Store) -> None:
    three.promote("m", 1)
    (change,) = three.history("m")
    assert isinstance(change, Change)
    for text in change.at, three.labels("m")["production"].since:
        offset = datetime.fromisoformat(text).utcoffset()
        assert offset is not None
        assert not offset


def test_to_promote_again_is_no_step_to_roll_back(three: Store) -> None:
    three.promote("m", 1)
    three.promote("m", 2)
    three.promote("m", 2)
    assert standing(three) == {"production": (2, [1])}
    assert len(three.history("m")) == 3
    assert three.rollback("m") == 1


def test_a_rollback_goes_back_step_by_step(three: Store) -> None:
    for version in 1, 2, 3:
        three.promote("m", version)
    assert three.rollback("m") == 2
    assert three.resolve("m") == 2
    assert three.rollback("m") == 1
    found = missing(VersionNotFound, three.rollback, "m")
    assert (
        found == "label 'production' of model 'm' has no version before 1 to go back to"
    )
    assert three.resolve("m") == 1
    moves = [(c.version, c.action) for c in three.history("m")]
    assert moves[3:] == [(2, "rollback"), (1, "rollback")]


def test_what_was_rolled_back_may_be_promoted_again(three: Store) -> None:
    for version in 1, 2:
        three.promote("m", version)
    three.rollback("m")
    three.promote("m", 3)
    assert standing(three) == {"production": (3, [1])}
    assert three.rollback("m") == 1


def test_a_rollback_passes_over_what_was_pruned(three: Store) -> None:
    for version in 1, 2, 3:
        three.promote("m", version)
    shutil.rmtree(three.root / "m" / "2")
    assert three.rollback("m") == 1
    assert standing(three) == {"production": (1, [])}


def test_a_rollback_of_one_label_leaves_others_alone(three: Store) -> None:
    for label in "production", "candidate":
        three.promote("m", 1, label)
        three.promote("m", 2, label)
    assert three.rollback("m", "candidate") == 1
    assert standing(three) == {"production": (2, [1]), "candidate": (1, [])}


@pytest.mark.parametrize(
    "label", ["", "a b", "a-b", "a.b", "a\n", "é", "a/b", "a" * 65]
)
def test_a_label_that_cannot_be_is_refused(three: Store, label: str) -> None:
    with pytest.raises(ConfigError, match="a label is letters"):
        three.promote("m", 1, label)
    assert three.labels("m") == {}


@pytest.mark.parametrize("label", ["a", "_", "0", "Canary_2", "a" * 64])
def test_a_label_that_can_be_is_taken(three: Store, label: str) -> None:
    three.promote("m", 1, label)
    assert three.resolve("m", label=label) == 1


def test_a_refused_move_changes_nothing(three: Store) -> None:
    three.promote("m", 1)
    before = (three.root / "m" / LABELS).read_bytes()
    missing(VersionNotFound, three.promote, "m", 9)
    missing(VersionNotFound, three.rollback, "m")
    assert (three.root / "m" / LABELS).read_bytes() == before
    assert hidden(three) == []


def test_promotes_at_once_lose_no_move(three: Store) -> None:
    versions = [1 + i % 3 for i in range(60)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda v: three.promote("m", v), versions))
    moves = [change.version for change in three.history("m")]
    assert sorted(moves) == sorted(versions)
    label = three.labels("m")["production"]
    assert label.version == moves[-1]
    changes = [a for a, b in zip(moves, moves[1:], strict=False) if a != b]
    assert label.previous == changes


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
