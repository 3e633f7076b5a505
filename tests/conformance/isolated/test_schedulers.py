"""The recipes of docs/schedules.md: a refusal (3) is skipped, and no failure."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CODES = {"promoted": 0, "failed": 1, "misused": 2, "refused": 3}


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, str]:
    """A command for each end of a run, with what `trainer fit --json` prints."""
    said = json.dumps({"version": 1, "reason": "because"})
    for name, code in CODES.items():
        (tmp_path / name).write_text(f"echo '{said}'\nexit {code}\n")
    return {name: f"sh {tmp_path / name}" for name in CODES}


def test_airflow_skips_a_refusal(
    commands: dict[str, str], tmp_path: Path, run_client: Callable[..., Any]
) -> None:
    recipe = str(ROOT / "deploy" / "airflow" / "retrain.py")
    facts = {"recipe": recipe, "folder": str(tmp_path), "commands": commands}
    found = run_client("airflow", facts)
    assert found["cron"] == "0 3 * * *"
    ends = {"promoted": "success", "failed": "failed", "misused": "failed"}
    assert found["ends"] == {**ends, "refused": "skipped"}


def test_dagster_materializes_a_promotion_alone(
    commands: dict[str, str], tmp_path: Path, run_client: Callable[..., Any]
) -> None:
    recipe = str(ROOT / "deploy" / "dagster" / "retrain.py")
    facts = {"recipe": recipe, "folder": str(tmp_path), "commands": commands}
    found = run_client("dagster", facts)
    assert found["cron"] == "0 3 * * *"
    failed = {"success": False, "made": []}
    assert found["ends"] == {
        "promoted": {"success": True, "made": ["churn", "after"]},
        "failed": failed,
        "misused": failed,
        "refused": {"success": True, "made": []},
    }


@pytest.mark.parametrize("name", CODES)
def test_the_line_of_cron_prints_what_failed_alone(
    commands: dict[str, str], name: str, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "schedules.md").read_text("utf-8")
    (line,) = re.findall(r"^0 3 \* \* \* (.*)$", text, re.MULTILINE)
    line = line.replace("/srv/glassnet &&", f"{tmp_path} &&")
    line, replaced = re.subn(r"\.venv/bin/trainer .*? >>", f"{commands[name]} >>", line)
    assert replaced == 1
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0
    assert bool(done.stdout) is (name in ("failed", "misused"))
    assert (tmp_path / "fit.log").read_text()
