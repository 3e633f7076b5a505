"""The rules: valid, each proven by a case, and each explained in the run book."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.operations.notifications import GAUGES

from .conftest import DEPLOY, ROOT, RULES, TRAINING, read, rules, series

CASES = sorted((Path(__file__).parent / "rules").glob("*.yml"))
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"


def run(*command: object) -> None:
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def asserted(kind: str) -> list[dict[str, Any]]:
    """Every assertion of a kind in the cases."""
    return [
        assertion
        for path in CASES
        for case in read(path)[0]["tests"]
        for assertion in case.get(kind, [])
    ]


def test_prometheus_accepts_its_configuration(
    program: Callable[[str, str], str],
) -> None:
    promtool = program("promtool", "prometheus")
    run(promtool, "check", "config", PROMETHEUS)
    # Duplicates and the like are an error here, and only a warning there.
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *RULES)


@pytest.mark.long
@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_the_rules_do_what_their_cases_say(
    program: Callable[[str, str], str], cases: Path
) -> None:
    run(program("promtool", "prometheus"), "test", "rules", cases)


def test_every_alert_is_seen_to_fire_and_to_be_silent() -> None:
    seen = asserted("alert_rule_test")
    loud = {case["alertname"] for case in seen if case["exp_alerts"]}
    silent = {case["alertname"] for case in seen if not case["exp_alerts"]}
    assert loud == set(rules("alert"))
    assert silent == set(rules("alert"))


def test_every_recording_rule_has_a_case() -> None:
    tested = " ".join(case["expr"] for case in asserted("promql_expr_test"))
    assert set(re.findall(r"job:\w+:\w+", tested)) == set(rules("record"))


@pytest.mark.parametrize("kind", ["alert", "record"])
def test_a_rule_names_only_series_that_exist(kind: str) -> None:
    for name, rule in rules(kind).items():
        named = set(re.findall(r"\b(?:job:\w+:\w+|glassnet_\w+|up)\b", rule["expr"]))
        assert named, name
        assert named <= series(), name


def test_the_training_gauges_are_those_of_the_trainer() -> None:
    names = {name for group in GAUGES.values() for name in group}
    assert {f"glassnet_training_{name}" for name in names} == set(TRAINING)


def test_every_alert_says_who_is_called_what_it_is_and_where_to_read_on() -> None:
    for name, rule in rules("alert").items():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        notes = rule["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}
        link = f"{{{{ $externalLabels.runbook }}}}#{name.lower()}"
        assert notes["runbook_url"] == link


def test_the_run_book_has_exactly_the_alerts() -> None:
    book = (ROOT / "docs" / "operations.md").read_text("utf-8")
    sections = re.findall(r"^### (Glassnet\w+)\n(.*?)(?=^##|\Z)", book, re.M | re.S)
    assert sorted(name for name, _ in sections) == sorted(rules("alert"))
    for name, text in sections:
        for part in "**Means.**", "**Look.**", "**Do.**":
            assert part in text, name
