"""Every command as a person or a script meets it: words, JSON and exit codes."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from models.nn.layers.activations import Tanh
from models.storage.directory import DirectorySchedule
from models.storage.directory import DirectoryStore as Store
from trainer.cli.main import main
from trainer.operations.scheduler import State, read_state, write_state

Command = Callable[..., Result]
WriteCsv = Callable[..., Path]

FAST = ("--epochs", "5")
TIMING = {"load_s", "train_s", "epochs", "rows_per_s", "total_s"}


@pytest.fixture
def data(table: Callable[..., Any], write_csv: WriteCsv) -> Path:
    whole = table(120)
    kept = ("size", "colour", "member", "since", "churn")
    return write_csv({name: whole[name] for name in kept})


def labels(store: Store, model: str) -> dict[str, int]:
    return {name: label.version for name, label in store.labels(model).items()}


def process(*arguments: object, store: Path, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "trainer.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "GLASSNET_STORE": str(store), **environment},
    )


# fit


def test_fit_tells_a_person_what_came_of_it(command: Command, data: Path) -> None:
    result = command("fit", data, "--target", "churn", "--model", "churn", *FAST)
    assert result.stdout.startswith("churn version 1\n  task ")
    for word in ("log loss", "accuracy", "macro f1", "auc", "epochs", "sha256"):
        assert f"\n  {word} " in result.stdout
    assert "task binary: target 'churn' has 2 classes" in result.stderr
    assert "published churn version 1" in result.stderr
    assert result.stderr.endswith(
        "promoted: there is none in production to compare with\n"
    )


def test_fit_prints_one_json_object(command: Command, data: Path, store: Store) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "churn", "--json", *FAST)
    result = command(*arguments)
    found = json.loads(result.stdout)
    assert list(found) == [
        "model",
        "version",
        "sha256",
        "task",
        "metrics",
        "promoted",
        "reason",
        "gate",
        "timing",
        "config",
    ]
    assert (found["model"], found["version"], found["task"]) == ("churn", 1, "binary")
    assert found["sha256"] == store.load("churn", 1).sha256
    assert found["promoted"] is True
    assert set(found["timing"]) == TIMING and found["timing"]["epochs"] == 5
    assert found["config"]["train"]["epochs"] == 5
    assert found["metrics"]["measured_on"] == "held-out rows"
    assert result.stdout.count("\n") == 1


def test_networks_are_fitted_side_by_side_and_counted_together(
    command: Command, data: Path, store: Store
) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "m", "--json", *FAST)
    result = command(*arguments, "--set", "ensemble.members=3")
    found = json.loads(result.stdout)
    assert found["timing"]["epochs"] == 15
    assert found["config"]["ensemble"] == {"members": 3}
    assert store.load("m", 1).manifest.members == 3


def test_fit_in_its_own_process_keeps_the_streams_apart(
    data: Path, tmp_path: Path
) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "m", "--json", *FAST)
    hashes = []
    for seed in ("1", "2"):
        store = tmp_path / f"store-{seed}"
        done = process(*arguments, store=store, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        hashes.append(json.loads(done.stdout)["sha256"])
        assert "published m version 1" in done.stderr
    # Two processes, the same bytes.
    assert hashes[0] == hashes[1]
    contents = [(tmp_path / f"store-{s}/m/1/model.npz").read_bytes() for s in "12"]
    assert contents[0] == contents[1]


def test_a_failure_in_its_own_process_is_one_sentence(tmp_path: Path) -> None:
    done = process("fit", "none.csv", "--model", "m", store=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: no such file: none.csv\n"


def test_divergence_in_its_own_process_is_one_sentence(
    data: Path, tmp_path: Path
) -> None:
    done = process(
        *("fit", data, "--target", "churn", "--model", "m", "--epochs", 50),
        *("--set", "train.optimizer=gradient_descent"),
        *("--set", "train.learning_rate=1e6"),
        *("--set", "network.activation=leaky_relu"),
        store=tmp_path / "store",
    )
    assert done.returncode == 1
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: training diverged at step ")
    assert not (tmp_path / "store").exists()


def test_resume_with_nothing_to_go_on_from_begins_anew(
    command: Command, data: Path, store: Store
) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "m", "--json", *FAST)
    first = json.loads(command(*arguments).stdout)
    result = command(*arguments, "--resume")
    assert "no run on this data with these settings was interrupted" in result.stderr
    assert json.loads(result.stdout)["sha256"] == first["sha256"]


def test_a_time_limit_ends_training(command: Command, data: Path, store: Store) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "m")
    result = command(*arguments, "--epochs", "100000", "--time-limit", "1")
    assert "the time limit ended training in epoch " in result.stderr
    assert store.versions("m") == [1]


@pytest.mark.parametrize("limit", ["0", "-1", "0.5", "nan", "soon"])
def test_a_time_limit_is_some_seconds(
    limit: str, command: Command, data: Path, store: Store
) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "m")
    result = command(*arguments, "--time-limit", limit, code=2)
    assert "'--time-limit'" in result.stderr
    assert not store.root.exists()


def test_a_worse_candidate_exits_with_3_and_is_kept(
    command: Command, data: Path, store: Store
) -> None:
    fit = ("fit", data, "--target", "churn", "--model", "churn")
    command(*fit, "--epochs", 40)
    worse = ("--epochs", 1, "--set", "train.learning_rate=1e-9")
    result = command(*fit, *worse, code=3)
    assert "not promoted: worse: log_loss" in result.stderr
    assert labels(store, "churn") == {"production": 1, "candidate": 2}
    found = json.loads(command(*fit, *worse, "--json", code=3).stdout)
    assert found["promoted"] is False and found["reason"].startswith("worse: ")
    assert found["gate"][0]["refused"] == "worse"
    assert found["gate"][0]["low"] > 0
    assert labels(store, "churn") == {"production": 1, "candidate": 3}
    assert store.load("churn", 3).manifest.metrics == found["metrics"]


def test_promote_never_and_always_exit_with_0(
    command: Command, data: Path, store: Store
) -> None:
    fit = ("fit", data, "--target", "churn", "--model", "churn", *FAST)
    result = command(*fit, "--promote", "never")
    assert result.stderr.endswith("not promoted: --promote never\n")
    assert labels(store, "churn") == {}
    command(*fit, "--promote", "always")
    assert labels(store, "churn") == {"production": 2}


def test_settings_come_from_file_set_and_options(
    command: Command, data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "fit.toml"
    file.write_text("seed = 1\n[train]\nepochs = 2\nbatch_size = 16\n")
    result = command(
        *("fit", data, "--target", "churn", "--model", "m", "--json"),
        *("--config", file, "--set", "train.epochs=4", "--set", "network.hidden=[8]"),
        *("--epochs", 3, "--seed", 7),
    )
    config = json.loads(result.stdout)["config"]
    assert config["seed"] == 7
    assert config["train"]["epochs"] == 3
    assert config["train"]["batch_size"] == 16
    assert config["network"]["hidden"] == [8]


def test_task_and_validation_rows_are_taken(
    command: Command, table: Callable[..., Any], write_csv: WriteCsv
) -> None:
    whole = table(60)
    train = write_csv({"size": whole["size"], "level": whole["level"]})
    other = table(30, seed=1)
    valid = write_csv({"level": other["level"], "size": other["size"]}, "valid.csv")
    arguments = ("--target", "level", "--model", "m", "--valid", valid, *FAST)
    result = command("fit", train, *arguments, "--task", "regression", "--json")
    assert json.loads(result.stdout)["task"] == "regression"
    assert "task regression: as asked" in result.stderr
    assert "the validation rows given choose the epoch" in result.stderr


def test_the_store_is_an_option_or_a_variable(
    command: Command, store: Store, tmp_path: Path
) -> None:
    command("fit", "builtin:xor", "--model", "xor", *FAST)
    assert store.names() == ["xor"]
    other = tmp_path / "other"
    command("fit", "builtin:xor", "--model", "xor", "--store", other, *FAST)
    assert Store(other).versions("xor") == [1] == store.versions("xor")


def test_rows_that_do_not_take_part_are_said(
    command: Command, write_csv: WriteCsv
) -> None:
    path = write_csv(
        {
            "x": range(60),
            "same": [1] * 60,
            "gone": [None] * 60,
            "y": [None, *([0, 1] * 29), 0],
        }
    )
    result = command("fit", path, "--target", "y", "--model", "m", *FAST)
    assert "1 rows have no target and are left out" in result.stderr
    for name in ("same", "gone"):
        assert f"column '{name}' does not vary in the training rows" in result.stderr


# Mistakes: one sentence each, and never a traceback.

GOOD = "x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(60))

MISTAKES: dict[str, tuple[bytes | str, str]] = {
    "empty file": ("", ": the file is empty"),
    "header only": ("x,y\n", ": there are no rows, only a header"),
    "no target column": (
        GOOD.replace("x,y", "x,yy"),
        ": there is no target column 'y'; did you mean 'yy'?",
    ),
    "one class": (GOOD.replace("b", "a"), "target 'y' has only one value ('a')"),
    "no target value": (
        GOOD.replace("a\n", "\n").replace("b\n", "\n"),
        "target 'y' has no value in any row",
    ),
    "too few fields": (GOOD + "61\n", ", line 62: expected 2 fields"),
    "too many fields": (GOOD + "61,a,3\n", ", line 62: expected 2 fields"),
    "latin-1": ((GOOD + "61,ä\n").encode("latin-1"), ": not UTF-8 text (byte 0xe4)"),
    "utf-16": (GOOD.encode("utf-16"), ": not UTF-8 text (byte 0xff)"),
    "cut gzip": (gzip.compress(GOOD.encode())[:-20], ": damaged gzip data"),
    "damaged gzip": (
        gzip.compress(GOOD.encode())[:20] + b"\xff" * 90,
        ": damaged gzip data",
    ),
    "open quote": (GOOD + '"61,a\n', ", line 62: a quote is not closed"),
    "double column": ("x,x,y\n1,2,a\n", ": the header names column 'x' twice"),
    "nameless column": ("x,,y\n1,2,a\n", ": column 2 has no name"),
    "NaN": (GOOD + "NaN,a\n", "column 'x', row 61: expected a number"),
    "infinity": (GOOD + "-inf,a\n", "column 'x', row 61: expected a finite number"),
    "target alone": ("y\na\nb\n", ": there is no column besides the target 'y'"),
    "nothing varies": (
        "x,y\n" + "1,a\n1,b\n" * 30,
        "no column varies in the training rows",
    ),
    "too many classes": (
        "x,y\n" + "".join(f"{i},c{i}\n" for i in range(1001)),
        "target 'y' has 1001 classes",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_data_is_one_sentence(
    mistake: str, command: Command, tmp_path: Path, store: Store
) -> None:
    content, expected = MISTAKES[mistake]
    path = tmp_path / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = command("fit", path, "--target", "y", "--model", "m", *FAST, code=1)
    assert result.stdout == ""
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and expected in last
    assert not store.root.exists()


def sets(*texts: str) -> tuple[str, ...]:
    return tuple(word for text in texts for word in ("--set", text))


#: Settings that name columns and classes, and what is said of wrong ones.
ROLES = [
    (sets("data.group=colur"), 1, "no column 'colur' among the inputs for data.group"),
    (sets("data.group=colur"), 1, "did you mean 'colour'?"),
    (sets("data.time=churn"), 1, "for data.time: it is the target"),
    (sets("data.weight=colour"), 1, "column 'colour' (data.weight), row 1: expected"),
    (sets("data.weight=since"), 1, "expected numbers, found datetime values"),
    (sets("data.time=colour"), 1, "row 1: expected a number or an ISO 8601 date"),
    (sets("data.time=member"), 1, "(data.time): expected a number or an ISO 8601 date"),
    (sets("data.time=size"), 1, "expected a number or an ISO 8601 date, found none"),
    (
        sets("data.group=colour"),
        1,
        "column 'colour' (data.group) has 3 groups, too few",
    ),
    (sets("data.split=grouped"), 2, "data.split=grouped needs data.group, the column"),
    (sets("data.split=time"), 2, "data.split=time needs data.time, the column that"),
    (
        sets("data.split=time", "data.group=colour"),
        2,
        "data.group is for data.split=grouped, not time",
    ),
    (
        sets("data.split=random", "data.time=since"),
        2,
        "data.time is for data.split=time, not random",
    ),
    (
        sets("data.group=colour", "data.time=since"),
        2,
        "data.group and data.time exclude each other",
    ),
    (sets("data.grup=colour"), 2, "no setting 'data.grup'; did you mean 'data.group'?"),
    (sets("data.split=tim"), 2, "did you mean 'time'?"),
    (sets("train.class_weights={yess=2}"), 2, "no class 'yess'; did you mean 'yes'?"),
    (sets("train.class_weights={yes=-2}"), 2, "`float` > 0"),
    (sets("train.class_weights=balance"), 2, "did you mean 'balanced'?"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("fit", "none.csv", "--target", "y"), 1, "no such file: none.csv"),
        (("fit", "builtin:digit"), 1, "did you mean 'digits'?"),
        (("fit", "DATA"), 1, "which column is the target? say --target COLUMN"),
        (("fit", "DATA", "--target", "z"), 1, "no target column 'z'"),
        (("fit", "DATA", "--target", "y", "--task", "regression"), 1, "found text"),
        (("fit", "DATA", "--target", "y", "--valid", "no.csv"), 1, "no such file"),
        (
            ("fit", "DATA", "--target", "y", "--set", "train.epoch=3"),
            2,
            "there is no setting 'train.epoch'; did you mean 'train.epochs'?",
        ),
        (
            ("fit", "DATA", "--target", "y", "--set", "train.optimizer=adm"),
            2,
            "did you mean 'adam'?",
        ),
        (("fit", "DATA", "--target", "y", "--epochs", "0"), 2, "train.epochs"),
        (("fit", "DATA", "--target", "y", "--epochs", "x"), 2, "'--epochs'"),
        (("fit", "DATA", "--target", "y", "--seed", "-1"), 2, "setting 'seed'"),
        (("fit", "DATA", "--target", "y", "--config", "no"), 2, "no such config file"),
        (("fit", "DATA", "--target", "y", "--config", "."), 1, "directory"),
        (("fit", "DATA", "--target", "y", "--task", "ranking"), 2, "'--task'"),
        (("fit", "DATA", "--target", "y", "--promote", "maybe"), 2, "'--promote'"),
        (
            ("fit", "DATA", "--target", "y", "--set", "data.test_fraction=0.9"),
            2,
            "leave no rows",
        ),
        (("fit", "DATA", "--target", "y", "--model", "a/b"), 2, "a model's name is"),
        *[
            (("fit", "DATA", "--target", "y", *words), code, expected)
            for words, code, expected in ROLES
        ],
        (("fit",), 2, "Missing argument 'DATA'"),
        (("fti", "DATA"), 2, "No such command 'fti'"),
    ],
)
def test_a_mistake_in_the_command_is_one_sentence(
    arguments: tuple[str, ...], code: int, expected: str, command: Command, data: Path
) -> None:
    given = [str(data) if a == "DATA" else a for a in arguments]
    given = ["churn" if a == "y" else a for a in given]
    if arguments[0] == "fit" and "--model" not in given:
        given += ["--model", "m"]
    result = command(*given, code=code)
    assert result.stdout == ""
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and expected in last


@pytest.mark.parametrize(
    ("reference", "code", "expected"),
    [
        ("chrun", 1, "no model 'chrun' in the store; did you mean 'churn'?"),
        ("churn@7", 1, "model 'churn' has no version 7; it has 1"),
        ("churn@0", 1, "model 'churn' has no version 0"),
        ("churn@" + "9" * 5000, 2, "a model is NAME, NAME@VERSION or NAME:LABEL"),
        ("churn:prod", 1, "model 'churn' has no label 'prod'"),
        ("churn@one", 2, "a model is NAME, NAME@VERSION or NAME:LABEL"),
        ("churn@1:production", 2, "a model is NAME, NAME@VERSION or NAME:LABEL"),
        ("churn:", 2, "a model is NAME, NAME@VERSION or NAME:LABEL"),
        ("", 2, "a model is NAME, NAME@VERSION or NAME:LABEL"),
        ("../churn", 1, "no model '../churn' in the store"),
    ],
)
@pytest.mark.parametrize("verb", ["show", "verify", "evaluate", "predict"])
def test_a_bad_reference_is_one_sentence(
    verb: str,
    reference: str,
    code: int,
    expected: str,
    command: Command,
    published: Path,
) -> None:
    data = published / "churn.csv"
    arguments = {
        "evaluate": (data, "--model", reference),
        "predict": (data, "--model", reference, "--out", "x.csv"),
    }.get(verb, (reference,))
    result = command(verb, *arguments, code=code)
    assert result.stdout == ""
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and expected in last


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_store_that_cannot_be_written_is_one_sentence(
    place: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = command(
        *("fit", "builtin:xor", "--model", "xor", *FAST),
        *("--store", tmp_path / place),
        code=1,
    )
    *_, last = result.stderr.splitlines()
    assert last.startswith(f"Error: {tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("verb", [(), ("fit",), ("predict",), ("promote",)])
def test_help_is_there(verb: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*verb, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    assert CliRunner().invoke(main, [*verb, "-h"]).stdout == result.stdout


def test_the_version_is_there() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0 and "version" in result.stdout


def test_class_weights_for_a_number_are_wrong_usage(
    command: Command, table: Callable[..., Any], write_csv: WriteCsv
) -> None:
    whole = table(60)
    path = write_csv({"size": whole["size"], "price": whole["price"]})
    fit = ("fit", path, "--target", "price", "--model", "m", *FAST)
    result = command(*fit, "--set", "train.class_weights=balanced", code=2)
    assert "train.class_weights is for classes" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("2024-01-05,-1,7", "column 'w' (data.weight), row 61: expected a number of 0"),
        ("2024-01-05,,7", "column 'w' (data.weight), row 61: expected a number of 0"),
        ("2024-01-05,many,7", "column 'w' (data.weight), row 61: expected a number of"),
        ("2024-02-30,1,7", "column 'day' (data.time), row 61: expected a number or an"),
        ("yesterday,1,7", "column 'day' (data.time), row 61: expected a number or an"),
        (",1,7", "column 'day' (data.time), row 61: expected a number or an ISO"),
        ("NA,1,7", "column 'day' (data.time), row 61: expected a number or an ISO"),
    ],
)
def test_a_bad_value_in_a_column_aside_is_one_sentence(
    row: str, expected: str, command: Command, tmp_path: Path, store: Store
) -> None:
    lines = [f"2024-01-{i % 28 + 1:02d},{i % 3},{i},{'ab'[i % 2]}" for i in range(60)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["day,w,x,y", *lines, f"{row},a"]) + "\n")
    fit = ("fit", path, "--target", "y", "--model", "m", *FAST)
    result = command(*fit, *sets("data.time=day", "data.weight=w"), code=1)
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and expected in last
    assert not store.root.exists()
    # A row without a target need not have any of it.
    path.write_text("\n".join(["day,w,x,y", *lines, f"{row},"]) + "\n")
    result = command(*fit, *sets("data.time=day", "data.weight=w"))
    assert "1 rows have no target and are left out" in result.stderr


# Rows in groups, in time, and of different weight.


@pytest.fixture
def visits(table: Callable[..., Any], write_csv: WriteCsv) -> Path:
    """Visits of clients, day by day, some of which stand for several."""
    whole = table(600)
    kept = {name: whole[name] for name in ("size", "colour", "member", "churn")}
    rng = np.random.default_rng(3)
    day = np.datetime64("2024-01-01") + np.sort(rng.integers(0, 200, 600))
    return write_csv(
        {
            "client": rng.integers(0, 150, 600).tolist(),
            "day": [str(d) for d in day],
            "times": rng.integers(1, 4, 600).tolist(),
            **kept,
        }
    )


@pytest.mark.parametrize("members", ["1", "5"])
@pytest.mark.parametrize(
    ("given", "split", "words"),
    [
        (
            ("data.split=grouped", "data.group=client"),
            "grouped",
            {"column 'client' groups the rows and is no input of the model"},
        ),
        (
            ("data.split=time", "data.time=day"),
            "time",
            {"column 'day' orders the rows and is no input of the model"},
        ),
        (("data.split=random",), "random", set()),
        (
            ("data.weight=times", "train.class_weights=balanced"),
            "random",
            {
                "column 'times' weighs the rows and is no input of the model",
                "rows are divided at random: no column says which belong together",
            },
        ),
        (
            (
                "data.group=client",
                "data.weight=times",
                "train.class_weights={yes = 2, no = 1}",
            ),
            "grouped",
            {
                "rows are divided by 'client': no group is on two sides",
                "class weights no 1, yes 2: as asked",
            },
        ),
        (
            ("data.time=day", "data.weight=times"),
            "time",
            {"rows are divided by 'day': the last are measured on"},
        ),
    ],
)
def test_rows_are_divided_and_weighed_as_asked(
    given: tuple[str, ...],
    split: str,
    words: set[str],
    members: str,
    command: Command,
    visits: Path,
    store: Store,
    tmp_path: Path,
) -> None:
    few = sets("network.hidden=[8]", f"ensemble.members={members}")
    fit = ("fit", visits, "--target", "churn", "--model", "m", "--json", *FAST)
    result = command(*fit, *few, *sets(*given))
    found = json.loads(result.stdout)
    assert found["config"]["data"]["split"] == split
    assert words <= set(result.stderr.splitlines())
    aside = {text.partition("=")[2] for text in given if text.startswith("data.")}
    manifest = store.load("m", 1).manifest
    inputs = manifest.inputs.by_name  # type: ignore[union-attr]
    assert set(inputs) == {*("client", "day", "times", "size", "colour", "member")} - {
        name for name in aside if name in ("client", "day", "times")
    }
    # What is no input need not be there to be answered.
    bare = pl.read_csv(visits).drop([n for n in ("client", "day") if n not in inputs])
    bare.write_csv(tmp_path / "bare.csv")
    out = tmp_path / "answers.csv"
    command("predict", tmp_path / "bare.csv", "--model", "m", "--out", out)
    assert len(pl.read_csv(out)) == 600
    assert command("show", "m").stdout.count("\n  data.split ") == 1
    again = json.loads(command(*fit, *few, *sets(*given)).stdout)
    assert again["sha256"] == found["sha256"] and again["promoted"]


# evaluate


def test_evaluate_prints_figures(command: Command, published: Path) -> None:
    data = published / "churn.csv"
    result = command("evaluate", data, "--model", "churn")
    assert result.stdout.startswith(f"churn version 1 on {data}\n")
    found = json.loads(command("evaluate", data, "--model", "churn", "--json").stdout)
    assert (found["model"], found["version"]) == ("churn", 1)
    figures = {"log_loss", "brier", "ece", "accuracy", "macro_f1", "auc"}
    assert set(found["metrics"]) == figures | {"rows"}
    assert f"accuracy     {found['metrics']['accuracy']:.6g}" in result.stdout


@pytest.mark.parametrize("reference", ["price", "price@1", "price:production"])
def test_a_model_is_named_in_three_ways(
    reference: str, command: Command, published: Path, store: Store
) -> None:
    content = store.path("price", 1).read_bytes()
    store.publish("price", {"model.npz": content})
    arguments = ("evaluate", published / "price.csv", "--model", reference, "--json")
    assert json.loads(command(*arguments).stdout)["version"] == 1
    arguments = ("evaluate", published / "price.csv", "--model", "price@2", "--json")
    assert json.loads(command(*arguments).stdout)["version"] == 2


def test_evaluate_needs_the_target(
    command: Command,
    published: Path,
    table: Callable[..., Any],
    write_csv: WriteCsv,
) -> None:
    whole = table(10)
    del whole["churn"]
    path = write_csv(whole)
    result = command("evaluate", path, "--model", "churn", code=1)
    assert "there is no target column 'churn'" in result.stderr


# predict


def test_predict_writes_csv_row_for_row(
    command: Command, published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.csv"
    data = published / "churn.csv"
    result = command("predict", data, "--model", "churn", "--out", out)
    assert result.stdout == ""
    assert result.stderr == f"120 predictions of churn version 1 in {out}\n"
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["prediction", "p_no", "p_yes"]
    assert len(rows) == 120
    for row in rows:
        no, yes = float(row["p_no"]), float(row["p_yes"])
        assert no + yes == pytest.approx(1)
        assert row["prediction"] == ("yes" if yes > no else "no")


def test_predict_writes_parquet_like_csv(
    command: Command, published: Path, tmp_path: Path
) -> None:
    for name in ("answers.csv", "answers.parquet"):
        arguments = ("predict", published / "level.csv", "--model", "level")
        command(*arguments, "--out", tmp_path / name)
    one = pl.read_csv(tmp_path / "answers.csv")
    assert one.equals(pl.read_parquet(tmp_path / "answers.parquet"))
    assert one.columns == ["prediction", "p_0", "p_1", "p_2"]
    assert one.schema["prediction"] == pl.Int64


def test_predict_regression_without_the_target(
    command: Command, published: Path, tmp_path: Path
) -> None:
    frame = pl.read_csv(published / "price.csv").drop("price")
    frame.write_csv(tmp_path / "bare.csv")
    frame.write_parquet(tmp_path / "bare.parquet")
    answers = []
    for name in ("bare.csv", "bare.parquet"):
        out = tmp_path / "answers.parquet"
        command("predict", tmp_path / name, "--model", "price", "--out", out)
        answers.append(pl.read_parquet(out))
    assert answers[0].columns == ["prediction"] and len(answers[0]) == 120
    assert answers[0].equals(answers[1])


@pytest.mark.parametrize(
    ("out", "code", "expected"),
    [
        ("answers.txt", 2, "--out is a .csv or .parquet file"),
        ("answers", 2, "--out is a .csv or .parquet file"),
        ("none/answers.csv", 1, "none"),
    ],
)
def test_predict_to_a_wrong_place_is_one_sentence(
    out: str,
    code: int,
    expected: str,
    command: Command,
    published: Path,
    tmp_path: Path,
) -> None:
    arguments = ("predict", published / "churn.csv", "--model", "churn")
    result = command(*arguments, "--out", tmp_path / out, code=code)
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and expected in last


def test_predict_tells_what_is_wrong_with_a_row(
    command: Command,
    published: Path,
    table: Callable[..., Any],
    write_csv: WriteCsv,
    tmp_path: Path,
) -> None:
    whole = table(10)
    whole["size"][6] = "big"
    path = write_csv(whole)
    arguments = ("predict", path, "--model", "churn", "--out", tmp_path / "a.csv")
    result = command(*arguments, code=1)
    assert "column 'size', row 7: expected a number, found text" in result.stderr
    assert not (tmp_path / "a.csv").exists()


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
    for heading in ("figures", "inputs", "network", "data", "why these settings"):
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
        f"churn version 1 is whole: sha256 {sha256}\n"
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
    for verb in (("verify", "churn"), ("list",), ("rollback", "churn")):
        result = command(*verb, code=1)
        assert result.stderr.startswith("Error: ") and "labels.json" in result.stderr
        assert result.stderr.count("\n") == 1


# databases


@pytest.fixture
def shop(table: Callable[..., Any], tmp_path: Path) -> Path:
    """The table of `data` in SQLite, with a number to tell the rows apart."""
    whole = table(120)
    kept = ("size", "colour", "member", "since", "churn")
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE t (n INTEGER, size REAL, colour TEXT, member TEXT, "
            "since DATE, churn TEXT)"
        )
        rows = zip(range(120), *(whole[name] for name in kept), strict=True)
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    return path


def test_a_database_serves_every_command(
    command: Command, shop: Path, store: Store, tmp_path: Path
) -> None:
    columns = "SELECT size, colour, member, since, churn FROM t"
    query = tmp_path / "rows.sql"
    query.write_text(f"{columns} WHERE n < 90 ORDER BY n;\n")
    later = f"{columns} WHERE n >= 90 ORDER BY n"
    url = f"sqlite:///{shop}"
    asked = ("fit", url, "--query-file", query, "--target", "churn", *FAST)
    command(*asked, "--valid-query", later, "--model", "m")
    manifest = store.load("m", 1).manifest
    assert (manifest.data.rows, manifest.data.validation_rows) == (90, 30)
    run = store.run("m", 1)
    assert (run["data"], run["query"]) == (url, query.read_text())
    # The same rows of another place choose the epoch to the same bytes.
    command(*asked, "--valid", url, "--valid-query", later, "--model", "n")
    assert store.load("n", 1).sha256 == store.load("m", 1).sha256
    shown = command("evaluate", url, "--query", later, "--model", "m")
    assert shown.stdout.startswith(f"m version 1 on {url}\n")
    out = tmp_path / "answers.csv"
    command("predict", url, "--query", later, "--model", "m", "--out", out)
    assert len(pl.read_csv(out)) == 30


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("sqlite:///none.db",), 2, "sqlite:///none.db: which rows? say --query"),
        (("none.csv", "--query", "SELECT 1"), 2, "a query is for a database"),
        (
            ("sqlite:///none.db", "--query", "SELECT 1", "--target", "y"),
            1,
            "no such file: none.db",
        ),
        (("postgresql://a:s3cret@h/d", "--query", "x"), 2, "holds no password"),
    ],
)
def test_a_wrong_source_is_one_sentence(
    arguments: tuple[str, ...], code: int, expected: str, command: Command
) -> None:
    for verb in ("fit", "evaluate", "predict"):
        more = ("--out", "x.csv") if verb == "predict" else ()
        if verb != "fit" and code == 1:
            continue  # there is no model to ask
        result = command(verb, *arguments, "--model", "m", *more, code=code)
        assert expected in result.stderr and "s3cret" not in result.stderr
        assert result.stdout == ""


def test_the_password_of_a_database_stays_where_it_is(
    postgres: Any, tmp_path: Path
) -> None:
    """Nothing that a run writes, says or shows to other processes holds it."""
    secret = tmp_path / "secret"
    secret.write_text(postgres.password)
    query = "SELECT g AS x, (g > 40)::int AS y FROM generate_series(1, 80) g ORDER BY g"
    store = tmp_path / "store"
    for url, code in ((postgres.url, 0), (postgres.url + "?sslmode=nope", 1)):
        done = process(
            *("fit", url, "--query", query, "--target", "y", "--model", "m", *FAST),
            store=store,
            GLASSNET_DATABASE_PASSWORD_FILE=str(secret),
            PGPASSWORD=postgres.password,
        )
        assert done.returncode == code, done.stderr
        for text in (done.stdout, done.stderr):
            assert postgres.password not in text
            assert quote(postgres.password, safe="") not in text
    written = [path for path in store.rglob("*") if path.is_file()]
    assert len(written) == 6  # the report is one of them
    for path in written:
        content = path.read_bytes()
        assert postgres.password.encode() not in content
        assert quote(postgres.password, safe="").encode() not in content
        assert b"reader@" not in content


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
        (("--share", 0.25), 0.25, False, ", for 0.25 of the requests"),
        (("--shadow",), 0.0, True, ", in the shadow of production"),
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
    assert done.stderr.endswith("kept: 3 versions are left\n")
    assert store.versions("churn") == [1, 4, 5]
    command("promote", "churn", 5)
    assert command("prune", "churn", "--keep", 1).stdout == "churn version 4 deleted\n"
    done = command("prune", "churn", "--keep", 1, "--forget-rollbacks")
    assert done.stdout == "churn version 1 deleted\n"
    assert "no model 'nope'" in command("prune", "nope", "--keep", 1, code=1).stderr
    assert "0 is not in the range" in command("prune", "m", "--keep", 0, code=2).stderr


# signing


def test_a_key_signs_what_is_fitted_and_refuses_the_rest(
    command: Command,
    data: Path,
    published: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k" * 32)
    monkeypatch.setenv("GLASSNET_SIGNING_KEY_FILE", str(keys))
    command("fit", data, "--target", "churn", "--model", "new", *FAST)
    sha256 = store.load("new", 1).sha256
    assert command("verify", "new").stdout == (
        f"new version 1 is whole and signed: sha256 {sha256}\n"
    )
    for verb in (("verify",), ("show",), ("evaluate", data, "--model")):
        result = command(*verb, "churn", code=1)
        assert result.stderr.endswith("model.npz: it is not signed\n")
    assert "it is not signed" in command("promote", "churn", 1, code=1).stderr
    keys.write_text("o" * 32)
    assert "its signature is by no key in" in command("verify", "new", code=1).stderr
    # A key that cannot be used is told before the work, not after it.
    keys.write_text("short")
    result = command("fit", "none.csv", "--target", "y", "--model", "new", code=2)
    assert "line 1: a key has 32 characters or more" in result.stderr
    monkeypatch.delenv("GLASSNET_SIGNING_KEY_FILE")
    assert command("verify", "new").stdout.startswith("new version 1 is whole: sha256")


# schedule


def due_since_yesterday(store: Store) -> DirectorySchedule:
    home = store.schedule("m")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    write_state(home, State("0 * * * *", "UTC", yesterday, yesterday))
    return home


def test_a_schedule_runs_fit_and_keeps_what_came_of_it(
    command: Command, data: Path, store: Store, tmp_path: Path
) -> None:
    home = due_since_yesterday(store)
    arguments = ("fit", data, "--target", "churn", "--model", "m", *FAST)
    line = ["schedule", "--cron", "0 * * * *", "--", *map(str, arguments)]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.cli", *line],
            env={**os.environ, "GLASSNET_STORE": str(store.root)},
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and "the next is" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
    state = read_state(home)
    assert state is not None and state.last is not None and state.last.result
    assert state.last.result["sha256"] == store.load("m", 1).sha256
    assert store.versions("m") == [1]
    text = log.read_text()
    for sentence in ("a run of m begins\n", "\npublished m version 1\n", "was done"):
        assert sentence in text
    assert command("healthcheck", "m").stdout.startswith("the last good run began ")
    assert command("list", "m").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--cron", "0 3 * *", "--", "fit"), 2, "there must be five fields"),
        (("--cron", "0 3 * * *", "--timezone", "Mars", "--", "fit"), 2, "no time zone"),
        (("--cron", "0 3 * * *", "--", "predict", "x"), 2, "runs fit, not 'predict'"),
        (("--cron", "0 3 * * *"), 2, "Missing argument"),
        (("--cron", "0 3 * * *", "--", "fit", "x.csv"), 2, "Missing option '--model'"),
        (
            ("--cron", "0 3 * * *", "--", "fit", "x", "--model", "m", "--set", "a=1"),
            2,
            "there is no setting 'a'",
        ),
        (
            ("--cron", "0 3 * * *", "--", "fit", "sqlite:///x", "--model", "m"),
            2,
            "which rows?",
        ),
        (
            ("--cron", "0 3 * * *", "--", "fit", "x", "--model", "a/b"),
            2,
            "a model's name is letters",
        ),
    ],
)
def test_a_wrong_schedule_is_told_at_once(
    arguments: tuple[str, ...], code: int, expected: str, command: Command, store: Store
) -> None:
    result = command("schedule", *arguments, code=code)
    assert expected in result.stderr and result.stdout == ""
    assert not store.root.exists()


def test_a_schedule_without_a_good_run_is_not_healthy(
    command: Command, store: Store
) -> None:
    result = command("healthcheck", "m", code=1)
    assert result.stderr.startswith("Error: no schedule has begun in ")
    due_since_yesterday(store)
    result = command("healthcheck", "m", code=1)
    assert result.stderr.startswith("Error: no run was good since ")
    command("healthcheck", "m", "--hours", 25)


# check-gradients


def test_check_gradients_shows_every_error(command: Command) -> None:
    *lines, last = command("check-gradients").stdout.splitlines()
    assert last == "all within 1e-06"
    assert len(lines) > 12
    assert all(float(line.split()[-1]) < 1e-6 for line in lines)


def test_check_gradients_fails_on_a_wrong_one(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(dA: Any, Z: Any, A: Any, kept: Any, dZ: Any) -> None:
        dZ[...] = dA

    monkeypatch.setattr(Tanh, "backward", staticmethod(wrong))
    result = command("check-gradients", code=1)
    assert "Error: a gradient is off by " in result.stderr


def test_images_go_all_the_way(command: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4, 4))
    path, bare = tmp_path / "data.npz", tmp_path / "bare.npz"
    np.savez(path, X=X, y=np.where(X[:, 0, 0] > 0, "up", "down"))
    np.savez(bare, X=X)
    command("fit", path, "--model", "images", "--epochs", 20)
    command("evaluate", path, "--model", "images")
    out = tmp_path / "answers.csv"
    command("predict", bare, "--model", "images", "--out", out)
    assert pl.read_csv(out).columns == ["prediction", "p_down", "p_up"]
    result = command("evaluate", bare, "--model", "images", code=1)
    assert "expected arrays 'X' and 'y', found X" in result.stderr
