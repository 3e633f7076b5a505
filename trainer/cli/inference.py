"""The commands that run a published model on data: evaluate, predict, explain."""

from __future__ import annotations

from typing import get_args

import click

from models.errors import ConfigError
from models.storage.base import ArtefactStore
from trainer.cli.options import (
    data_argument,
    json_option,
    model_option,
    print_json,
    print_table,
    store_option,
)
from trainer.cli.progress import say
from trainer.data import Source
from trainer.data.results import require_other
from trainer.evaluation.metrics import described
from trainer.inspection import batch_inference, listing
from trainer.scoring import BatchScorer, files, folders


@click.command()
@data_argument
@model_option
@store_option
@json_option
def evaluate(data: Source, reference: str, store: ArtefactStore, as_json: bool) -> None:
    """Measure a model on DATA, which must contain the target column.

    Each figure has its 95% interval.
    """
    name, version = listing.resolve(store, reference)
    found = batch_inference.evaluate(store.load(name, version), data)
    if as_json:
        print_json({"model": name, "version": version, **found._asdict()})
        return
    shown = {
        figure: described(figure, value, found.intervals, {})
        if isinstance(value, float)
        else value
        for figure, value in found.metrics.items()
    }
    print_table(f"{name} version {version} on {data}", shown)


@click.command()
@data_argument
@model_option
@click.option(
    "--out",
    required=True,
    metavar="FILE.csv|FILE.parquet|FOLDER",
    help="File to write, with one row for each row of DATA; or a folder, with one file "
    "for each file of DATA. Either may be in a bucket, such as s3://BUCKET/FOLDER.",
)
@click.option(
    "--keep",
    default="",
    metavar="COLUMN,COLUMN",
    help="Columns of DATA to write before the predictions, such as an identifier.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0, 1),
    metavar="LEVEL",
    help="For numbers, add `lower` and `upper`: LEVEL of the true values lie between.",
)
@click.option(
    "--engine",
    type=click.Choice(get_args(folders.ScoringEngine)),
    help="Spread the files of a folder over the Ray cluster at RAY_ADDRESS; without an "
    "address, over a Ray of this machine.",
)
@store_option
def predict(
    data: Source,
    reference: str,
    out: str,
    keep: str,
    interval: float | None,
    engine: folders.ScoringEngine | None,
    store: ArtefactStore,
) -> None:
    """Predict every row of DATA, in batches: memory does not grow with the rows.

    The output has the column `prediction` and, for classification, a column
    `p_<class>` with the probability of each class.

    If DATA is a folder or a glob, --out may be a folder: each file of DATA gets a
    Parquet file of the same name, which appears when it is complete. The files that
    the same model has written are left, so an interrupted run is continued by
    running it again.
    """
    require_other(data, out)
    columns = tuple(column.strip() for column in keep.split(",") if column.strip())
    name, version = listing.resolve(store, reference)
    by = f"of {name} version {version} to {out}"
    if out.endswith((".csv", ".parquet")) or not folders.is_folder(data):
        if engine:
            raise ConfigError(
                f"--engine {engine} spreads the files of a folder: DATA and --out must "
                "be folders"
            )
        scoring = files.Scoring(store.load(name, version), columns, interval)
        say(f"wrote {files.predict(scoring, data, out)} predictions {by}")
        return
    scorer = BatchScorer(store.location, name, version, columns, interval)
    found = folders.predict_folder(scorer, data, out, say, engine)
    left = f"; {found.left} were there already" if found.left else ""
    say(f"wrote {found.rows:,} predictions {by}, in {found.written} files{left}")


@click.command()
@data_argument
@model_option
@click.option(
    "--out",
    metavar="FILE.csv|FILE.parquet",
    help="File to write, with one row for each row of DATA.",
)
@click.option(
    "--target",
    metavar="CLASS",
    help="Class to explain.  [default: the most probable class of each row]",
)
@store_option
@json_option
def explain(
    data: Source,
    reference: str,
    out: str | None,
    target: str | None,
    store: ArtefactStore,
    as_json: bool,
) -> None:
    """Show how much each column contributes to the predictions (integrated gradients).

    Prints the mean absolute contribution of each column. With --out, writes the
    contributions row by row: `target`, `output`, `baseline_output` and a column
    `a_<column>` for each column of DATA.
    """
    name, version = listing.resolve(store, reference)
    artefact = store.load(name, version)
    if out is not None:
        batch_inference.require_table_file(out)
        require_other(data, out)
    explanation = batch_inference.explain(artefact, data, target)
    if out is not None:
        batch_inference.write_explanation(explanation, out)
        rows = len(explanation.output)
        say(f"wrote {rows} explanations of {name} version {version} to {out}")
    if as_json:
        print_json(
            {"model": name, **explanation.reply(), "model_version": str(version)}
        )
    elif out is None:
        print_table(
            f"{name} version {version} on {data}: mean absolute contribution",
            batch_inference.mean_contributions(explanation),
        )


COMMANDS = (evaluate, predict, explain)
