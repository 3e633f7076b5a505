"""Data for the commands, and the command in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WriteCsv = Callable[..., Path]


@pytest.fixture
def data(table: Callable[..., Any], write_csv: WriteCsv) -> Path:
    whole = table(96)
    kept = ("size", "colour", "member", "since", "churn")
    return write_csv({name: whole[name] for name in kept})


@pytest.fixture
def process() -> Callable[..., Any]:
    """Run `trainer` in its own process: `process(*arguments, store=…, VARIABLE=…)`."""

    def run(*arguments: object, store: Path, **environment: str) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "trainer.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "GLASSNET_STORE": str(store), **environment},
        )

    return run
