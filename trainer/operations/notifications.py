"""Notifications about a run: gauges for Prometheus and a webhook for people.

The gauges of a model form two groups, its last success and its last run, so that a
failure changes the second and leaves the first. Notifications are sent in parallel with
a few retries and a time limit; if they fail, the run still ends as it would have.
"""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import pushadd_to_gateway, write_to_textfile

from models.errors import GlassnetError
from models.storage.base import NAME, ArtefactStore
from trainer.config import environment
from trainer.config.environment import METRICS_DIRECTORY, PUSHGATEWAY_URL, WEBHOOK_URL
from trainer.types import Say

if TYPE_CHECKING:
    from trainer.evaluation.paired_comparison import Comparison
    from trainer.pipeline import FitResult

#: Seconds: for one attempt, between attempts, and for all of them.
TIMEOUT, PAUSES, LIMIT = 5.0, (1.0, 3.0), 20.0
JOB = "glassnet_training"
#: Labels of a gauge besides `model`.
LABELS = {
    "figure": ("figure",),
    "gate_figure": ("rows", "of"),
    "gate_difference": ("rows", "end"),
}
#: The gauges of each group, without the prefix; all have the label `model`.
GAUGES = {
    "success": {
        "last_success_timestamp_seconds": "When the last successful run ended.",
        "duration_seconds": "Seconds that run took.",
        "rows": "Rows of its data set.",
        "figure": "A metric of its model on rows held out from training.",
        "gate_figure": "The metric that the gate compared, by model and set of rows.",
        "gate_difference": "Candidate minus production: the ends of the 95 % interval.",
        "version": "Version it published.",
        "promoted": "1 if that version was promoted, 0 if not.",
        "refused": "1 if the gate refused that version, 0 if not.",
    },
    "run": {
        "last_run_timestamp_seconds": "When the last run ended, successful or not.",
        "last_run_failed": "1 if the last run failed, 0 if not.",
    },
}


def finished(store: ArtefactStore, result: FitResult, refused: bool, say: Say) -> None:
    """Notify of a run that published a version; `say` reports what cannot be sent."""
    sinks = (METRICS_DIRECTORY, PUSHGATEWAY_URL)
    values: dict[str, dict[str, Any]] = {}
    if any(environment.read(sink) for sink in sinks):
        metrics = {
            (name,): float(value)
            for name, value in result.metrics.items()
            if isinstance(value, int | float) and name != "rows"
        }
        rows = store.load(result.model, result.version).manifest.data.rows
        values["success"] = {
            "last_success_timestamp_seconds": time.time(),
            "duration_seconds": result.timing["total_s"],
            "rows": rows,
            "figure": metrics,
            **_gate_gauges(result.gate),
            "version": result.version,
            "promoted": int(result.promoted),
            "refused": int(refused),
        }
    notice = None
    if refused:
        version, reason = result.version, result.reason
        text = f"the gate refused {result.model} version {version}: {reason}"
        notice = _notice(text, event="refused", version=version, reason=reason)
    _send(result.model, values, notice, say, failed=False)


def failed(model: str, error: BaseException | str, say: Say) -> None:
    """Notify of a run that published nothing; `say` reports what cannot be sent."""
    if not NAME.fullmatch(model):
        return  # an invalid name must not become a file name
    reason = error if isinstance(error, str) else _reason(error)
    text = f"training of {model} failed: {reason}"
    _send(model, {}, _notice(text, event="failed", reason=reason), say, failed=True)


def _notice(text: str, **fields: object) -> dict[str, object]:
    return {"text": f"glassnet: {text}", **fields}


def _reason(error: BaseException) -> str:
    if isinstance(error, GlassnetError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )
    return f"unexpected {type(error).__name__}; the traceback is in the trainer's log"


