"""Processes that fork use a bucket through a child, which may end at any time."""

from __future__ import annotations

import os
import signal

import pytest

from models.errors import ArtefactCorrupt, ConfigError
from models.storage import bucket as module
from models.storage.bucket import Bucket
from models.storage.bucket_client import BucketError
from tests.buckets import BUCKET

pytestmark = pytest.mark.cloud


def test_a_fork_uses_a_bucket_that_its_parent_used(bucket: str) -> None:
    ours = Bucket(bucket)
    ours.put("a", b"parent")
    pid = os.fork()
    if pid == 0:
        found = ours.get("a", 10)
        ours.put("b", found.content if found and found.content else b"")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    found = ours.get("b", 10)
    assert found is not None and found.content == b"parent"


def test_a_child_that_was_killed_is_said_and_replaced(bucket: str) -> None:
    ours = Bucket(bucket)
    ours.put("a", b"1")
    assert ours._child is not None
    os.kill(ours._child._process.pid, signal.SIGKILL)
    with pytest.raises(BucketError, match="the process that reads it has ended"):
        ours.get("a", 10)
    assert ours.revision("a")


def test_a_child_that_waits_too_long_ends_and_is_replaced(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Bucket(bucket)
    ours.put("a", b"1")
    first = ours._child
    monkeypatch.setattr(module, "PARENT_IDLE_SECONDS", 0.0)
    assert ours.revision("a") and ours._child is not first


def test_errors_pass_from_the_child_as_they_are(bucket: str) -> None:
    ours = Bucket(bucket)
    ours.put("a", b"1234")
    with pytest.raises(ArtefactCorrupt, match="larger than 3 bytes"):
        ours.get("a", 3)
    with pytest.raises(ConfigError, match="expected s3://BUCKET/PREFIX"):
        Bucket("s3:///x").get("a", 3)
    with pytest.raises(BucketError, match="there is no such bucket"):
        Bucket(f"s3://{BUCKET}-typo").get("a", 3)
