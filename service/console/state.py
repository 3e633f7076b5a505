"""What the console shows: the models of the catalogue, and what all workers measured.

Any worker may answer. Traffic comes from the metrics they share, models from the
catalogue each has of the store, times from the store itself.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from models.codecs import json_rows
from models.errors import GlassnetError
from models.features.tensor import TensorInput
from models.nn.layers import ActivationSpec
from models.storage.base import PRODUCTION, REPORT
from service.inference.model_server import ModelServer
from service.monitoring.metrics import PREFIX, VERSION, Metrics
from service.protocols.http import description
from service.registry.loaded import Entry, Loaded

#: Standard deviations of training that a slider reaches on either side of the mean.
REACH = 3.0
_DURATION = "inference_duration_seconds"


@dataclass
class Measured:
    """What the workers counted of one version, together, since the server started."""

    answered: float = 0.0
    rows: float = 0.0
    failed: float = 0.0
    #: Upper bound in seconds, or inf -> requests that took no longer.
    within: defaultdict[float, float] = field(
        default_factory=lambda: defaultdict(float)
    )
    #: Column -> how far its rows are from those of training.
    drift: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, labels: dict[str, str], value: float) -> None:
        """Take one sample: its name without our prefix, its labels, its value."""
        if what == f"{_DURATION}_count":
            self.answered += value
        elif what == "inference_rows_total":
            self.rows += value
        elif what == "inference_failures_total":
            self.failed += value  # for whatever reason
        elif what == f"{_DURATION}_bucket":
            self.within[float(labels["le"])] += value
        elif what == "drift_psi":
            self.drift[labels["column"]] = value

    def reply(self) -> dict[str, Any]:
        """Return what the page is told; the last bound, inf, is null there."""
        within = sorted(self.within.items())
        return {
            "answered": self.answered,
            "rows": self.rows,
            "failed": self.failed,
            "within": within,
            "drift": self.drift,
        }


def standing(engine: ModelServer) -> dict[str, Any]:
    """Return every model, its versions and what was measured of them."""
    registry = engine.registry
    measured = _measured(engine.metrics)
    return {
        "service": VERSION,
        "now": time.time(),
        "unready": engine.unready,
        "failed": sorted(registry.failed),
        "models": [
            {
                "name": name,
                "live": entry.default,
                "live_since": _live_since(engine, name, entry),
                "labels": entry.labels,
                "refused": sorted(entry.refused),
                "versions": [
                    _version(engine, loaded, measured[name, str(version)])
                    for version, loaded in sorted(entry.versions.items(), reverse=True)
                ],
            }
            for name, entry in sorted(registry.catalogue.items())
        ],
    }


def trial(engine: ModelServer, loaded: Loaded) -> dict[str, Any]:
    """Return what a person needs to try a version: its form, and what is inside."""
    manifest = loaded.artefact.manifest
    (typical,) = json_rows(manifest.inputs, loaded.explainer.baseline, slice(0, 1))
    found = description(loaded)
    if isinstance(manifest.inputs, TensorInput):
        found["ranges"] = list(_ranges(manifest.inputs))
    return {
        **found,
        "version": loaded.version,
        "typical": typical,
        "reference": msgspec.to_builtins(manifest.reference.inputs),
        "layers": [
            layer.function
            if isinstance(layer, ActivationSpec)
            else layer.build().display_name
            for layer in manifest.network.layers
        ],
        "networks": manifest.members,
        "parameters": sum(n.parameters.size for n in loaded.artefact.model.networks),
        "rows": manifest.data.rows,
    }


def _measured(metrics: Metrics) -> defaultdict[tuple[str, str], Measured]:
    found: defaultdict[tuple[str, str], Measured] = defaultdict(Measured)
    for sample in metrics.samples():
        labels = sample.labels
        if "model" in labels and "version" in labels:
            what = sample.name.removeprefix(f"{PREFIX}_")
            found[labels["model"], labels["version"]].add(what, labels, sample.value)
    return found


def _live_since(engine: ModelServer, name: str, entry: Entry) -> str | None:
    """Return when production came to the version that serves, as ISO text."""
    with contextlib.suppress(OSError, GlassnetError):
        label = engine.registry.store.labels(name).get(PRODUCTION)
        if label is not None and label.version == entry.default:
            return label.since
    return None


def _version(engine: ModelServer, loaded: Loaded, measured: Measured) -> dict[str, Any]:
    manifest = loaded.artefact.manifest
    trained, store = None, engine.registry.store
    with contextlib.suppress(OSError, GlassnetError):
        trained = store.run(loaded.name, loaded.version)
    return {
        "version": loaded.version,
        "target": manifest.target,
        "trained": (trained or {}).get("trained_at"),
        "sha256": loaded.artefact.sha256,
        "metrics": manifest.metrics,
        "report": store.has_attachment(loaded.name, loaded.version, REPORT),
        **measured.reply(),
    }


def _ranges(inputs: TensorInput) -> Iterator[tuple[float, float]]:
    """Yield from where to where a slider goes for each feature of a matrix."""
    if len(inputs.shape) != 1:
        return
    for center, scale in zip(inputs.center, inputs.scale, strict=True):
        reach = REACH / scale if scale else 0.0
        yield (
            max(inputs.minimum, center - reach),
            min(inputs.maximum, center + reach),
        )
