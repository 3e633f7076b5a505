"""The counts of each version, and what they were a quarter of an hour ago."""

from __future__ import annotations

from service.monitoring.metrics import Metrics
from service.monitoring.traffic import SPAN, STEP, TrafficHistory, measure


def count(metrics: Metrics, answered: int, **failed: int) -> None:
    for _ in range(answered):
        metrics.inference_seconds.labels("m", "1").observe(0.002)
    for reason, times in failed.items():
        metrics.failures.labels("m", "1", reason).inc(times)


def test_failures_are_counted_by_reason() -> None:
    metrics = Metrics()
    count(metrics, 3, invalid=2, error=1)
    counts = measure(metrics)["m", "1"].counts()
    assert (counts["answered"], counts["failed"]) == (3, 3)
    assert counts["reasons"] == {"invalid": 2, "error": 1}
    assert counts["within"][-1][1] == 3


def test_looks_are_apart_and_end_after_a_quarter_of_an_hour() -> None:
    metrics = Metrics()
    history = TrafficHistory(metrics)
    for second in range(2000):
        if second % 100 == 0:
            count(metrics, 1, invalid=1)
        history.record(float(second))
    looks = history.looks()
    times = [look["at"] for look in looks]
    assert all(b - a == STEP for a, b in zip(times[:-1], times[1:], strict=True))
    assert times[-1] - times[0] == SPAN
    first, last = (look["counts"]["m/1"] for look in (looks[0], looks[-1]))
    assert last["answered"] - first["answered"] == 9
    assert last["reasons"]["invalid"] == 20


def test_versions_that_have_not_changed_are_kept_once() -> None:
    metrics = Metrics()
    history = TrafficHistory(metrics)
    count(metrics, 1)
    history.record(0.0)
    history.record(STEP)
    count(metrics, 1)
    history.record(2 * STEP)
    first, second, third = (traffic["m", "1"] for _, traffic in history._looks)
    assert first is second and second is not third
    assert [look["counts"]["m/1"]["answered"] for look in history.looks()] == [1, 1, 2]
