"""Objects of real servers: conditions hold, and what cannot be done is one sentence."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtefactCorrupt, ConfigError
from models.storage.bucket import Bucket
from models.storage.bucket_client import ABSENT, BucketClient, BucketError, Found
from models.storage.factory import open_store
from tests.buckets import BUCKET, BucketServer, free_ports, running, without_conditions


def test_a_missing_obstore_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'glassnet\[cloud\]'"):
        BucketClient("s3://bucket/prefix")


def test_an_address_without_a_bucket_is_refused() -> None:
    with pytest.raises(ConfigError, match="'s3:///x': expected s3://BUCKET/PREFIX"):
        BucketClient("s3:///x")


@pytest.fixture(scope="module")
def moto() -> Iterator[BucketServer]:
    """A running moto, which does not check signatures."""
    with running("moto") as server:
        yield server


@pytest.fixture(scope="module", params=["bucket_server", "moto"])
def server(request: pytest.FixtureRequest) -> Any:
    """Each server of buckets in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> BucketClient:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return BucketClient(server.address(f"prefix-{time.time_ns()}"))


@pytest.mark.cloud
def test_objects_are_written_on_conditions_read_listed_and_deleted(
    client: BucketClient,
) -> None:
    assert client.get("a/b", 10) is None and client.revision("a/b") == ""
    first = client.put("a/b", b"1", ABSENT)
    assert first and not client.put("a/b", b"2", ABSENT)
    assert client.get("a/b", 10) == Found(b"1", first)
    assert client.get("a/b", 10, first) == Found(None, first)
    second = client.put("a/b", b"3", first)
    assert second and not client.put("a/b", b"4", first)
    assert client.get("a/b", 10, first) == Found(b"3", second)
    assert client.revision("a/b") == second
    assert client.put("a/b", b"5") and client.put("c", b"6")
    client.put("a/b", b"long")
    with pytest.raises(ArtefactCorrupt, match="a/b: larger than 3 bytes"):
        client.get("a/b", 3)
    assert [entry.key for entry in client.entries("a")] == ["a/b"]
    assert abs(client.entries("a")[0].modified - time.time()) < 60
    assert client.folders("") == ["a"]
    client.check_conditions()
    client.delete(["a/b", "c", "never"])
    assert client.entries("") == []


@pytest.mark.cloud
def test_a_write_whose_reply_was_lost_is_done(client: BucketClient) -> None:
    """obstore repeats the request, which fails because of the first."""
    revision = client.put("a", b"unique", ABSENT)
    assert client.put("a", b"unique", ABSENT) == revision
    assert not client.put("a", b"another", ABSENT)


@pytest.mark.cloud
def test_a_bucket_that_is_not_there_is_said(
    client: BucketClient, server: BucketServer
) -> None:
    wrong = BucketClient(f"s3://{BUCKET}-typo/prefix")
    for call in (
        lambda: wrong.get("a", 10),
        lambda: wrong.entries(""),
        lambda: wrong.check_conditions(),
    ):
        with pytest.raises(BucketError) as caught:
            call()
        assert str(caught.value) == f"{wrong.address}: there is no such bucket"


@pytest.mark.cloud
def test_wrong_keys_are_said(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY":
        with monkeypatch.context() as patch:
            patch.setenv(name, "wrong")
            client = BucketClient(bucket)
            with pytest.raises(BucketError, match=r": access is denied.*check the key"):
                client.get("a", 10)
            with pytest.raises(BucketError, match=r": access is denied.*check the key"):
                client.check_conditions()


@pytest.mark.cloud
def test_keys_of_awss_files_are_used(
    bucket: str,
    bucket_server: BucketServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = bucket_server.environment
    keys = "\n".join(
        f"{name.lower()} = {values[name]}"
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    )
    (tmp_path / "credentials").write_text(f"[default]\n[tests]\n{keys}\n")
    (tmp_path / "config").write_text("[profile tests]\nregion = us-east-1\n")
    for name in "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION":
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "tests")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert BucketClient(bucket).put("a", b"1")


@pytest.mark.cloud
def test_a_server_that_does_not_answer_is_said(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(BucketError, match=f": 127.0.0.1:{port} does not answer"):
        BucketClient(bucket, patience=0.5).get("a", 10)


@pytest.mark.cloud
def test_a_bucket_that_ignores_conditions_is_refused_and_nothing_is_left(
    moto: BucketServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_conditions(moto) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = open_store(bucket)
        for write in store.check_writable, lambda: store.publish("m", {"f": b""}):
            with pytest.raises(BucketError, match="ignores the conditions of writes"):
                write()
        assert Bucket(bucket).entries("") == [] and store.names() == []
