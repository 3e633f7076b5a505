"""The commands that ask a model about rows: evaluate, predict, explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.store import Store
from trainer.options import (
    data_argument,
    json_option,
    print_json,
    print_table,
    store_option,
)
from trainer.progress import say

if TYPE_CHECKING:
    from trainer.data import Source


@click.command()
@data_argument
@click.option("--model", "reference", required=True, metavar="NAME[@VERSION|:LABEL]")
@store_option
@json_option
def evaluate(data: Source, reference: str, store: Store, as_json: bool) -> None:
    """Measure a model on DATA, which holds the target too."""
    from trainer import inspection

    name, version = inspection.resolve(store, reference)
    figures = inspection.evaluate(store.load(name, version), data)
    if as_json:
        print_json({"model": name, "version": version, "metrics": figures})
    else:
        print_table(f"{name} version {version} on {data}", figures)


@click.command()
@data_argument
@click.option("--model", "reference", required=True, metavar="NAME[@VERSION|:LABEL]")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.csv|FILE.parquet",
    help="Where the predictions go, row for row.",
)
@store_option
def predict(data: Source, reference: str, out: Path, store: Store) -> None:
    """Answer every row of DATA: `prediction`, and one `p_<class>` a class."""
    from trainer import inspection

    name, version = inspection.resolve(store, reference)
    rows = inspection.predict(store.load(name, version), data, out)
    say(f"{rows} predictions of {name} version {version} in {out}")


@click.command()
@data_argument
@click.option("--model", "reference", required=True, metavar="NAME[@VERSION|:LABEL]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.csv|FILE.parquet",
    help="Where the attributions go, row for row.",
)
@click.option(
    "--target",
    metavar="CLASS",
    help="Class to explain.  [default: the likeliest of each row]",
)
@store_option
@json_option
def explain(
    data: Source,
    reference: str,
    out: Path | None,
    target: str | None,
    store: Store,
    as_json: bool,
) -> None:
    """Say what each column of DATA contributed to the answers (integrated gradients).

    FILE holds `target`, `output`, `baseline_output` and one `a_<column>` a column; the
    table printed is the mean size of each column's contributions.
    """
    from trainer import explanation, inspection

    name, version = inspection.resolve(store, reference)
    artefact = store.load(name, version)
    if out is not None:
        inspection.require_table(out)
    found = explanation.explain(artefact, data, target)
    if out is not None:
        explanation.save(found, artefact.manifest.output, out)
        say(f"{len(found.output)} explanations of {name} version {version} in {out}")
    if as_json:
        print_json({"model": name, **found.reply(), "model_version": str(version)})
    elif out is None:
        print_table(
            f"{name} version {version} on {data}: mean size of contributions",
            explanation.importance(found),
        )
