"""The database goes at any moment of a run: one sentence, and a store that is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.storage import files
from models.storage.directory import DirectoryStore as Store

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(3600)]

#: `make endurance` asks for 20.
MOMENTS = int(os.environ.get("MOMENTS", "4"))
#: Rows that take a while to come, so that many a moment falls among them.
QUERY = """
SELECT sin(g) AS x, CASE WHEN sin(g) > 0 THEN 'a' ELSE 'b' END AS y,
    pg_sleep(0.005)::text AS w
FROM generate_series(1, 80) AS g ORDER BY g
"""


def start(postgres: Any, store: Store) -> subprocess.Popen[str]:
    arguments = ["fit", postgres.url, "--query", QUERY, "--target", "y"]
    arguments += ["--model", "m", "--store", str(store.root), "--epochs", "5"]
    arguments += ["--promote", "always"]  # too few rows to prove anything
    return subprocess.Popen(
        [sys.executable, "-m", "trainer.cli", *arguments],
        env={**os.environ, "PGPASSWORD": postgres.password},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_database_gone_at_any_moment(postgres: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    began = time.monotonic()
    _, error = (process := start(postgres, store)).communicate(timeout=120)
    usual = time.monotonic() - began
    assert process.returncode == 0, error
    rng = np.random.default_rng(0)
    codes = []
    for number, moment in enumerate(rng.uniform(0, usual, MOMENTS)):
        process = start(postgres, store)
        time.sleep(moment)
        # A crash, or an administrator who breaks connections off.
        postgres.stop(signal.SIGQUIT if number % 2 else signal.SIGINT)
        _, error = process.communicate(timeout=120)
        codes.append(process.returncode)
        assert process.returncode in (0, 1, 3), error
        assert "Traceback" not in error and "panicked" not in error
        last = error.splitlines()[-1]
        if process.returncode == 1:
            assert last.startswith(f"Error: postgresql://127.0.0.1:{postgres.port}/")
        for version in store.versions("m"):
            store.load("m", version)
        assert store.resolve("m") in store.versions("m")
        with files.locked(store.root / "m", wait=False):
            pass
        postgres.start()
        _, error = (process := start(postgres, store)).communicate(timeout=120)
        assert process.returncode in (0, 3), error
    print(f"{codes.count(1)} of {MOMENTS} runs lost their database")
    assert 1 in codes
