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

from models.errors import GlassnetError
from models.features.tensor import TensorInput
from models.nn.layers import ActivationSpec
from models.storage.base import PRODUCTION, REPORT
from service.inference.model_server import ModelServer
from service.monitoring.metrics import VERSION
from service.monitoring.traffic import VersionTraffic, measure
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
        "unready": model_server.unready,
        "failed": sorted(registry.failed),
        "models": [
            {
                "name": name,
                "live": entry.default,
                "live_since": _live_since(model_server, name, entry),
                "labels": entry.labels,
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
