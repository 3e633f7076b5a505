"""Two versions side by side: their figures, and what of data and recipe differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from models.storage.artefact import Artefact

if TYPE_CHECKING:
    from rich.table import Table

#: Part of a comparison -> what is compared -> both values; None where there is none.
Comparison: TypeAlias = dict[str, dict[str, list[Any]]]
#: Of these more is better.
RISING = frozenset({"accuracy", "macro_f1", "auc", "r2"})
WORDS = frozenset({"rows", "measured_on", "weighted_by"})


def compare(first: Artefact, second: Artefact) -> Comparison:
    """Return every figure, and all else in which the two are not alike."""
    both = first, second
    parts = {
        "data": _differing(*map(_data, both)),
        "columns": _differing(*map(_columns, both)),
        "network": _differing(*map(_network, both)),
        "settings": _differing(*map(_settings, both)),
    }
    metrics = [dict(each.manifest.metrics) for each in both]
    figures = {
        name: [metrics[0].get(name), metrics[1].get(name)]
        for name in metrics[0] | metrics[1]
    }
    return {"figures": figures, **{name: part for name, part in parts.items() if part}}


def caution(first: Artefact, second: Artefact) -> str:
    """Say whether the figures are of the same rows, which only they would compare."""
    one, other = first.manifest, second.manifest
    divided = ("validation_fraction", "test_fraction", "split", "group", "time")
    shares = [[m.config["data"].get(key) for key in divided] for m in (one, other)]
    alike = shares[0] == shares[1] and one.members == other.members
    if one.data.sha256 == other.data.sha256 and alike:
        return "Both were measured on the same rows."
    return (
        "Each was measured on rows of its own: what differs may be the rows "
        "(trainer evaluate DATA asks both the same)."
    )


def better(name: str, values: list[Any]) -> int | None:
    """Return which of two figures is better, 0 or 1; None where neither is."""
    if name in WORDS or not all(isinstance(v, (int, float)) for v in values):
        return None
    first, second = values
    if first == second:
        return None
    return int(second > first) if name in RISING else int(second < first)


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys([*first, *second])
    pairs = {name: [first.get(name), second.get(name)] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _data(artefact: Artefact) -> dict[str, Any]:
    data = artefact.manifest.data
    return {
        "target": artefact.manifest.target,
        "task": artefact.manifest.task,
        "rows": data.rows,
        "rows that train": data.train_rows,
        "sha256": data.sha256[:12],
        "findings": len(artefact.manifest.recipe.findings),
    }


def _columns(artefact: Artefact) -> dict[str, str]:
    inputs = artefact.manifest.inputs
    shapes = {n: f"shape {list(shape)}" for n, (_, shape) in inputs.tensors.items()}
    return inputs.kinds or shapes


def _network(artefact: Artefact) -> dict[str, Any]:
    history = artefact.manifest.history
    return {
        "networks": artefact.manifest.members,
        "parameters": sum(n.parameters.size for n in artefact.model.networks),
        "epochs": sum(len(each["loss"]) for each in history),
        "epochs kept": [int(each["best_epoch"][0]) for each in history],
    }


def _settings(artefact: Artefact) -> dict[str, Any]:
    config = artefact.manifest.config
    found = {
        f"{group}.{key}": value
        for group, values in config.items()
        if isinstance(values, dict)
        for key, value in values.items()
    }
    return found | {k: v for k, v in config.items() if not isinstance(v, dict)}


def table(names: tuple[str, str], found: Comparison) -> Table:
    """Return a comparison as a person reads it: the better figure is in bold."""
    from rich.table import Table
    from rich.text import Text

    shown = Table("", *names, box=None, pad_edge=False)
    for part, rows in found.items():
        shown.add_row(Text(part, style="dim"))
        for name, values in rows.items():
            best = better(name, values) if part == "figures" else None
            cells = [
                Text(_shown(value), style="bold" if place == best else "")
                for place, value in enumerate(values)
            ]
            shown.add_row(Text(f"  {name}"), *cells)
    return shown


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
