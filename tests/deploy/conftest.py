"""What the files under deploy/ may name, and the tools that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from service.monitoring.metrics import Metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))

#: The gauges that the trainer leaves, by their labels.
TRAINING = {
    "glassnet_training_last_success_timestamp_seconds": ("model",),
    "glassnet_training_duration_seconds": ("model",),
    "glassnet_training_rows": ("model",),
    "glassnet_training_figure": ("model", "figure"),
    "glassnet_training_gate_figure": ("model", "rows", "of"),
    "glassnet_training_gate_difference": ("model", "rows", "end"),
    "glassnet_training_version": ("model",),
    "glassnet_training_promoted": ("model",),
    "glassnet_training_refused": ("model",),
    "glassnet_training_last_run_timestamp_seconds": ("model",),
    "glassnet_training_last_run_failed": ("model",),
}


def read(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Every rule of a kind, `alert` or `record`, by its name."""
    found = [
        rule
        for path in RULES
        for document in read(path)
        for group in document["groups"]
        for rule in group["rules"]
        if kind in rule
    ]
    names = [rule[kind] for rule in found]
    assert len(names) == len(set(names))
    return dict(zip(names, found, strict=True))


def series(label: str = "") -> set[str]:
    """The name of every series that is exposed, with this label, or recorded."""
    exposed = {
        name for name, labels in TRAINING.items() if not label or label in labels
    }
    for _, family, labels in Metrics().families():
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_count", "_sum"],
        }.get(family.type, [""])
        if not label or label in labels:
            exposed |= {family.name + suffix for suffix in suffixes}
    return exposed if label else exposed | {*rules("record"), "up"}
