"""The versions in the store: a list for `list`, a description for `show`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from models.errors import ArtefactCorrupt
from models.storage.artefact import SplitStrategy
from models.storage.base import ArtefactStore
from models.storage.references import resolve as resolve
from trainer.data.table import shown
from trainer.evaluation.metrics import PRIMARY, described

DIVIDED: dict[SplitStrategy, str] = {
    "hash": "split at random, by a hash of each row",
    "random": "split at random: many rows are equal",
    "group": "split by group",
    "time": "split by time",
}


class VersionRow(msgspec.Struct, frozen=True):
    """One version in the list; `problem` says why it cannot be loaded."""

    model: str
    #: None if the model itself cannot be read.
    version: int | None
    labels: list[str]
    trained_at: str | None = None
    task: str | None = None
    figure: str | None = None
    sha256: str | None = None
    problem: str | None = None


def table(rows: Sequence[VersionRow]) -> str:
    """Return the rows of `list_versions` as a table of text.

    A table of rich takes ten seconds for 10,000 rows.
    """
    cells = [("model", "version", "labels", "trained", "metric")]
    for row in rows:
        cells.append(
            (
                row.model,
                str(row.version or ""),
                " ".join(row.labels),
                row.trained_at or "",
                row.figure or row.problem or "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(n) for text, n in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def list_versions(store: ArtefactStore, name: str | None) -> list[VersionRow]:
    """Return all versions of a model, or of every model the newest and the labelled.

    Their bytes are verified, but no model is built of them. Raises ModelNotFound.
    """
    if name is not None:
        return _rows(store, name, store.require(name))
    rows: list[VersionRow] = []
    for model in store.names():
        try:
            versions = store.versions(model)
            labels = store.labels(model).values()
            shown = {versions[-1], *(label.version for label in labels)}
            rows += _rows(store, model, sorted(shown & {*versions}))
        except (ArtefactCorrupt, OSError) as error:
            rows.append(VersionRow(model, None, [], problem=f"damaged: {error}"))
    return rows


def _rows(store: ArtefactStore, name: str, versions: Sequence[int]) -> list[VersionRow]:
    labels: dict[int, list[str]] = {}
    for label, pointer in sorted(store.labels(name).items()):
        labels.setdefault(pointer.version, []).append(label)
    return [_row(store, name, v, labels.get(v, [])) for v in versions]


def _row(
    store: ArtefactStore, name: str, version: int, labels: list[str]
) -> VersionRow:
    trained_at = str(_run(store, name, version).get("trained_at", "")) or None
    try:
        summary = store.summarize(name, version)
    except (ArtefactCorrupt, OSError) as error:
        problem = f"damaged: {error}"
        return VersionRow(name, version, labels, trained_at, problem=problem)
    primary, figure = PRIMARY[summary.task], None
    if isinstance(value := summary.metrics.get(primary), int | float):
        figure = f"{primary} {described(primary, value, summary.intervals, {})}"
    return VersionRow(
        name, version, labels, trained_at, summary.task, figure, summary.sha256
    )


def _run(store: ArtefactStore, name: str, version: int) -> dict[str, object]:
    """Return run.json, or nothing if it is damaged: the artefact does not need it."""
    try:
        return store.run(name, version)
    except (ArtefactCorrupt, OSError):
        return {}


def describe(store: ArtefactStore, name: str, version: int) -> dict[str, Any]:
    """Return the manifest, labels and run of a version, without the long lists."""
    artefact = store.load(name, version)
    manifest: dict[str, Any] = msgspec.to_builtins(artefact.manifest)
    for key in ("golden", "reference", "history"):
        del manifest[key]
    for key in ("center", "scale"):
        manifest["inputs"].pop(key, None)
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


def describe_as_text(description: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the result of `describe` as headings with lines of text."""
    labels = f" ({', '.join(description['labels'])})" if description["labels"] else ""
    yield (
        f"{description['model']} version {description['version']}{labels}",
        [
            f"sha256 {description['sha256']}",
            f"trained at {description['run'].get('trained_at', 'an unknown time')}",
            f"task {description['task']}, target '{description['target']}'",
        ],
    )
    baselines = description["baselines"]
    yield (
        "metrics",
        [
            f"{name} {described(name, value, description['intervals'], baselines)}"
            if isinstance(value, float)
            else _pair(name, value)
            for name, value in description["metrics"].items()
        ],
    )
    yield "inputs", list(_inputs(description["inputs"]))
    widths = [str(description["network"]["n_in"])]
    layers = description["network"]["layers"]
    widths += [str(layer["n_out"]) for layer in layers if layer["type"] == "linear"]
    yield "network", [f"{' → '.join(widths)}, {description['parameters']:,} parameters"]
    data = description["data"]
    yield (
        "data",
        [
            f"{data['rows']:,} rows: {data['train_rows']:,} for training, "
            f"{data['validation_rows']:,} for validation, {data['test_rows']:,} for "
            "testing",
            DIVIDED[description["recipe"]["split_strategy"]],
            f"sha256 {data['sha256']}",
        ],
    )
    if findings := description["recipe"]["findings"]:
        yield "findings", [finding["sentence"] for finding in findings]
    yield "why these settings", list(description["recipe"]["reasons"])
    yield (
        "settings",
        [_pair(*setting) for setting in flat_settings(description["config"]).items()],
    )


def _inputs(inputs: dict[str, Any]) -> Iterator[str]:
    if inputs["kind"] == "tensor":
        yield f"x: shape {inputs['shape']}, {inputs['minimum']} to {inputs['maximum']}"
        return
    for column in inputs["columns"]:
        text = f"{column['name']}: {column['kind']}"
        if column["kind"] == "categorical":
            names = column["categories"]
            first = ", ".join(shown(name)[1:-1] for name in names[:6])
            more = ", …" if len(names) > 6 else ""
            text += f", {len(names)} categories ({first}{more})"
        elif column.get("minimum") is not None:
            text += f", {column['minimum']} to {column['maximum']}"
        yield text + (", nullable" if column["nullable"] else "")


def _pair(name: str, value: Any) -> str:
    return f"{name} {value_text(value)}"


def value_text(value: object) -> str:
    """Return a metric or setting as text, numbers with six digits, None as a dash."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)


def flat_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return settings by their dotted names, such as `train.epochs`."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": value[key] for key in value}
        else:
            flat[name] = value
    return flat
