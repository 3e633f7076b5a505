"""Logged predictions and what became true of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from models.errors import ConfigError, DataError
from trainer import data
from trainer.cli.main import main
from trainer.config.schema import Config
from trainer.data import Source, read
from trainer.data.table import typed, whole
from trainer.data.truth import with_truth

LOGGED = pl.DataFrame(
    {
        "x": [1.0, 2.0, 3.0, 4.0],
        "glassnet_id": ["a", "b/0", "b/1", "a"],
        "glassnet_time": ["2026-01-01"] * 4,
        "glassnet_label": ["no"] * 4,
    }
)
TRUTH = pl.DataFrame({"glassnet_id": ["b/1", "a", "z"], "y": [1, 0, 1], "note": "?"})


def joined(truth: pl.DataFrame, keep: tuple[str, ...] = ()) -> Any:
    return with_truth(whole("log", typed(LOGGED)), whole("truth", truth), "y", keep)


def test_rows_with_a_truth_are_kept_in_their_order_and_once() -> None:
    table = joined(TRUTH)
    assert table.frame.to_dict(as_series=False) == {"x": [1.0, 3.0], "y": [0, 1]}
    (finding,) = table.findings
    assert finding.sentence == (
        "2 of 3 logged rows have a truth; "
        "1 with an id that was logged before are left out"
    )


def test_logged_rows_are_joined_in_memory_however_many_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Callable[..., Config]
) -> None:
    log, truth = (str(tmp_path / f"{name}.parquet") for name in ("log", "truth"))
    LOGGED.write_parquet(log)
    TRUTH.write_parquet(truth)
    monkeypatch.setattr(data, "is_large", lambda path: True)
    assert len(read(Source(log, truth=truth), "y")) == 2
    for setting in "runtime.streaming=true", "data.partitions=members":
        with pytest.raises(ConfigError, match=f"{setting} leaves .* and --truth joins"):
            read(Source(log, truth=truth), "y", configured(setting))


def test_the_time_is_there_for_a_split_by_time() -> None:
    assert joined(TRUTH, ("glassnet_time",)).frame.columns == [
        "x",
        "glassnet_time",
        "y",
    ]


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (TRUTH.drop("glassnet_id"), "the truth: expected a column 'glassnet_id'"),
        (TRUTH.drop("y"), "there is no target column 'y'"),
        (pl.concat([TRUTH, TRUTH]), "the id 'b/1' is there more than once"),
        (TRUTH.tail(1), "no logged prediction has an id that the truth has"),
    ],
)
def test_a_truth_that_does_not_fit_is_told(truth: pl.DataFrame, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        joined(truth)


@pytest.mark.e2e
def test_what_a_server_has_logged_is_learnt_from(
    served: Path,
    tmp_path: Path,
    start: Callable[..., Any],
) -> None:
    folder, truth = tmp_path / "logged", tmp_path / "truth.csv"
    server = start(
        served, payload_share=1.0, payload_folder=folder, payload_redact="home"
    )
    sent = [
        {
            "income": i / 7,
            "home": "rent",
            "member": i % 2 == 0,
            "since": f"2024-05-{1 + i % 28:02d}",
            "children": i % 4,
        }
        for i in range(120)
    ]
    for i, row in enumerate(sent):
        status, _ = server.request(
            "POST",
            "/v1/models/people:predict",
            {"instances": [row]},
            **{"X-Request-Id": f"r{i}"},
        )
        assert status == 200
    server.process.terminate()
    assert server.process.wait(60) == 0  # what was waiting is written
    lines = [f"r{i},{'yes' if row['member'] else 'no'}" for i, row in enumerate(sent)]
    truth.write_text("glassnet_id,bought\n" + "\n".join(lines[:100]))
    source = Source(str(folder / "people"), truth=str(truth))
    data = read(source, "bought")
    assert data.kinds == {
        "income": "numeric",
        "member": "boolean",
        "since": "datetime",
        "children": "numeric",
    }
    income = sorted(data.inputs["income"])  # type: ignore[call-overload]
    assert income == pytest.approx([row["income"] for row in sent[:100]])
    arguments = ["--truth", truth, "--target", "bought", "--model", "m", "--json"]
    arguments += ["--epochs", 20, "--store", tmp_path / "store", "--promote", "always"]
    arguments += ["--set", "runtime.report=false", "--set", "ensemble.members=1"]
    command = ["fit", folder / "people", *arguments]
    done = CliRunner().invoke(main, [str(part) for part in command])
    assert done.exit_code == 0, done.output
    assert "! 100 of 120 logged rows have a truth" in done.stderr
    # The truth is the column `member`.
    assert json.loads(done.stdout)["metrics"]["accuracy"] > 0.9