def _send(
    model: str,
    values: dict[str, dict[str, Any]],
    notice: dict[str, object] | None,
    say: Say,
    *,
    failed: bool,
) -> None:
    """Send gauges and notice to every configured receiver, in parallel."""
    values["run"] = {
        "last_run_timestamp_seconds": time.time(),
        "last_run_failed": int(failed),
    }
    groups = {group: _registry(model, group, values[group]) for group in values}
    actions: dict[str, Callable[[], None]] = {}
    if directory := environment.read(METRICS_DIRECTORY):
        actions[METRICS_DIRECTORY] = lambda: _write(Path(directory), model, groups)
    if gateway := environment.read(PUSHGATEWAY_URL):
        actions[PUSHGATEWAY_URL] = lambda: _push(gateway, model, groups)
    if notice is not None and (hook := environment.read(WEBHOOK_URL)):
        body = msgspec.json.encode({"model": model, **notice})
        actions[WEBHOOK_URL] = lambda: _post(hook, body)
    # Threads, because resolving a host name has no time limit.
    threads = [
        threading.Thread(target=_try, args=(name, action, say), daemon=True, name=name)
        for name, action in actions.items()
    ]
    deadline = time.monotonic() + LIMIT
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
        if thread.is_alive():
            say(f"{thread.name}: not notified: no answer within {LIMIT:.0f} s")


def _gate_gauges(
    comparisons: Sequence[Comparison],
) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the comparisons of the gate by gauge and labels."""
    metrics: dict[tuple[str, ...], float] = {}
    differences: dict[tuple[str, ...], float] = {}
    for each in comparisons:
        metrics[each.rows, "candidate"] = each.candidate
        if each.production is not None:
            metrics[each.rows, "production"] = each.production
        if each.low is not None and each.high is not None:
            differences[each.rows, "low"] = each.low
            differences[each.rows, "high"] = each.high
    return {"gate_figure": metrics, "gate_difference": differences}


def _registry(model: str, group: str, values: dict[str, Any]) -> CollectorRegistry:
    registry = CollectorRegistry()
    for name, description in GAUGES[group].items():
        labels = ("model", *LABELS.get(name, ()))
        gauge = Gauge(
            f"glassnet_training_{name}", description, labels, registry=registry
        )
        samples = values[name] if name in LABELS else {(): values[name]}
        for label_values, value in samples.items():
            gauge.labels(model, *label_values).set(value)
    return registry


def _write(directory: Path, model: str, groups: dict[str, CollectorRegistry]) -> None:
    """Replace the model's files atomically, since the collector may be reading."""
    for group, registry in groups.items():
        path = directory / f"glassnet_{group}_{model}.prom"
        write_to_textfile(str(path), registry)


def _push(url: str, model: str, groups: dict[str, CollectorRegistry]) -> None:
    """Push the gauges; those of other groups stay as they are."""
    for registry in groups.values():
        pushadd_to_gateway(
            url, JOB, registry, grouping_key={"model": model}, timeout=TIMEOUT
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: it could lead the message to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request, so that the redirect is the error."""


opener = urllib.request.build_opener(_NoRedirect)


def _post(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "glassnet"}
    request = urllib.request.Request(url, body, headers)
    with opener.open(request, timeout=TIMEOUT):
        pass


def _try(name: str, action: Callable[[], None], say: Say) -> None:
    """Run an action, with retries for temporary errors; report the last error.

    URLs may contain secrets, so errors that could quote one are not repeated.
    """
    for pause in (*PAUSES, None):
        try:
            return action()
        except urllib.error.HTTPError as error:
            error.close()
            reason, retry = f"HTTP {error.code}", error.code >= 500 or error.code == 429
        except OSError as error:
            inner = getattr(error, "reason", error)
            reason = getattr(inner, "strerror", None) or type(inner).__name__
            retry = name != METRICS_DIRECTORY
        except Exception as error:  # ValueError and others for an invalid URL
            reason, retry = f"not usable ({type(error).__name__})", False
        if not retry or pause is None:
            break
        time.sleep(pause)
    say(f"{name}: not notified: {reason}")
