"""Training and serving agree: the served answer is `trainer predict`'s."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

#: A row alone and in a batch go through matrix products of other shapes, whose sums
#: are in another order: float32 has seven digits.
TOLERANCE = 1e-6


def typed(row: dict[str, str]) -> dict[str, Any]:
    """Return a CSV row as a client would send it: empty is null."""
    found: dict[str, Any] = {}
    for name, text in row.items():
        if text == "":
            found[name] = None
        elif name == "member":
            found[name] = text == "True"
        elif name in ("income", "children"):
            found[name] = float(text)
        else:
            found[name] = text
    return found


def test_served_answers_equal_trainer_predict(
    start: Callable[..., Any], served: Path, people_csv: Path, tmp_path: Path
) -> None:
    with people_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))[:60]
    for row in rows:
        del row["Status"]
    rows[1]["home"] = "castle"  # never seen
    rows[2] = {**rows[2], "income": "", "home": "", "member": "", "since": ""}
    asked = tmp_path / "asked.csv"
    with asked.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    out = tmp_path / "answers.csv"
    command = [sys.executable, "-m", "trainer.cli", "predict", asked]
    command += ["--model", "people", "--out", out, "--store", served]
    subprocess.run(command, check=True)
    with out.open(newline="") as file:
        expected = list(csv.DictReader(file))
    server = start(served)
    instances = [typed(row) for row in rows]
    together = server.predict("people", instances)
    alone = [server.predict("people", [row])[0] for row in instances]
    assert len(together) == len(expected) == len(rows)
    for answers in (together, alone):
        for answer, line in zip(answers, expected, strict=True):
            assert answer["label"] == line["prediction"]
            stated = [float(line["p_bad"]), float(line["p_good"])]
            assert answer["probabilities"] == pytest.approx(stated, abs=TOLERANCE)
