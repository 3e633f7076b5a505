"""The console's data: the models of the catalogue, and what all workers measured.

Any worker can answer: traffic comes from the shared metrics, models from the worker's
own catalogue, times from the store.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from models.errors import GlassnetError
from models.features.histograms import Histogram
from models.features.table import TableInput
from models.features.tensor import TensorInput
from models.nn.layer_names import layer_names
from models.storage.base import PRODUCTION, REPORT
from service.inference.model_server import ModelServer
from service.monitoring.drift import ColumnDrift
from service.monitoring.metrics import VERSION
from service.monitoring.traffic import Traffic, VersionTraffic, measure
from service.protocols.http import description
from service.registry.loaded import Entry, Loaded

#: Standard deviations that a slider reaches on either side of the training mean.
REACH = 3.0


def overview(model_server: ModelServer) -> dict[str, Any]:
    """Return every model, its versions and their measurements."""
    registry = model_server.registry
    measured = measure(model_server.metrics)
    return {
        "service": VERSION,
        "now": time.time(),
        "drift_seconds": model_server.inference.drift.seconds,
        "unready": model_server.unready,
        "failed": sorted(registry.failed),
        "models": [
            {
                "name": name,
                "live": entry.default,
                "live_since": _live_since(model_server, name, entry),
                "labels": entry.labels,
                "candidate": _candidate(entry, measured),
                "refused": sorted(entry.refused),
                "versions": [
                    _version(model_server, loaded, measured[name, str(version)])
                    for version, loaded in sorted(entry.versions.items(), reverse=True)
                ],
            }
            for name, entry in sorted(registry.catalogue.items())
        ],
    }


def version_details(model_server: ModelServer, loaded: Loaded) -> dict[str, Any]:
    """Return the form of a version, and its layers."""
    manifest = loaded.artefact.manifest
    (typical,) = manifest.inputs.to_json(loaded.explainer.baseline)
    found = description(loaded)
    if isinstance(manifest.inputs, TensorInput):
        found["ranges"] = list(_ranges(manifest.inputs))
    return {
        **found,
        "version": loaded.version,
        "typical": typical,
        "reference": msgspec.to_builtins(manifest.reference.inputs),
        "layers": layer_names(manifest.network),
        "networks": manifest.networks,
        "parameters": sum(n.parameters.size for n in loaded.artefact.model.networks),
        "rows": manifest.data.rows,
    }


def drift_details(model_server: ModelServer, loaded: Loaded) -> list[dict[str, Any]]:
    """Return the shares of training and of requests in each bin, by column."""
    return [
        {
            "column": column.name,
            **_bins(loaded, column),
            "training": (column.training / column.training.sum()).tolist(),
            "now": (column.requests / column.requests.sum()).tolist(),
        }
        for column in model_server.inference.drift.columns(loaded)
        if column.index is not None
    ]


def _bins(loaded: Loaded, column: ColumnDrift) -> dict[str, Any]:
    """Return the categories of a column, or the edges of its bins as JSON values."""
    if not isinstance(column.bins, Histogram):
        return {"categories": column.bins.categories}
    inputs = loaded.artefact.manifest.inputs
    if isinstance(inputs, TableInput) and column.name in inputs.by_name:
        edges = np.array(column.bins.edges)
        return {"edges": inputs.by_name[column.name].to_json(edges)}
    return {"edges": column.bins.edges}


def _candidate(entry: Entry, measured: Traffic) -> dict[str, Any] | None:
    """Return the share of a candidate beside production, and how they compare."""
    if (split := entry.split) is None:
        return None
    candidate = split.candidate
    return {
        "version": candidate.version,
        "share": split.share,
        "shadow": split.shadow,
        "compared": measured[candidate.name, str(candidate.version)].compared,
    }


def _live_since(model_server: ModelServer, name: str, entry: Entry) -> str | None:
    """Return since when the served version is production, as ISO text."""
    with contextlib.suppress(OSError, GlassnetError):
        label = model_server.registry.store.labels(name).get(PRODUCTION)
        if label is not None and label.version == entry.default:
            return label.since
    return None


def _version(
    model_server: ModelServer, loaded: Loaded, measured: VersionTraffic
) -> dict[str, Any]:
    manifest = loaded.artefact.manifest
    trained, report, store = None, False, model_server.registry.store
    with contextlib.suppress(OSError, GlassnetError):
        report = store.has_attachment(loaded.name, loaded.version, REPORT)
        trained = store.run(loaded.name, loaded.version)
    return {
        "version": loaded.version,
        "target": manifest.target,
        "trained": (trained or {}).get("trained_at"),
        "sha256": loaded.artefact.sha256,
        "metrics": manifest.metrics,
        "baselines": manifest.baselines,
        "report": report,
        **measured.counts(),
        "drift": measured.drift,
    }


def _ranges(inputs: TensorInput) -> Iterator[tuple[float, float]]:
    """Yield the range of a slider for each feature of a matrix."""
    if len(inputs.shape) != 1:
        return
    for center, scale in zip(inputs.center, inputs.scale, strict=True):
        reach = REACH / scale if scale else 0.0
        yield (
            max(inputs.minimum, center - reach),
            min(inputs.maximum, center + reach),
        )
