"""Small data made here, the command in this process, and a store to throw away."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from threadpoolctl import threadpool_limits

from models.storage.directory import DirectoryStore as Store
from trainer.cli.main import main
from trainer.config import loading
from trainer.config.schema import Config

Table = dict[str, list[Any]]
QUIET = ("runtime.report=false", "gate.baseline=false", "gate.minimum_rows=1")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Leave the other cores to the other workers of this test run."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[..., Path]:
    """Write columns as Parquet, in a folder that is made if need be."""
    import polars as pl

    def write(columns: Any, name: str = "data.parquet") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pl.DataFrame(columns).write_parquet(path)
        return path

    return write


@pytest.fixture
def configured() -> Callable[..., Config]:
    """Make a config of `--set` texts."""
    return lambda *assignments: loading.load(None, assignments, {})


@pytest.fixture
def command(store: Store) -> Callable[..., Result]:
    """Run `trainer` in this process; a traceback fails the test.

    `fit` draws no report, which takes a second, and its gate promotes small tables,
    unless it is told otherwise.
    """

    def run(*arguments: object, code: int = 0) -> Result:
        if arguments[:1] == ("fit",):
            given = [word for text in QUIET for word in ("--set", text)]
            arguments = ("fit", *given, *arguments[1:])
        result = CliRunner().invoke(
            main, [str(a) for a in arguments], env={"GLASSNET_STORE": str(store.root)}
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


def mixed(n: int = 120, seed: int = 0) -> Table:
    """Return columns of every kind, some values missing, and four targets."""
    rng = np.random.default_rng(seed)
    size = rng.normal(10.0, 3.0, n).round(3)
    colour = rng.choice(["red", "green", "deep blue"], n)
    member = rng.random(n) < 0.5
    since = [date(2020, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 900, n)]
    score = (size - 10) / 3 + (colour == "red") - member + rng.normal(0, 0.3, n)
    missing = rng.random(n) < 0.1
    return {
        "size": [
            None if gone else s for s, gone in zip(size.tolist(), missing, strict=True)
        ],
        "colour": colour.tolist(),
        "member": [str(m).lower() for m in member],
        "since": [day.isoformat() for day in since],
        "churn": ["yes" if s > 0 else "no" for s in score],
        "level": np.digitize(score, [-0.5, 0.5]).tolist(),
        "price": (100 + 20 * score).round(2).tolist(),
    }


@pytest.fixture
def table() -> Callable[..., Table]:
    """Make a table of mixed columns: `table(n, seed)`."""
    return mixed


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Write columns as a CSV file; None is an empty field."""

    def write(columns: Mapping[str, Sequence[Any]], name: str = "data.csv") -> Path:
        return to_csv(tmp_path / name, columns)

    return write


def to_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture(scope="session")
def _published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store a session with a model of each task, each in production."""
    home = tmp_path_factory.mktemp("published")
    full = mixed()
    inputs = {k: full[k] for k in ("size", "colour", "member", "since")}
    for target in ("churn", "level", "price"):
        data = to_csv(home / f"{target}.csv", {**inputs, target: full[target]})
        arguments = ["fit", data, "--target", target, "--model", target]
        arguments += ["--store", home / "store", "--epochs", "40"]
        settings = (*QUIET, "network.architecture=mlp")
        arguments += [word for text in settings for word in ("--set", text)]
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
    return home


@pytest.fixture
def published(_published: Path, store: Store) -> Path:
    """Put `churn`, `level` and `price` into the store; return the folder of data."""
    shutil.copytree(_published / "store", store.root)
    return _published
