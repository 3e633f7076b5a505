"""Which columns may have a direction, and what production hands on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.storage.directory import DirectoryStore

SIZE = "data.columns.size.monotone=up"


@pytest.mark.parametrize(
    ("target", "settings", "sentence"),
    [
        (
            "price",
            ["data.columns.size.monotone=upp"],
            "found 'upp'; did you mean 'up'?",
        ),
        (
            "price",
            ["data.columns.colour.monotone=up"],
            "holds categories, which have no",
        ),
        ("price", ["data.columns.since.monotone=down"], "holds dates, which repeat"),
        ("price", [SIZE, 'data.ignore=["size"]'], "not 'size': the inputs are colour"),
        ("price", [SIZE, "data.weight=size"], "not 'size': the inputs are colour"),
        ("level", [SIZE], "one of two classes"),
        ("price", [SIZE, "network.architecture=mlp"], "network.architecture=realmlp"),
    ],
)
def test_what_cannot_keep_a_direction_is_refused(
    command: Callable[..., Any],
    write_csv: Callable[..., Path],
    table: Callable[..., Any],
    target: str,
    settings: list[str],
    sentence: str,
) -> None:
    full = table()
    columns = {n: full[n] for n in ("size", "colour", "member", "since", target)}
    columns["size"] = [10.0 if x is None else x for x in columns["size"]]
    given = [word for text in settings for word in ("--set", text)]
    path = write_csv(columns)
    result = command("fit", path, "--target", target, "--model", "m", *given, code=2)
    assert sentence in result.output


def test_production_hands_a_direction_on_until_it_is_free(
    command: Callable[..., Any],
    write_csv: Callable[..., Path],
    table: Callable[..., Any],
    store: DirectoryStore,
) -> None:
    full = table(400)
    path = write_csv({n: full[n] for n in ("size", "colour", "price")})
    small = ["ensemble.members=2", "network.hidden=[16]", "train.epochs=60"]

    def columns(*settings: str) -> Any:
        given = [word for text in (*small, *settings) for word in ("--set", text)]
        fit = ("fit", path, "--target", "price", "--model", "m")
        result = json.loads(command(*fit, "--json", *given).stdout)
        manifest = store.load("m", result["version"]).manifest
        reasons = [r for r in manifest.recipe.reasons if "'size'" in r]
        return result["sha256"], manifest.config["data"]["columns"], reasons

    plain, none, reasons = columns()
    assert (none, reasons) == ({}, [])
    first, given, reasons = columns(SIZE)
    assert given["size"]["monotone"] == "up"
    assert reasons[0] == "the answer only rises with column 'size': as given"
    assert "over the range of 'size'" in reasons[1]
    second, kept, reasons = columns()
    assert kept == given
    assert reasons[0] == "the answer only rises with column 'size': as in production"
    assert second != first != plain  # the reasons differ
    _, freed, reasons = columns("data.columns.size.monotone=free")
    assert freed["size"]["monotone"] == "free"
    assert reasons == []
    assert columns()[0] == plain
