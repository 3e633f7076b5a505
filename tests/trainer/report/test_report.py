"""A report comes with a run, comes again, and never costs anybody a version."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from models.storage.base import RECORD, REPORT, ROWS
from models.storage.directory import DirectoryStore as Store
from trainer import report

Command = Callable[..., Result]
FAST = ("train.epochs=3", "ensemble.members=1", "runtime.report=true")


def test_a_run_ends_with_its_report(
    command: Command, store: Store, people_csv: Path
) -> None:
    arguments = ["fit", people_csv, "--target", "Status", "--model", "m"]
    said = command(*arguments, *(a for s in FAST for a in ("--set", s))).stderr
    home = store.path("m", 1).parent
    assert {p.name for p in home.iterdir()} == {
        "model.npz",
        "run.json",
        ROWS,
        RECORD,
        REPORT,
    }
    assert "the report" not in said
    drawn = (home / REPORT).read_bytes()
    (home / REPORT).unlink()
    assert command("report", "m").stdout.strip() == str(home / REPORT)
    assert (home / REPORT).read_bytes() == drawn
    command("report", "m@2", code=1)


def test_the_model_is_the_same_with_and_without(
    fit: Callable[..., Any], tmp_path: Path, people_csv: Path
) -> None:
    shas = {
        fit(tmp_path / kind, people_csv, target="Status", settings=(*FAST, kind)).sha256
        for kind in ("runtime.report=true", "runtime.report=false")
    }
    assert len(shas) == 1
    assert not (tmp_path / "runtime.report=false/m/1" / RECORD).exists()


@pytest.mark.parametrize(
    ("broken", "sentence", "left"),
    [
        ("trainer.report.collect.gather", "the report will have no plots", REPORT),
        ("trainer.report.page.page", "to try again: trainer report m@1", RECORD),
    ],
)
def test_a_report_that_fails_costs_no_version(
    fit: Callable[..., Any],
    store: Store,
    people_csv: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    sentence: str,
    left: str,
) -> None:
    def fail(*anything: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(broken, fail)
    said: list[str] = []
    settings = FAST
    result = fit(store, people_csv, target="Status", settings=settings, say=said.append)
    told = [s for s in said if sentence in s]
    assert len(told) == 1 and "MemoryError: no room" in told[0]
    assert store.load("m", 1).sha256 == result.sha256
    names = {p.name for p in store.path("m", 1).parent.iterdir()}
    assert names == {"model.npz", "run.json", ROWS, left}


def test_a_version_that_went_meanwhile_is_told(published: Path, store: Store) -> None:
    said: list[str] = []
    shutil.rmtree(store.root / "churn" / "1")
    report.try_to_write(store, "churn", 1, said.append)
    assert len(said) == 1 and "the report was not written" in said[0]


def test_a_damaged_record_is_one_sentence(
    published: Path, store: Store, command: Command
) -> None:
    store.write_attachment("churn", 1, RECORD, b"{")
    assert "record.json" in command("report", "churn", code=1).stderr


def test_a_report_leaves_the_model_as_it_is(
    published: Path, store: Store, command: Command
) -> None:
    """Also that of a version from before there were records."""
    before = hashlib.sha256(store.path("churn", 1).read_bytes()).hexdigest()
    command("report", "churn@1")
    assert store.load("churn", 1).sha256 == before


@pytest.mark.parametrize(
    "module", ["trainer.cli.main", "trainer.pipeline", "trainer.report"]
)
def test_no_command_waits_for_the_templates(module: str) -> None:
    code = f"import sys, {module}; assert 'jinja2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
