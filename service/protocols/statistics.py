"""Triton's statistics extension, out of the metrics of all workers.

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

#: Name of a sample, or of a phase -> its value.
Sums: TypeAlias = defaultdict[str, float]

routes = Routes("/v2/models")


@routes.get("/stats", "/<name>/stats", "/<name>/versions/<version>/stats")
def statistics(name: str | None = None, version: str | None = None) -> Reply:
    """Say how many requests and rows each version answered, and where time went."""
    registry = model_server().registry
    if name is None:
        entries = list(registry.catalogue.values())
    else:
        entries = [registry.entry(name)]
    versions = [each for entry in entries for each in entry.versions.values()]
    if name is not None and version is not None:
        versions = [find(name, version)]
    return answer({"model_stats": _model_stats(model_server().metrics, versions)})


def _model_stats(metrics: Metrics, versions: Iterable[Loaded]) -> list[dict[str, Any]]:
    sums: defaultdict[tuple[str, str], Sums] = defaultdict(lambda: defaultdict(float))
    for sample in metrics.samples():
        labels, what = sample.labels, sample.name.removeprefix(f"{PREFIX}_inference_")
        if "model" not in labels or "version" not in labels:
            continue
        if what == "phase_seconds_total":
            what = labels["phase"]
        # Failures for whatever reason are one here.
        sums[labels["model"], labels["version"]][what] += sample.value
    return [_of(each, sums[each.name, str(each.version)]) for each in versions]


def _of(loaded: Loaded, sums: Sums) -> dict[str, Any]:
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
            # No request waits for another here.
            "queue": duration(answered, 0),
            "compute_input": duration(answered, sums["input"]),
            "compute_infer": duration(answered, sums["infer"]),
            "compute_output": duration(answered, sums["output"]),
        },
        # By size of batch: not kept.
        "batch_stats": [],
    }
