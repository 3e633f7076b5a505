"""The requests of each version, over all workers: now, and a quarter of an hour back.

Each worker looks at the shared counters every `STEP` seconds, so a page that is opened
later knows what happened before.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from service.monitoring.metrics import PREFIX, Metrics

#: Seconds between two looks, and seconds that are kept.
STEP, SPAN = 15.0, 900.0
_DURATION = "inference_duration_seconds"
#: The metrics of a comparison, and what they are called here.
COMPARED = {
    "comparison_rows_total": "rows",
    "comparison_disagreements_total": "disagreements",
    "comparison_difference_max": "difference",
}


@dataclass
class VersionTraffic:
    """The counts of one version over all workers, since the server started."""

    answered: float = 0.0
    rows: float = 0.0
    #: Requests that failed, by reason.
    reasons: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    #: Upper bound in seconds, or inf -> requests that took no longer.
    within: defaultdict[float, float] = field(
        default_factory=lambda: defaultdict(float)
    )
    #: Of a candidate: how its rows compare with production's, by metric.
    compared: dict[str, float] = field(default_factory=dict)
    #: Column -> its drift index.
    drift: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, labels: dict[str, str], value: float) -> None:
        """Add one sample: its name without our prefix, its labels, its value."""
        if name == f"{_DURATION}_count":
            self.answered += value
        elif name == "inference_rows_total":
            self.rows += value
        elif name == "inference_failures_total":
            self.reasons[labels["reason"]] += value
        elif name == f"{_DURATION}_bucket":
            self.within[float(labels["le"])] += value
        elif name == "drift_psi":
            self.drift[labels["column"]] = value
        elif name in COMPARED:
            self.compared[COMPARED[name]] = value

    def counts(self) -> dict[str, Any]:
        """Return the counts for the page; the last bound, inf, becomes null in JSON."""
        return {
            "answered": self.answered,
            "rows": self.rows,
            "failed": sum(self.reasons.values()),
            "reasons": self.reasons,
            "within": sorted(self.within.items()),
        }


#: Model and version -> its counts.
Traffic: TypeAlias = defaultdict[tuple[str, str], VersionTraffic]


def measure(metrics: Metrics) -> Traffic:
    """Return the counts of every version now."""
    found: Traffic = defaultdict(VersionTraffic)
    for sample in metrics.samples():
        labels = sample.labels
        if "model" in labels and "version" in labels:
            name = sample.name.removeprefix(f"{PREFIX}_")
            found[labels["model"], labels["version"]].add(name, labels, sample.value)
    return found


class TrafficHistory:
    """The counts of a worker's looks, the oldest first."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._looks: deque[tuple[float, dict[tuple[str, str], VersionTraffic]]] = deque(
            maxlen=int(SPAN / STEP) + 1
        )

    def record(self, now: float | None = None) -> None:
        """Look at the counters, unless the last look was less than STEP ago."""
        now = time.time() if now is None else now
        before, known = self._looks[-1] if self._looks else (-STEP, {})
        if now - before >= STEP:
            # Most of a thousand versions have not changed: they are kept once.
            traffic = {
                key: known[key] if known.get(key) == found else found
                for key, found in measure(self._metrics).items()
            }
            self._looks.append((now, traffic))

    def looks(self) -> list[dict[str, Any]]:
        """Return the time of each look, and the counts by `model/version`."""
        return [
            {
                "at": at,
                "counts": {
                    f"{model}/{version}": found.counts()
                    for (model, version), found in traffic.items()
                },
            }
            for at, traffic in [*self._looks]
        ]
