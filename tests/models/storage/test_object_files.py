"""Checkpoints and leases of each kind of store."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest

from models.storage import object_files as module
from models.storage.base import ArtefactStore
from models.storage.bucket import Bucket
from models.storage.bucket_client import ABSENT
from models.storage.object_files import ObjectSchedule


def test_checkpoints_are_written_found_and_removed(store: ArtefactStore) -> None:
    scratch, other = store.scratch("m", "key"), store.scratch("m", "other")
    assert not scratch.exists and scratch.file("1.npz").read() is None
    for text in b"old", b"new":
        scratch.file("1.npz").write(memoryview(text))
    other.file("1.npz").write(b"of another run")
    assert scratch.exists and scratch.file("1.npz").read() == b"new"
    assert scratch.file("1.npz").key == ".checkpoint-key/1.npz"
    scratch.remove(max_age=3600)
    assert not scratch.exists and other.exists
    assert store.names() == []


def test_a_lease_has_one_holder(store: ArtefactStore) -> None:
    first, second = store.schedule("m"), store.schedule("m")
    first.state.write(b"state")
    assert second.state.read() == b"state"
    with first.lease() as handles:
        assert len(handles) == 1
        with pytest.raises(BlockingIOError), second.lease():
            pytest.fail("two have it")
    with second.lease(wait=True):
        pass


def test_a_child_that_inherits_a_lease_holds_it(store: ArtefactStore) -> None:
    schedule = store.schedule("m")
    with schedule.lease() as handles:
        child = subprocess.Popen(["sleep", "60"], pass_fds=handles)
    try:
        with pytest.raises(BlockingIOError), schedule.lease():
            pytest.fail("the child has it")
    finally:
        child.kill()
        child.wait()
    with schedule.lease(wait=True):
        pass


@pytest.mark.cloud
def test_a_lease_that_was_not_renewed_is_taken_over(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the machine of its holder was lost; no clocks are compared."""
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.5)
    Bucket(bucket).put("m/schedule/lease", b"a lost machine", ABSENT)
    schedule = ObjectSchedule(Bucket(bucket), "m/schedule")
    for _ in range(2):
        with pytest.raises(BlockingIOError), schedule.lease():
            pytest.fail("it is held")
    time.sleep(0.6)
    with schedule.lease():
        other = ObjectSchedule(Bucket(bucket), "m/schedule")
        with pytest.raises(BlockingIOError), other.lease():
            pytest.fail("it is held")


@pytest.mark.cloud
def test_a_lease_is_renewed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
    revision = Bucket(bucket).put("lease", b"mine", ABSENT)
    keeper = threading.Thread(
        target=module.keep, args=(reading, bucket, "lease", revision)
    )
    keeper.start()
    seen = set()
    while len(seen) < 3:
        seen.add(Bucket(bucket).revision("lease"))
    os.close(writing)
    keeper.join(20)
    os.close(reading)
    found = Bucket(bucket).get("lease", 100)
    assert found is not None and found.content == module.FREE


@pytest.mark.cloud
def test_a_lease_that_another_took_over_is_left_alone(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
    revision = Bucket(bucket).put("lease", b"mine", ABSENT)
    Bucket(bucket).put("lease", b"of another", revision)
    reading, writing = os.pipe()
    module.keep(reading, bucket, "lease", revision)  # ends by itself
    os.close(reading)
    os.close(writing)
    found = Bucket(bucket).get("lease", 100)
    assert found is not None and found.content == b"of another"
