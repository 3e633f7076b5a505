"""Triton's statistics extension, from the metrics of all workers.

GET /v2/models/stats
GET /v2/models/M[/versions/V]/stats
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeAlias

from service.monitoring.metrics import PREFIX, Metrics
from service.protocols.http import answer, find
from service.registry.loaded import Loaded
from service.web.errors import Reply
from service.web.request_context import model_server
from service.web.routes import Routes

#: Name of a sample or a phase -> sum of its values.
Sums: TypeAlias = defaultdict[str, float]

routes = Routes("/v2/models")


@routes.get("/stats", "/<name>/stats", "/<name>/versions/<version>/stats")
def statistics(name: str | None = None, version: str | None = None) -> Reply:
    """Return how many requests and rows each version answered, and its times."""
    registry = model_server().registry
    if name is None:
        entries = list(registry.catalogue.values())
    else:
        entries = [registry.entry(name)]
    versions = [loaded for entry in entries for loaded in entry.versions.values()]
    if name is not None and version is not None:
        versions = [find(name, version)]
    return answer({"model_stats": _model_stats(model_server().metrics, versions)})


def _model_stats(metrics: Metrics, versions: Iterable[Loaded]) -> list[dict[str, Any]]:
    sums: defaultdict[tuple[str, str], Sums] = defaultdict(lambda: defaultdict(float))
    for sample in metrics.samples():
        labels, key = sample.labels, sample.name.removeprefix(f"{PREFIX}_inference_")
        if "model" not in labels or "version" not in labels:
            continue
        if key == "phase_seconds_total":
            key = labels["phase"]
        # Failures are summed over their reasons.
        sums[labels["model"], labels["version"]][key] += sample.value
    return [
        _statistics(loaded, sums[loaded.name, str(loaded.version)])
        for loaded in versions
    ]


def _statistics(loaded: Loaded, sums: Sums) -> dict[str, Any]:
    answered = sums["duration_seconds_count"]

    def duration(count: float, seconds: float) -> dict[str, int]:
        return {"count": int(count), "ns": round(seconds * 1e9)}

    return {
        "name": loaded.name,
        "version": str(loaded.version),
        "last_inference": int(sums["last_timestamp_seconds"] * 1e3),
        "inference_count": int(sums["rows_total"]),
        "execution_count": int(answered),
        "inference_stats": {
            "success": duration(answered, sums["duration_seconds_sum"]),
            "fail": duration(sums["failures_total"], sums["failed"]),
            # There is no queue.
            "queue": duration(answered, 0),
            "compute_input": duration(answered, sums["input"]),
            "compute_infer": duration(answered, sums["infer"]),
            "compute_output": duration(answered, sums["output"]),
        },
        # Not recorded by batch size.
        "batch_stats": [],
    }
