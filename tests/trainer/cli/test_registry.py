"""The commands on published versions: messages, JSON and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from models.storage.directory import DirectoryStore as Store

Command = Callable[..., Result]


def labels(store: Store, model: str) -> dict[str, int]:
    return {name: label.version for name, label in store.labels(model).items()}


# list, show, verify


def test_list_shows_every_model(command: Command, published: Path) -> None:
    lines = command("list").stdout.splitlines()
    assert lines[0].split() == ["model", "version", "labels", "trained", "metric"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["churn", "1", "production"],
        ["level", "1", "production"],
        ["price", "1", "production"],
    ]
    found = json.loads(command("list", "--json").stdout)
    assert [row["model"] for row in found] == ["churn", "level", "price"]
    assert set(found[0]) == {
        "model",
        "version",
        "labels",
        "trained_at",
        "task",
        "figure",
        "sha256",
        "problem",
    }


def test_list_shows_the_versions_of_one(
    command: Command, published: Path, store: Store
) -> None:
    store.publish("churn", {"model.npz": b"damaged"})
    result = command("list", "churn")
    assert "damaged: " in result.stdout
    found = json.loads(command("list", "churn", "--json").stdout)
    assert [row["version"] for row in found] == [1, 2]
    assert "no model 'nope'" in command("list", "nope", code=1).stderr


def test_list_of_an_empty_store(command: Command, store: Store) -> None:
    assert command("list").stderr == f"no model in {store.root}\n"
    assert json.loads(command("list", "--json").stdout) == []


def test_show_describes_a_version(command: Command, published: Path) -> None:
    text = command("show", "level").stdout
    assert text.startswith("level version 1 (production)\n  sha256 ")
    for heading in ("metrics", "inputs", "network", "data", "why these settings"):
        assert f"\n{heading}\n  " in text
    found = json.loads(command("show", "level@1", "--json").stdout)
    assert (found["model"], found["version"], found["task"]) == (
        "level",
        1,
        "multiclass",
    )


def test_verify_proves_a_version(
    command: Command, published: Path, store: Store
) -> None:
    sha256 = store.load("churn", 1).sha256
    assert command("verify", "churn").stdout == (
        f"churn version 1 is intact: sha256 {sha256}\n"
    )


@pytest.mark.parametrize("verb", ["verify", "show", "promote"])
def test_a_damaged_version_is_one_sentence(
    verb: str, command: Command, published: Path, store: Store
) -> None:
    path = store.path("churn", 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    more = ("1",) if verb == "promote" else ()
    result = command(verb, "churn", *more, code=1)
    assert result.stdout == ""
    assert result.stderr == (
        f"Error: {path}: its bytes are not those that were written\n"
    )


def test_damaged_labels_are_one_sentence(
    command: Command, published: Path, store: Store
) -> None:
    (store.root / "churn" / "labels.json").write_text("{")
    for verb in (("verify", "churn"), ("list", "churn"), ("rollback", "churn")):
        result = command(*verb, code=1)
        assert result.stderr.startswith("Error: ") and "labels.json" in result.stderr
        assert result.stderr.count("\n") == 1
    lines = command("list").stdout.splitlines()
    assert len(lines) == 4 and "labels.json" in lines[1]  # the other models too


# promote and rollback


def test_labels_are_moved_and_moved_back(
    command: Command, published: Path, store: Store
) -> None:
    store.publish("churn", {"model.npz": store.path("churn", 1).read_bytes()})
    assert command("promote", "churn", 2).stdout == ("churn: production is version 2\n")
    assert labels(store, "churn") == {"production": 2}
    assert command("rollback", "churn").stdout == "churn: production is version 1\n"
    assert labels(store, "churn") == {"production": 1}
    command("promote", "churn", 2, "--label", "canary")
    assert labels(store, "churn") == {"production": 1, "canary": 2}


@pytest.mark.parametrize(
    ("how", "share", "shadow", "said"),
    [
        (("--share", 0.25), 0.25, False, ", answering 0.25 of the requests"),
        (("--shadow",), 0.0, True, ", running beside production as a shadow"),
        ((), 0.0, False, ""),
    ],
)
def test_a_candidate_has_a_share_or_is_a_shadow(
    how: tuple[Any, ...],
    share: float,
    shadow: bool,
    said: str,
    command: Command,
    published: Path,
    store: Store,
) -> None:
    done = command("promote", "churn", 1, "--label", "candidate", *how)
    assert done.stdout == f"churn: candidate is version 1{said}\n"
    label = store.labels("churn")["candidate"]
    assert (label.share, label.shadow) == (share, shadow)


CANDIDATE = ("--label", "candidate")


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("promote", "churn", "9"), 1, "has no version 9"),
        (("promote", "churn", "x"), 2, "'VERSION'"),
        (("promote", "nope", "1"), 1, "no model 'nope'"),
        (("promote", "churn", "1", "--label", "a-b"), 2, "a label is letters"),
        (("promote", "churn", "1", "--share", "0.1"), 2, "not for 'production'"),
        (("promote", "churn", "1", "--shadow"), 2, "for the label 'candidate'"),
        (("promote", "churn", "1", "--share", "10"), 2, "'--share'"),
        (
            ("promote", "churn", "1", *CANDIDATE, "--share", "0.1", "--shadow"),
            2,
            "has a share or is a shadow",
        ),
        (("rollback", "churn"), 1, "has no version before 1 to go back to"),
        (("rollback", "churn", "--label", "canary"), 1, "has no label 'canary'"),
        (("rollback", "nope"), 1, "no model 'nope'"),
    ],
)
def test_labels_that_cannot_move_are_one_sentence(
    arguments: tuple[str, ...],
    code: int,
    expected: str,
    command: Command,
    published: Path,
    store: Store,
) -> None:
    result = command(*arguments, code=code)
    assert result.stdout == ""
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and expected in last
    assert labels(store, "churn") == {"production": 1}


# prune


def test_prune_says_what_it_deletes(
    command: Command, published: Path, store: Store
) -> None:
    content = store.path("churn", 1).read_bytes()
    for _ in range(4):
        store.publish("churn", {"model.npz": content})
    would = command("prune", "churn", "--keep", 2, "--dry-run")
    assert would.stdout == (
        "churn version 2 would be deleted\nchurn version 3 would be deleted\n"
    )
    assert store.versions("churn") == [1, 2, 3, 4, 5]
    done = command("prune", "churn", "--keep", 2)
    assert done.stdout == "churn version 2 deleted\nchurn version 3 deleted\n"
    assert done.stderr == "3 versions of churn remain\n"
    assert store.versions("churn") == [1, 4, 5]
    command("promote", "churn", 5)
    assert command("prune", "churn", "--keep", 1).stdout == "churn version 4 deleted\n"
    done = command("prune", "churn", "--keep", 1, "--forget-rollbacks")
    assert done.stdout == "churn version 1 deleted\n"
    assert "no model 'nope'" in command("prune", "nope", "--keep", 1, code=1).stderr
    assert "0 is not in the range" in command("prune", "m", "--keep", 0, code=2).stderr


def test_copy_names_the_versions(
    command: Command, published: Path, store: Store, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    done = command("copy", "churn", "--to", other)
    sha256 = store.load("churn", 1).sha256
    assert done.stdout == f"churn version 1 is in {other}: sha256 {sha256}\n"
    assert labels(Store(other), "churn") == labels(store, "churn")
    again = command("copy", "churn", "--to", other, code=2)
    assert f"{other}/churn exists" in again.stderr
    assert "unknown scheme" in command("copy", "m", "--to", "s4://b", code=2).stderr
