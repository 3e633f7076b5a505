"""Two versions side by side: their metrics, and what differs in data and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from models.storage.artefact import Artefact
from trainer.inspection.listing import flat_settings, value_text

if TYPE_CHECKING:
    from rich.table import Table

#: Section -> name -> both values; None if a version lacks it.
VersionDiff: TypeAlias = dict[str, dict[str, list[Any]]]
#: Metrics that are better if higher.
HIGHER_IS_BETTER = frozenset({"accuracy", "macro_f1", "auc", "r2"})
#: Entries of the metrics that are not compared.
NOT_COMPARED = frozenset({"rows", "measured_on", "weighted_by"})


def compare(first: Artefact, second: Artefact) -> VersionDiff:
    """Return all metrics, and whatever else differs between the two versions."""
    both = first, second
    parts = {
        "data": _differing(*map(_data, both)),
        "columns": _differing(*map(_columns, both)),
        "network": _differing(*map(_network, both)),
        "settings": _differing(*(flat_settings(a.manifest.config) for a in both)),
    }
    metrics = [dict(artefact.manifest.metrics) for artefact in both]
    figures = {
        name: [metrics[0].get(name), metrics[1].get(name)]
        for name in metrics[0] | metrics[1]
    }
    return {"figures": figures, **{name: part for name, part in parts.items() if part}}


def same_rows_note(first: Artefact, second: Artefact) -> str:
    """Say whether both were measured on the same rows, so that metrics compare."""
    one, other = first.manifest, second.manifest
    keys = ("validation_fraction", "test_fraction", "split", "group", "time")
    split = [[m.config["data"].get(key) for key in keys] for m in (one, other)]
    same_split = split[0] == split[1] and one.members == other.members
    if one.data.sha256 == other.data.sha256 and same_split:
        return "Both were measured on the same rows."
    return (
        "They were measured on different rows, so their metrics do not compare "
        "directly: run trainer evaluate DATA on each of them."
    )


def better(name: str, values: list[Any]) -> int | None:
    """Return which of two metrics is better, 0 or 1, or None if neither is."""
    if name in NOT_COMPARED or not all(isinstance(v, (int, float)) for v in values):
        return None
    first, second = values
    if first == second:
        return None
    return int(second > first) if name in HIGHER_IS_BETTER else int(second < first)


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
        "training rows": data.train_rows,
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
        "epochs": sum(len(member["loss"]) for member in history),
        "best epochs": [int(member["best_epoch"][0]) for member in history],
    }


def table(names: tuple[str, str], diff: VersionDiff) -> Table:
    """Return the differences as a table for the terminal, the better metric in bold."""
    from rich.table import Table
    from rich.text import Text

    table = Table("", *names, box=None, pad_edge=False)
    for part, rows in diff.items():
        table.add_row(Text(part, style="dim"))
        for name, values in rows.items():
            best = better(name, values) if part == "figures" else None
            cells = [
                Text(value_text(value), style="bold" if index == best else "")
                for index, value in enumerate(values)
            ]
            table.add_row(Text(f"  {name}"), *cells)
    return table
