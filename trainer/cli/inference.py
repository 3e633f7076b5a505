"""The commands that ask a model about rows, about another and about itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.storage.base import ArtefactStore
from trainer.cli.options import (
    data_argument,
    json_option,
    print_json,
    print_table,
    store_option,
)
from trainer.cli.progress import say

if TYPE_CHECKING:
    from trainer.data import Source


@click.command()
@data_argument
@click.option("--model", "reference", required=True, metavar="NAME[@VERSION|:LABEL]")
@store_option
@json_option
def evaluate(data: Source, reference: str, store: ArtefactStore, as_json: bool) -> None:
    """Measure a model on DATA, which holds the target too."""
    from trainer.inspection import listing

    name, version = listing.resolve(store, reference)
    figures = listing.evaluate(store.load(name, version), data)
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
def predict(data: Source, reference: str, out: Path, store: ArtefactStore) -> None:
    """Answer every row of DATA: `prediction`, and one `p_<class>` a class."""
    from trainer.inspection import listing

    name, version = listing.resolve(store, reference)
    rows = listing.predict(store.load(name, version), data, out)
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
    store: ArtefactStore,
    as_json: bool,
) -> None:
    """Say what each column of DATA contributed to the answers (integrated gradients).

    FILE holds `target`, `output`, `baseline_output` and one `a_<column>` a column; the
    table printed is the mean size of each column's contributions.
    """
    from trainer.inspection import explanation, listing

    name, version = listing.resolve(store, reference)
    artefact = store.load(name, version)
    if out is not None:
        listing.require_table(out)
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


@click.command()
@click.argument("first", metavar="NAME[@VERSION|:LABEL]")
@click.argument("second", metavar="NAME[@VERSION|:LABEL]")
@store_option
@json_option
def compare(first: str, second: str, store: ArtefactStore, as_json: bool) -> None:
    """Put two versions side by side: figures, and what differs of data and recipe."""
    from rich.console import Console

    from trainer.inspection import listing, version_diff

    one, other = (listing.resolve(store, reference) for reference in (first, second))
    pair = store.load(*one), store.load(*other)
    found = version_diff.compare(*pair)
    names = f"{one[0]}@{one[1]}", f"{other[0]}@{other[1]}"
    if as_json:
        print_json({"versions": names, **found})
        return
    width = None if sys.stdout.isatty() else 120
    Console(width=width).print(version_diff.table(names, found))
    say(version_diff.caution(*pair))


@click.command()
@click.argument("reference", metavar="NAME[@VERSION|:LABEL]")
@store_option
def report(reference: str, store: ArtefactStore) -> None:
    """Draw a version's report again: report.html, beside its model."""
    from trainer.inspection import listing
    from trainer.report import write

    click.echo(write(store, *listing.resolve(store, reference)))
