"""What the world is told of a run: gauges for Prometheus, a webhook for people.

The gauges of a model are two groups, that of its last success and that of its last run,
so that a failure changes the one and leaves the other. Telling is bounded: it is tried
a few times, side by side, and a run ends as it would have ended whatever comes of it.
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
    from trainer.pipeline import Result

#: Seconds: one try, the pauses between tries, and all of them together.
TIMEOUT, PAUSES, LIMIT = 5.0, (1.0, 3.0), 20.0
JOB = "glassnet_training"
#: Labels of a gauge beside `model`.
LABELS = {
    "figure": ("figure",),
    "gate_figure": ("rows", "of"),
    "gate_difference": ("rows", "end"),
}
#: Every gauge by its group, without the prefix; all have the label `model`.
GAUGES = {
    "success": {
        "last_success_timestamp_seconds": "When the last good run ended.",
        "duration_seconds": "How long it took.",
        "rows": "Rows of its data.",
        "figure": "What was measured of its model on rows it had not seen.",
        "gate_figure": "The figure that the gate compared, of each model on some rows.",
        "gate_difference": "The candidate's less production's, low and high end.",
        "version": "The version it published.",
        "promoted": "1 if that went live, 0 if not.",
        "refused": "1 if the gate refused it, 0 if not.",
    },
    "run": {
        "last_run_timestamp_seconds": "When the last run ended, however it did.",
        "last_run_failed": "1 if it failed, 0 if not.",
    },
}


def finished(store: ArtefactStore, result: Result, refused: bool, say: Say) -> None:
    """Report a run that published a version; `say` hears what could not be told."""
    sinks = (METRICS_DIRECTORY, PUSHGATEWAY_URL)
    values: dict[str, dict[str, Any]] = {}
    if any(environment.read(sink) for sink in sinks):
        figures = {
            (name,): float(value)
            for name, value in result.metrics.items()
            if isinstance(value, int | float) and name != "rows"
        }
        rows = store.load(result.model, result.version).manifest.data.rows
        values["success"] = {
            "last_success_timestamp_seconds": time.time(),
            "duration_seconds": result.timing["total_s"],
            "rows": rows,
            "figure": figures,
            **_gate(result.gate),
            "version": result.version,
            "promoted": int(result.promoted),
            "refused": int(refused),
        }
    notice = {"event": "refused", "version": result.version, "reason": result.reason}
    _tell(result.model, values, notice if refused else None, say, failed=False)


def failed(model: str, error: BaseException | str, say: Say) -> None:
    """Report a run that published nothing; `say` hears what could not be told."""
    if not NAME.fullmatch(model):
        return  # nobody watches what cannot be, and its name would name a file
    reason = error if isinstance(error, str) else _reason(error)
    _tell(model, {}, {"event": "failed", "reason": reason}, say, failed=True)


def _reason(error: BaseException) -> str:
    if isinstance(error, GlassnetError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )
    return f"an unexpected {type(error).__name__}; the log says where"


def _tell(
    model: str,
    values: dict[str, dict[str, Any]],
    notice: dict[str, Any] | None,
    say: Say,
    *,
    failed: bool,
) -> None:
    """Tell all who are to be told, at once."""
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
        text = f"glassnet: training of {model} {notice['event']}: {notice['reason']}"
        body = msgspec.json.encode({"model": model, "text": text, **notice})
        actions[WEBHOOK_URL] = lambda: _post(hook, body)
    # Threads, since looking up a host's name knows no time limit.
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
            say(f"{thread.name}: no answer within {LIMIT:.0f} s")


def _gate(found: Sequence[Comparison]) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what the gate compared, by the labels of each gauge."""
    figures: dict[tuple[str, ...], float] = {}
    differences: dict[tuple[str, ...], float] = {}
    for each in found:
        figures[each.rows, "candidate"] = each.candidate
        if each.production is not None:
            figures[each.rows, "production"] = each.production
        if each.low is not None and each.high is not None:
            differences[each.rows, "low"] = each.low
            differences[each.rows, "high"] = each.high
    return {"gate_figure": figures, "gate_difference": differences}


def _registry(model: str, group: str, values: dict[str, Any]) -> CollectorRegistry:
    registry = CollectorRegistry()
    for name, help in GAUGES[group].items():
        labels = ("model", *LABELS.get(name, ()))
        gauge = Gauge(f"glassnet_training_{name}", help, labels, registry=registry)
        found = values[name] if name in LABELS else {(): values[name]}
        for more, value in found.items():
            gauge.labels(model, *more).set(value)
    return registry


def _write(directory: Path, model: str, groups: dict[str, CollectorRegistry]) -> None:
    """Replace the model's files, each at once: the collector never reads half."""
    for group, registry in groups.items():
        path = directory / f"glassnet_{group}_{model}.prom"
        write_to_textfile(str(path), registry)


def _push(url: str, model: str, groups: dict[str, CollectorRegistry]) -> None:
    """Push, and leave the gauges of other groups as they are."""
    for registry in groups.values():
        pushadd_to_gateway(
            url, JOB, registry, grouping_key={"model": model}, timeout=TIMEOUT
        )


def _post(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "glassnet"}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT):
        pass


def _try(name: str, action: Callable[[], None], say: Say) -> None:
    """Carry out an action, again after a pause where that may help; say what failed.

    An address may be a secret, and so no error is repeated that could hold it.
    """
    for pause in (*PAUSES, None):
        try:
            return action()
        except urllib.error.HTTPError as error:
            error.close()
            reason, again = f"HTTP {error.code}", error.code >= 500 or error.code == 429
        except OSError as error:
            inner = getattr(error, "reason", error)
            reason = getattr(inner, "strerror", None) or type(inner).__name__
            again = name != METRICS_DIRECTORY
        except Exception as error:  # ValueError and others: what is no address
            reason, again = f"not usable ({type(error).__name__})", False
        if not again or pause is None:
            break
        time.sleep(pause)
    say(f"{name}: {reason}")
