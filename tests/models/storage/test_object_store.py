"""A store in a bucket: what is there at each moment, read, cached, and cleaned up."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtefactCorrupt, ConfigError
from models.storage import object_store as module
from models.storage.base import ARTEFACT, LABELS, PRODUCTION, REPORT
from models.storage.bucket import Bucket
from models.storage.bucket_client import ABSENT, BucketError
from models.storage.cache import Cache
from models.storage.directory import DirectoryStore
from models.storage.object_store import CLAIM, INDEX, ObjectStore
from tests.models.storage.filled import FILES, content, fill

pytestmark = pytest.mark.cloud


@pytest.fixture
def store(bucket: str) -> ObjectStore:
    return ObjectStore(bucket)


@pytest.fixture
def three(store: ObjectStore) -> ObjectStore:
    fill(store, labelled=((PRODUCTION, 2),))
    return store


def keys(store: ObjectStore, prefix: str = "") -> set[str]:
    return {entry.key for entry in store.bucket.entries(prefix)}


class Requests:
    """Counts the requests of a store, each with its method and key."""

    def __init__(self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, Any]] = []
        real = store.bucket._call

        def call(method: str, *arguments: Any, **content: Any) -> Any:
            self.made.append((method, arguments[0]))
            return real(method, *arguments, **content)

        monkeypatch.setattr(store.bucket, "_call", call)

    def of(self, call: Any) -> list[tuple[str, Any]]:
        self.made.clear()
        call()
        return [*self.made]


def test_a_version_is_its_files_a_claim_and_its_place_in_the_labels(
    three: ObjectStore,
) -> None:
    files = {f"m/{v}/{name}" for v in (1, 2, 3) for name in (*FILES, CLAIM)}
    assert keys(three) == {INDEX, f"m/{LABELS}"} | files


def test_readers_list_nothing_and_a_look_is_one_request(
    three: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = Requests(three, monkeypatch)
    assert requests.of(three.names) == [("get", INDEX)]
    assert requests.of(lambda: three.snapshot("m")) == [("get", f"m/{LABELS}")]
    assert requests.of(lambda: content(three, 2)) == [("get", f"m/2/{ARTEFACT}")]
    assert requests.of(lambda: three.has_attachment("m", 2, REPORT)) == []
    requests.of(lambda: [three.resolve("m"), three.run("m", 1), three.history("m")])
    assert {method for method, _ in requests.made} == {"get"}


def test_a_copy_on_a_disk_is_a_store(three: ObjectStore, tmp_path: Path) -> None:
    for key in keys(three):
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        found = three.bucket.get(key, 1 << 20)
        assert found is not None and found.content is not None
        path.write_bytes(found.content)
    copy = DirectoryStore(tmp_path)
    assert copy.names() == ["m"] and copy.versions("m") == [1, 2, 3]
    assert copy.resolve("m") == 2 and content(copy, 2) == b"model 2"
    assert copy.run("m", 1) == three.run("m", 1)


def test_a_claimed_number_is_passed_over_and_no_version(three: ObjectStore) -> None:
    three.bucket.put(f"m/4/{CLAIM}", b"another trainer", ABSENT)
    three.bucket.put(f"m/4/{ARTEFACT}", b"half")
    assert three.versions("m") == [1, 2, 3]
    assert three.publish("m", FILES) == 5
    assert three.versions("m") == [1, 2, 3, 5]


def test_what_a_killed_trainer_left_is_deleted_once_it_is_old(
    three: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.bucket.put(f"m/4/{CLAIM}", b"dead", ABSENT)
    three.bucket.put(f"m/4/{ARTEFACT}", b"half")
    three.publish("m", FILES)
    assert f"m/4/{ARTEFACT}" in keys(three)
    day = time.time() + module.ABANDONED_SECONDS + 5
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "time", lambda: day)
        three.publish("m", FILES)
    assert not keys(three, "m/4") and three.versions("m") == [1, 2, 3, 5, 6]


def test_an_upload_that_took_too_long_is_not_published(
    three: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([time.time() + 1, *[time.time() + 1e6] * 9])
    monkeypatch.setattr(three, "_remove_abandoned", lambda name: None)
    monkeypatch.setattr(module.time, "time", lambda: next(clock))
    with pytest.raises(BucketError, match="m/4: the upload took too long"):
        three.publish("m", FILES)
    assert three.versions("m") == [1, 2, 3] and not keys(three, "m/4")


@pytest.mark.parametrize("failing", range(1, 9))
def test_a_publication_that_fails_anywhere_leaves_a_whole_version_or_no_trace(
    three: ObjectStore, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    before = keys(three)
    calls = 0
    real = three.bucket._call

    def call(method: str, *arguments: Any, **content: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise KeyboardInterrupt
        return real(method, *arguments, **content)

    with monkeypatch.context() as patch:
        patch.setattr(three.bucket, "_call", call)
        with pytest.raises(KeyboardInterrupt):
            three.publish("m", FILES, PRODUCTION)
    assert keys(three) == before and three.versions("m") == [1, 2, 3]
    assert three.publish("m", FILES) == 4


def test_a_version_published_before_its_publisher_failed_stays(
    three: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = three._replace

    def replace(*arguments: Any) -> bool:
        real(*arguments)
        raise BucketError(5, "the reply was lost")

    with monkeypatch.context() as patch:
        patch.setattr(three, "_replace", replace)
        with pytest.raises(BucketError, match="lost"):
            three.publish("m", FILES)
    assert three.versions("m") == [1, 2, 3, 4] and content(three, 4) == b"model"


def test_a_pruning_deletes_the_objects(three: ObjectStore) -> None:
    assert three.prune("m", 1) == [1]
    assert not keys(three, "m/1") and keys(three, "m/2")


def test_bytes_that_were_changed_are_refused(three: ObjectStore) -> None:
    seen = three.stamp("m", 2)
    three.bucket.put(f"m/2/{ARTEFACT}", b"model!2")
    with pytest.raises(ArtefactCorrupt, match=r"m/2/model\.npz: its bytes are not"):
        content(three, 2)
    assert three.stamp("m", 2) != seen


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"models": 1}', b"\xff"])
def test_a_damaged_index_is_said(three: ObjectStore, damage: bytes) -> None:
    three.bucket.put(INDEX, damage)
    with pytest.raises(ArtefactCorrupt, match=rf"/\{INDEX}: "):
        three.names()


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"versions": {"0": {}}}', b"\xff"])
def test_damaged_labels_are_said(three: ObjectStore, damage: bytes) -> None:
    three.bucket.put(f"m/{LABELS}", damage)
    for call in lambda: three.labels("m"), lambda: three.publish("m", FILES):
        with pytest.raises(ArtefactCorrupt, match=f"m/{LABELS}: "):
            call()


def test_a_cache_spares_downloads_and_is_verified(
    three: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.cache = Cache(tmp_path / "cache", 1 << 20)
    other = ObjectStore(three.location, cache=three.cache)
    other.names()
    requests = Requests(other, monkeypatch)
    assert content(three, 2) == b"model 2"
    assert requests.of(lambda: content(other, 2)) == []
    (file,) = three.cache.folder.iterdir()
    file.write_bytes(b"model 3")
    assert requests.of(lambda: content(other, 2)) == [("get", f"m/2/{ARTEFACT}")]
    shutil.rmtree(three.cache.folder)
    assert content(other, 2) == b"model 2"
    three.bucket.put(f"m/3/{ARTEFACT}", b"damaged")
    with pytest.raises(ArtefactCorrupt):
        content(other, 3)
    assert len(os.listdir(three.cache.folder)) == 1


def test_a_name_that_cannot_be_is_refused_before_any_request(bucket: str) -> None:
    store = ObjectStore(bucket)
    with pytest.raises(ConfigError, match="a model's name is letters"):
        store.publish("../m", FILES)
    assert Bucket(bucket).entries("") == []
