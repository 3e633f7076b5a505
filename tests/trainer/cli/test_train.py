"""fit, schedule, healthcheck, check-gradients: messages, JSON and exit codes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result

from models.nn.layers.activations import Tanh
from models.storage.directory import DirectorySchedule
from models.storage.directory import DirectoryStore as Store
from trainer.operations.scheduler import State, read_state, write_state

Command = Callable[..., Result]
WriteCsv = Callable[..., Path]

FAST = ("--epochs", "5")
TIMING = {"load_s", "train_s", "epochs", "rows_per_s", "total_s"}


def labels(store: Store, model: str) -> dict[str, int]:
    return {name: label.version for name, label in store.labels(model).items()}


# fit


def test_fit_prints_a_summary(command: Command, data: Path, store: Store) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "churn", *FAST)
    result = command(*arguments, "--set", "runtime.report=true")
    lines = result.stdout.splitlines()
    assert len(lines) <= 12
    assert lines[:2] == ["churn version 1", "task       binary"]
    for word in ("rows", "log loss", "accuracy", "diagnosis", "report"):
        assert any(line.startswith(f"{word} ") for line in lines)
    first = "promoted: first version of this model"
    assert f"verdict    {first}" in lines
    assert lines[-1].startswith(f"next       service run --store {store.root} (")
    assert "task binary" not in result.stderr


def test_verbose_prints_the_reason_for_each_setting(
    command: Command, data: Path
) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "churn", *FAST)
    result = command(*arguments, "--verbose")
    assert "task binary: target 'churn' has 2 classes" in result.stderr


def test_findings_come_before_everything_else(
    command: Command, write_csv: WriteCsv
) -> None:
    path = write_csv({"x": range(60), "y": [None, *([0, 1] * 29), 0]})
    result = command("fit", path, "--target", "y", "--model", "m", *FAST, "--verbose")
    first, *_ = result.stderr.splitlines()
    assert first == "! rows left out, without a target: 1"


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
        "intervals",
        "baselines",
        "promoted",
        "reason",
        "gate",
        "findings",
        "diagnosis",
        "report",
        "data",
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
    assert found["config"]["ensemble"]["members"] == 3
    assert store.load("m", 1).manifest.members == 3


def test_fit_in_its_own_process_keeps_the_streams_apart(
    process: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    arguments = ("fit", data, "--target", "churn", "--model", "m", "--json", *FAST)
    hashes = []
    for seed in ("1", "2"):
        store = tmp_path / f"store-{seed}"
        done = process(*arguments, store=store, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        hashes.append(json.loads(done.stdout)["sha256"])
        assert "m version 1 promoted: " in done.stderr
    # Two processes, the same bytes.
    assert hashes[0] == hashes[1]
    contents = [(tmp_path / f"store-{s}/m/1/model.npz").read_bytes() for s in "12"]
    assert contents[0] == contents[1]


def test_a_failure_in_its_own_process_is_one_sentence(
    process: Callable[..., Any], tmp_path: Path
) -> None:
    done = process("fit", "none.csv", "--model", "m", store=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: no such file: none.csv\n"


def test_divergence_in_its_own_process_is_one_sentence(
    process: Callable[..., Any], data: Path, tmp_path: Path
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
    assert "found no interrupted run with these data and settings" in result.stderr
    assert json.loads(result.stdout)["sha256"] == first["sha256"]


def test_an_interrupted_run_says_how_to_continue_it(
    command: Command, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.pipeline.run", interrupt)
    result = command("fit", data, "--target", "churn", "--model", "m", code=1)
    assert "add --resume to the command to continue this run" in result.stderr


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
    command: Command, table: Any, write_csv: Any, store: Store
) -> None:
    data = write_csv({name: table(400)[name] for name in ("size", "member", "churn")})
    fit = ("fit", data, "--target", "churn", "--model", "churn")
    fit += ("--set", "network.architecture=mlp")
    command(*fit, "--epochs", 40)
    worse = ("--epochs", 1, "--set", "train.learning_rate=1e-9")
    result = command(*fit, *worse, code=3)
    assert "not promoted: significantly worse: log_loss" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(
        "next       trainer promote churn 2 --store "
    )
    assert labels(store, "churn") == {"production": 1, "candidate": 2}
    found = json.loads(command(*fit, *worse, "--json", code=3).stdout)
    assert found["promoted"] is False and found["reason"].startswith(
        "significantly worse: "
    )
    assert found["gate"][0]["refused"] == "significantly worse"
    assert found["gate"][0]["low"] > 0
    assert labels(store, "churn") == {"production": 1, "candidate": 3}
    assert store.load("churn", 3).manifest.metrics == found["metrics"]


def test_promote_never_and_always_exit_with_0(
    command: Command, data: Path, store: Store
) -> None:
    fit = ("fit", data, "--target", "churn", "--model", "churn", *FAST)
    result = command(*fit, "--promote", "never")
    assert "not promoted: --promote never\n" in result.stdout
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
    arguments += ("--task", "regression", "--json", "--verbose")
    result = command("fit", train, *arguments)
    assert json.loads(result.stdout)["task"] == "regression"
    assert "task regression: as given" in result.stderr
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
            "x": [i % 30 for i in range(60)],
            "same": [1] * 60,
            "gone": [None] * 60,
            "y": [None, *([0, 1] * 29), 0],
        }
    )
    always = ("--promote", "always")
    result = command("fit", path, "--target", "y", "--model", "m", *FAST, *always)
    assert "rows left out, without a target: 1" in result.stderr
    for name in ("same", "gone"):
        assert f"column '{name}' has one value in all training rows" in result.stderr


# Mistakes: one sentence each, and never a traceback.

GOOD = "x,y\n" + "".join(f"{i % 30},{'ab'[i % 2]}\n" for i in range(60))

MISTAKES: dict[str, tuple[bytes | str, str]] = {
    "empty file": ("", ": the file is empty"),
    "header only": ("x,y\n", ": expected rows, found only a header"),
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
    "latin-1": (
        (GOOD + "61,ä\n").encode("latin-1"),
        ": expected UTF-8 text, found byte 0xe4",
    ),
    "utf-16": (GOOD.encode("utf-16-le"), ": expected UTF-8 text, found UTF-16; save"),
    "cut gzip": (gzip.compress(GOOD.encode())[:-20], ": damaged gzip data"),
    "damaged gzip": (
        gzip.compress(GOOD.encode())[:20] + b"\xff" * 90,
        ": damaged gzip data",
    ),
    "open quote": (GOOD + '"61,a\n', ", line 62: a quote is not closed"),
    "double column": ("x,x,y\n1,2,a\n", ": the header names column 'x' twice"),
    "nameless column": ("x,,y\n1,2,a\n", ": column 2 has no name"),
    "target alone": ("y\na\nb\n", ": there is no input column besides the target 'y'"),
    "nothing varies": (
        "x,y\n" + "1,a\n1,b\n" * 30,
        "no column varies in the training rows",
    ),
    "too many classes": (
        "x,y\n" + "".join(f"{i % 30},c{i % 1001}\n" for i in range(2002)),
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
    (sets("data.group=colur"), 1, "data.group: there is no column 'colur'"),
    (sets("data.group=colur"), 1, "did you mean 'colour'?"),
    (sets("data.time=churn"), 1, "data.time=churn names the target"),
    (sets("data.weight=colour"), 1, "column 'colour' (data.weight), row 1: expected"),
    (sets("data.weight=since"), 1, "expected numbers, found datetime values"),
    (sets("data.time=colour"), 1, "row 1: expected a number or an ISO 8601 date"),
    (sets("data.time=member"), 1, "(data.time): expected a number or an ISO 8601 date"),
    (
        sets("data.time=size"),
        1,
        "expected a number or an ISO 8601 date, found no value",
    ),
    (
        sets("data.group=member"),
        1,
        "column 'member' (data.group) has 2 groups, too few for 3 parts",
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
        (("fit", "DATA"), 1, "a table needs --target COLUMN"),
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
    assert last.startswith(f"Error: {tmp_path / 'file'}: the store needs a directory")
    assert "epoch" not in result.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_class_weights_for_a_number_are_wrong_usage(
    command: Command, table: Callable[..., Any], write_csv: WriteCsv
) -> None:
    whole = table(60)
    path = write_csv({"size": whole["size"], "price": whole["price"]})
    fit = ("fit", path, "--target", "price", "--model", "m", *FAST)
    result = command(*fit, "--set", "train.class_weights=balanced", code=2)
    assert (
        "train.class_weights needs a target of classes"
        in result.stderr.splitlines()[-1]
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "2024-01-05,-1,7",
            "column 'w' (data.weight), row 61: expected a number of at least 0",
        ),
        (
            "2024-01-05,,7",
            "column 'w' (data.weight), row 61: expected a number of at least 0",
        ),
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
    assert "rows left out, without a target: 1" in result.stderr


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
            {"column 'client' groups the rows and is not an input of the model"},
        ),
        (
            ("data.split=time", "data.time=day"),
            "time",
            {"column 'day' orders the rows and is not an input of the model"},
        ),
        (("data.split=random",), "random", set()),
        (
            ("data.weight=times", "train.class_weights=balanced"),
            "random",
            {
                "column 'times' weights the rows and is not an input of the model",
                "rows are split at random: no column groups or orders them",
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
                "rows are split by 'client': no group is split",
                "class weights no 1, yes 2: as given",
            },
        ),
        (
            ("data.time=day", "data.weight=times"),
            "time",
            {"rows are split by 'day': the latest are the test rows"},
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
    fit = ("fit", visits, "--target", "churn", "--model", "m", *FAST)
    result = command(*fit, "--json", "--verbose", *few, *sets(*given))
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
    again = json.loads(command(*fit, "--json", *few, *sets(*given)).stdout)
    assert again["sha256"] == found["sha256"] and again["promoted"]


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
        while time.monotonic() < deadline and "next run" not in log.read_text():
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
    for sentence in (
        "m: run started\n",
        "\nm version 1 promoted: ",
        "m: run done after ",
    ):
        assert sentence in text
    assert command("healthcheck", "m").stdout.startswith(
        "well: the last successful run, of version 1 (promoted), began "
    )
    assert command("list", "m").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--cron", "0 3 * *", "--", "fit"), 2, "expected five fields"),
        (("--cron", "0 3 * * *", "--timezone", "Mars", "--", "fit"), 2, "no time zone"),
        (
            ("--cron", "0 3 * * *", "--", "predict", "x"),
            2,
            "expected fit and its options last, found 'predict'",
        ),
        (
            ("--cron", "0 3 * * *", "fit", "x", "--model", "m", "--set", "a=1"),
            2,
            "there is no setting 'a'",
        ),
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
            "a database needs --query",
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


def test_a_schedule_says_what_its_runs_will_miss(
    command: Command, data: Path, tmp_path: Path
) -> None:
    """The run at night would fail; the name ends these here."""
    for arguments, expected in (
        ((data, "--target", "chrn"), f"! {data}: no target column 'chrn'; did you"),
        ((tmp_path / "dta.csv",), "! no such file: "),
        (("builtin:xor",), "Error: a model's name"),
    ):
        line = ("--cron", "0 3 * * *", "fit", *arguments, "--model", "a/b")
        assert command("schedule", *line, code=2).stderr.startswith(expected)


def test_a_schedule_without_a_good_run_is_not_healthy(
    command: Command, store: Store
) -> None:
    result = command("healthcheck", "m", code=1)
    assert result.stderr.startswith("Error: no schedule has started in ")
    due_since_yesterday(store)
    result = command("healthcheck", "m", code=1)
    assert result.stderr.startswith("Error: no run has succeeded since ")
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
