"""What the store holds and what a version says of itself, for `list` and `show`;
a model asked about data, for `evaluate` and `predict`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from models.errors import ArtefactCorrupt, ConfigError
from models.features.predictions import Classification, label_text
from models.features.table import TableInput
from models.storage.artefact import Artefact, SplitStrategy
from models.storage.base import ArtefactStore
from trainer.config.schema import DataConfig
from trainer.data import Source, read_for
from trainer.evaluation import metrics as figures
from trainer.preparation.prepare import read_part

if TYPE_CHECKING:
    from rich.table import Table

_REFERENCE = re.compile(r"([^@:]+)(?:@([0-9]{1,18})|:([a-zA-Z0-9_]+))?")

DIVIDED: dict[SplitStrategy, str] = {
    "hash": "divided at random, by what stands in a row",
    "random": "divided by chance: there are few different rows",
    "group": "divided by group",
    "time": "divided in time",
}


def evaluate(artefact: Artefact, source: Source | str) -> dict[str, Any]:
    """Return the figures of a model on data that holds its target.

    Rows count as they did in training, if the data says what they weigh.
    """
    manifest = artefact.manifest
    weight = manifest.config.get("data", {}).get("weight")
    part = read_part(
        source,
        manifest.inputs,
        manifest.output,
        manifest.target,
        DataConfig(weight=weight),
        weighed=False,
    )
    answer = artefact.model.predict(part.raw)
    found = figures.metrics(manifest.output, answer, part.target, part.weights)
    basis = {} if part.weights is None else {"weighted_by": weight}
    return {**found, "rows": len(part), **basis}


def predict(artefact: Artefact, source: Source | str, out: Path) -> int:
    """Write the answer to every row of the data; return how many there are."""
    require_table(out)
    data = read_for(source, artefact.manifest.inputs, None)
    answer = artefact.model.predict(data.inputs)
    output = artefact.manifest.output
    columns: dict[str, Any]
    if isinstance(output, Classification):
        labels = answer["label"].tolist()
        if out.suffix == ".csv" or len({type(label) for label in labels}) > 1:
            labels = [label_text(label) for label in labels]
        columns = {"prediction": labels}
        for place, label in enumerate(output.classes):
            columns[f"p_{label_text(label)}"] = answer["probabilities"][:, place]
    else:
        columns = {"prediction": answer["value"]}
    write(columns, out)
    return len(data)


def require_table(out: Path) -> None:
    """Refuse a file to write that is neither CSV nor Parquet, before any work."""
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out is a .csv or .parquet file, not '{out}'")


def write(columns: dict[str, Any], out: Path) -> None:
    """Write columns as CSV or Parquet; the file appears whole or not at all."""
    import polars as pl

    frame = pl.DataFrame(columns)
    hidden = out.with_name(f".{out.name}.part")
    try:
        if out.suffix == ".csv":
            frame.write_csv(hidden)
        else:
            frame.write_parquet(hidden)
        hidden.replace(out)
    finally:
        hidden.unlink(missing_ok=True)


class Row(msgspec.Struct, frozen=True):
    """One version in a list."""

    model: str
    version: int
    labels: list[str]
    trained_at: str | None = None
    task: str | None = None
    figure: str | None = None
    sha256: str | None = None
    problem: str | None = None


def table(rows: Sequence[Row]) -> Table:
    """Return what `versions` found, as a person reads it on a terminal."""
    from rich.table import Table

    shown = Table("model", "version", "labels", "trained", "metric", box=None)
    for row in rows:
        shown.add_row(
            row.model,
            str(row.version),
            " ".join(row.labels),
            row.trained_at or "",
            row.figure or row.problem or "",
        )
    return shown


def resolve(store: ArtefactStore, reference: str) -> tuple[str, int]:
    """Return the model and version that NAME, NAME@VERSION or NAME:LABEL names."""
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise ConfigError(
            f"a model is NAME, NAME@VERSION or NAME:LABEL, not '{reference}'"
        )
    name, version, label = found.groups()
    return name, store.resolve(name, int(version) if version else None, label)


def versions(store: ArtefactStore, name: str | None) -> list[Row]:
    """Return every version of a model, or the newest and the labelled of all."""
    if name is not None:
        return [_row(store, name, version) for version in store.require(name)]
    rows: list[Row] = []
    for model in store.names():
        labelled = {label.version for label in store.labels(model).values()}
        shown = {store.versions(model)[-1], *labelled} & set(store.versions(model))
        rows += [_row(store, model, version) for version in sorted(shown)]
    return rows


def _row(store: ArtefactStore, name: str, version: int) -> Row:
    labels = sorted(k for k, v in store.labels(name).items() if v.version == version)
    trained_at = str(_run(store, name, version).get("trained_at", "")) or None
    try:
        artefact = store.load(name, version)
    except (ArtefactCorrupt, OSError) as error:
        return Row(name, version, labels, trained_at, problem=f"damaged: {error}")
    manifest = artefact.manifest
    primary = figures.PRIMARY[manifest.task]
    value = manifest.metrics.get(primary)
    figure = None if value is None else f"{primary} {value:.4g}"
    return Row(
        name, version, labels, trained_at, manifest.task, figure, artefact.sha256
    )


def _run(store: ArtefactStore, name: str, version: int) -> dict[str, object]:
    """Return what run.json says; it is no part of the proof, and may be damaged."""
    try:
        return store.run(name, version)
    except ArtefactCorrupt:
        return {}


def describe(store: ArtefactStore, name: str, version: int) -> dict[str, Any]:
    """Return everything a version says of itself, without the long lists."""
    artefact = store.load(name, version)
    manifest: dict[str, Any] = msgspec.to_builtins(artefact.manifest)
    for long in ("golden", "reference", "history"):
        del manifest[long]
    if not isinstance(artefact.manifest.inputs, TableInput):
        del manifest["inputs"]["center"], manifest["inputs"]["scale"]
    return {
        "model": name,
        "version": version,
        "sha256": artefact.sha256,
        "labels": sorted(
            k for k, v in store.labels(name).items() if v.version == version
        ),
        "run": _run(store, name, version),
        **manifest,
        "parameters": sum(n.parameters.size for n in artefact.model.networks),
    }


def readable(found: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield what `describe` found as headings and lines."""
    labels = f" ({', '.join(found['labels'])})" if found["labels"] else ""
    yield (
        f"{found['model']} version {found['version']}{labels}",
        [
            f"sha256 {found['sha256']}",
            f"trained at {found['run'].get('trained_at', 'an unknown time')}",
            f"task {found['task']}, target '{found['target']}'",
        ],
    )
    yield "figures", [_pair(k, v) for k, v in found["metrics"].items()]
    yield "inputs", list(_inputs(found["inputs"]))
    widths = [str(found["network"]["n_in"])]
    layers = found["network"]["layers"]
    widths += [str(layer["n_out"]) for layer in layers if layer["type"] == "linear"]
    yield "network", [f"{' → '.join(widths)}, {found['parameters']:,} parameters"]
    data = found["data"]
    yield (
        "data",
        [
            f"{data['rows']:,} rows: {data['train_rows']:,} trained, "
            f"{data['validation_rows']:,} chose the epoch, {data['test_rows']:,} kept",
            DIVIDED[found["recipe"]["split_strategy"]],
            f"sha256 {data['sha256']}",
        ],
    )
    if findings := found["recipe"]["findings"]:
        yield "findings", [finding["sentence"] for finding in findings]
    yield "why these settings", list(found["recipe"]["reasons"])
    yield (
        "settings",
        [
            _pair(f"{section}.{key}", value)
            for section, group in found["config"].items()
            if isinstance(group, dict)
            for key, value in group.items()
        ]
        + [_pair("seed", found["config"]["seed"])],
    )


def _inputs(inputs: dict[str, Any]) -> Iterator[str]:
    if inputs["kind"] == "tensor":
        yield f"x: shape {inputs['shape']}, {inputs['minimum']} to {inputs['maximum']}"
        return
    for column in inputs["columns"]:
        text = f"{column['name']}: {column['kind']}"
        if column["kind"] == "categorical":
            names = column["categories"]
            more = ", …" if len(names) > 6 else ""
            text += f", {len(names)} categories ({', '.join(names[:6])}{more})"
        elif column.get("minimum") is not None:
            text += f", {column['minimum']} to {column['maximum']}"
        yield text + (", nullable" if column["nullable"] else "")


def _pair(name: str, value: Any) -> str:
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"{name} {shown}"
