"""What every store does: versions count, labels move and remember, prunings keep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    LabelNotFound,
    ModelNotFound,
    ProductionMoved,
    SignatureInvalid,
    VersionNotFound,
)
from models.storage.base import ARTEFACT, PRODUCTION, REPORT, ArtefactStore
from models.storage.labels import Change, Labels
from tests.models.storage.filled import (
    FILES,
    LABELLED,
    content,
    fill,
    missing,
    standing,
)
from tests.private import write_secret


@pytest.fixture
def three(store: ArtefactStore) -> ArtefactStore:
    fill(store)
    return store


@pytest.fixture
def ten(store: ArtefactStore) -> ArtefactStore:
    fill(store, 10, LABELLED)
    return store


def test_versions_count_from_one(store: ArtefactStore) -> None:
    assert [store.publish("m", FILES) for _ in range(12)] == [*range(1, 13)]
    assert store.versions("m") == [*range(1, 13)]  # by number, not by text
    assert store.publish("other", FILES) == 1


def test_version_then_label_then_production_then_the_newest(
    three: ArtefactStore,
) -> None:
    assert three.resolve("m") == 3
    three.promote("m", 2, "candidate")
    assert three.resolve("m") == 3  # a candidate answers only requests that name it
    three.promote("m", 1)
    assert three.resolve("m") == 1
    assert three.resolve("m", label="candidate") == 2
    assert three.resolve("m", label="production") == 1
    assert three.resolve("m", version=3) == 3


def test_an_unknown_name_is_answered_with_the_nearest(three: ArtefactStore) -> None:
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


def test_an_empty_store_says_that_it_is(store: ArtefactStore) -> None:
    found = missing(ModelNotFound, store.resolve, "m")
    assert found == "no model 'm' in the store, which is empty"


@pytest.mark.parametrize("name", ["a", "0", "A.b-c_d", "a" * 128, "1"])
def test_a_name_that_can_be_is_taken(store: ArtefactStore, name: str) -> None:
    store.publish(name, FILES)
    assert store.names() == [name]


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
    ten: ArtefactStore, keep: int, forget: bool, deleted: list[int]
) -> None:
    before = ten.versions("m"), standing(ten)
    assert ten.prune("m", keep, forget, dry_run=True) == deleted
    assert (ten.versions("m"), standing(ten)) == before
    assert ten.prune("m", keep, forget) == deleted
    left = [version for version in range(1, 11) if version not in deleted]
    assert ten.versions("m") == left
    assert all(content(ten, version) == b"model %d" % version for version in left)
    assert ten.resolve("m") == 7 and ten.resolve("m", label="candidate") == 6
    assert ten.prune("m", keep, forget) == []
    if not forget:
        assert [ten.rollback("m"), ten.rollback("m")] == [5, 2]
    else:
        stood = [version for version in (2, 5) if version in left]
        assert ten.labels("m")["production"].previous == stood
    assert ten.publish("m", FILES) == 11


def test_what_happened_stays_told(ten: ArtefactStore) -> None:
    moves = ten.history("m")
    ten.prune("m", 1, forget=True)
    assert ten.history("m") == moves


def test_a_version_deleted_meanwhile_is_not_promoted(
    three: ArtefactStore, monkeypatch: pytest.MonkeyPatch
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


def test_a_version_is_labelled_before_it_could_be_pruned(three: ArtefactStore) -> None:
    assert three.publish("m", FILES, "production") == 4
    assert three.publish("m", FILES, "candidate") == 5
    assert standing(three) == {"production": (4, []), "candidate": (5, [])}
    with pytest.raises(ConfigError, match="a label is letters"):
        three.publish("m", FILES, "a b")
    assert three.versions("m") == [1, 2, 3, 4, 5]


def test_a_label_moves_and_remembers(three: ArtefactStore) -> None:
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


def test_each_move_has_its_time(three: ArtefactStore) -> None:
    three.promote("m", 1)
    (change,) = three.history("m")
    assert isinstance(change, Change)
    for text in change.at, three.labels("m")["production"].since:
        offset = datetime.fromisoformat(text).utcoffset()
        assert offset is not None
        assert not offset


def test_to_promote_again_is_no_step_to_roll_back(three: ArtefactStore) -> None:
    three.promote("m", 1)
    three.promote("m", 2)
    three.promote("m", 2)
    assert standing(three) == {"production": (2, [1])}
    assert len(three.history("m")) == 3
    assert three.rollback("m") == 1


def test_a_rollback_goes_back_step_by_step(three: ArtefactStore) -> None:
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


def test_what_was_rolled_back_may_be_promoted_again(three: ArtefactStore) -> None:
    for version in 1, 2:
        three.promote("m", version)
    three.rollback("m")
    three.promote("m", 3)
    assert standing(three) == {"production": (3, [1])}
    assert three.rollback("m") == 1


def test_a_rollback_of_one_label_leaves_others_alone(three: ArtefactStore) -> None:
    for label in "production", "candidate":
        three.promote("m", 1, label)
        three.promote("m", 2, label)
    assert three.rollback("m", "candidate") == 1
    assert standing(three) == {"production": (2, [1]), "candidate": (1, [])}


@pytest.mark.parametrize(
    "label", ["", "a b", "a-b", "a.b", "a\n", "é", "a/b", "a" * 65]
)
def test_a_label_that_cannot_be_is_refused(three: ArtefactStore, label: str) -> None:
    with pytest.raises(ConfigError, match="a label is letters"):
        three.promote("m", 1, label)
    assert three.labels("m") == {}


@pytest.mark.parametrize("label", ["a", "_", "0", "Canary_2", "a" * 64])
def test_a_label_that_can_be_is_taken(three: ArtefactStore, label: str) -> None:
    three.promote("m", 1, label)
    assert three.resolve("m", label=label) == 1


def test_promotes_at_once_lose_no_move(three: ArtefactStore) -> None:
    versions = [1 + i % 3 for i in range(60)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda v: three.promote("m", v), versions))
    moves = [change.version for change in three.history("m")]
    assert sorted(moves) == sorted(versions)
    label = three.labels("m")["production"]
    assert label.version == moves[-1]
    changes = [a for a, b in zip(moves, moves[1:], strict=False) if a != b]
    assert label.previous == changes


def test_a_commit_on_an_old_snapshot_changes_nothing(store: ArtefactStore) -> None:
    store.publish("m", {ARTEFACT: b"1"})
    before = store.snapshot("m")
    store.publish("m", {ARTEFACT: b"2"})
    assert not store.commit("m", before, msgspec.json.encode(Labels()), [1])
    assert store.versions("m") == [1, 2] and store.labels("m") == {}
    assert store.commit("m", store.snapshot("m"), None, [1])
    assert store.versions("m") == [2] and store.labels("m") == {}


def test_moves_of_many_threads_are_all_kept(store: ArtefactStore) -> None:
    store.publish("m", {ARTEFACT: b"1"})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: store.promote("m", 1, f"label_{n}"), range(20)))
    assert len(store.labels("m")) == len(store.history("m")) == 20


def test_of_two_runs_that_were_compared_with_the_same_one_moves_the_label(
    store: ArtefactStore,
) -> None:
    store.publish("m", {ARTEFACT: b"1"}, PRODUCTION, expected=None)

    def publish(number: int) -> int:
        try:
            return store.publish("m", {ARTEFACT: b"%d" % number}, PRODUCTION, 1)
        except ProductionMoved:
            return 0

    with ThreadPoolExecutor(8) as pool:
        *others, version = sorted(pool.map(publish, range(8)))
    assert others == [0] * 7 and version >= 2
    assert store.versions("m") == [1, version] and store.resolve("m") == version


@pytest.mark.parametrize("label", [PRODUCTION, None])
def test_nothing_is_published_if_production_moved_since(
    three: ArtefactStore, label: str | None
) -> None:
    three.promote("m", 2)
    with pytest.raises(ProductionMoved, match="model 'm' has become version 2 in"):
        three.publish("m", FILES, label, 1)
    assert three.versions("m") == [1, 2, 3] and three.resolve("m") == 2
    assert three.publish("m", FILES, label, 2) == 4


def test_a_version_loads_and_its_damage_is_told(
    store: ArtefactStore, classifier: Any
) -> None:
    store.publish("m", {ARTEFACT: classifier.dump()})
    assert store.load("m", 1).manifest.task == classifier.manifest.task
    store.publish("m", {ARTEFACT: classifier.dump()[:-1]})
    with pytest.raises(ArtefactCorrupt, match=r"m/2/model\.npz: its bytes"):
        store.load("m", 2)
    with pytest.raises(FileNotFoundError):
        store.load("m", 3)


def test_a_file_larger_than_allowed_is_refused(three: ArtefactStore) -> None:
    with pytest.raises(ArtefactCorrupt, match="larger than 3 bytes"):
        three.open_file("m", 1, ARTEFACT, 3)


def test_attachments_are_added_replaced_and_read(three: ArtefactStore) -> None:
    assert three.read_attachment("m", 1, REPORT) is None
    assert not three.has_attachment("m", 1, REPORT)
    for text in b"first", b"second":
        seen = three.file_stamp("m", 1, REPORT)
        three.write_attachment("m", 1, REPORT, text)
        assert three.read_attachment("m", 1, REPORT) == text
        assert three.file_stamp("m", 1, REPORT) != seen
    assert three.has_attachment("m", 1, REPORT)
    assert three.run("m", 1) == {"trained_at": "2026-01-31"}
    assert content(three, 1) == b"model 1"


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_an_attachment_of_a_pruned_version_says_that_it_is_gone(
    three: ArtefactStore, tmp_path: Path, signed: bool
) -> None:
    if signed:
        write_secret(tmp_path / "keys", "k" * 32)
        three.key_file = tmp_path / "keys"
    three.prune("m", 1)
    with pytest.raises(VersionNotFound, match="has no version 1; it has 3"):
        three.write_attachment("m", 1, REPORT, b"late")
    with pytest.raises(ModelNotFound, match="no model 'other'"):
        three.write_attachment("other", 1, REPORT, b"late")


def test_a_signed_version_stays_signed_when_its_report_is_drawn(
    store: ArtefactStore, classifier: Any, tmp_path: Path
) -> None:
    store.publish("m", {ARTEFACT: classifier.dump()})
    keys = tmp_path / "keys"
    write_secret(keys, "k" * 32)
    store.key_file = keys
    with pytest.raises(SignatureInvalid, match="it is not signed"):
        store.load("m", 1)
    version = store.publish("m", {ARTEFACT: classifier.dump()})
    store.write_attachment("m", version, REPORT, b"report")
    assert store.read_attachment("m", version, REPORT) == b"report"
    assert store.load("m", version).manifest.task == classifier.manifest.task
