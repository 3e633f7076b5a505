"""Measures how long a CSV file of 200,000 rows and 50 columns takes to read.

    python benchmarks/read.py

prints seconds, the least of several runs, of `trainer.data.read` and of polars alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from trainer.data import read

ROWS, RUNS = 200_000, 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wide.csv"
        table(np.random.default_rng(0)).write_csv(path)
        print(f"{path.stat().st_size / 1e6:.0f} MB")
        for name, run in {
            "polars": lambda: pl.read_csv(path),
            "trainer": lambda: read(str(path), "y"),
        }.items():
            print(f"{name:8} {seconds(run):.2f} s")


def table(rng: np.random.Generator) -> pl.DataFrame:
    """Return 36 real and 6 whole numbers, 5 categories, a date, a truth, a target."""
    n = ROWS
    columns = {f"x{i}": rng.normal(size=n).round(4) for i in range(36)}
    columns |= {f"n{i}": rng.integers(0, 1000, n) for i in range(6)}
    columns |= {f"c{i}": rng.choice(["red", "green", "blue"], n) for i in range(5)}
    days = np.datetime64("2020-01-01") + rng.integers(0, 1500, n)
    columns["day"] = np.datetime_as_string(days)
    columns["truth"] = rng.choice(["true", "false"], n)
    columns["y"] = rng.choice(["yes", "no"], n)
    return pl.DataFrame(columns)


def seconds(run: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
