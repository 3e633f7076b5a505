"""The result of `trainer fit` for people, in at most twelve lines."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.evaluation.metrics import PRIMARY, described
from trainer.pipeline import FitResult

#: Metrics shown besides the primary one.
SHOWN = {
    "binary": ("accuracy", "auc"),
    "multiclass": ("accuracy", "macro_f1"),
    "regression": ("r2", "mae"),
}


def summary(result: FitResult, store: str) -> Iterator[str]:
    """Yield task, rows, metrics, diagnosis, verdict, report and the next command."""
    data, metrics = result.data, result.metrics
    yield f"{result.model} version {result.version}"
    yield _line("task", result.task)
    yield _line(
        "rows",
        f"{data.rows:,}: {data.train_rows:,} to learn from, "
        f"{data.validation_rows:,} for validation, {data.test_rows:,} held out",
    )
    for name in (PRIMARY[result.task], *SHOWN[result.task]):
        if name in metrics:
            text = described(name, metrics[name], result.intervals, result.baselines)
            yield _line(name.replace("_", " "), text)
    if result.diagnosis is not None:
        yield _line("diagnosis", result.diagnosis)
    yield _line("verdict", verdict(result))
    if result.report is not None:
        yield _line("report", result.report)
    after = " (a service that runs loads it by itself)" if result.promoted else ""
    yield _line("next", f"{next_command(result, store)}{after}")


def verdict(result: FitResult) -> str:
    """Return whether the version is promoted, and why."""
    return f"{'promoted' if result.promoted else 'not promoted'}: {result.reason}"


def next_command(result: FitResult, store: str) -> str:
    """Return the command that serves a promoted version, or promotes another."""
    at = "" if store == "artefacts" else f" --store {store}"
    if result.promoted:
        return f"service run{at}"
    return f"trainer promote {result.model} {result.version}{at}"


def _line(name: str, text: str) -> str:
    return f"{name:10s} {text}"
