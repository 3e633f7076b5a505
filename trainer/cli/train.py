"""The commands that train: fit, schedule, healthcheck, check-gradients."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import click

from models.errors import ConfigError, DataError, nearest
from models.features.predictions import Task
from models.storage.base import ArtefactStore
from trainer.cli.live import live_view
from trainer.cli.options import (
    data_argument,
    json_option,
    notify_on_failure,
    print_json,
    store_option,
)
from trainer.cli.progress import ignore, progress, say, say_finding
from trainer.cli.text import printable
from trainer.config import schema as settings
from trainer.config.loading import load
from trainer.data import Source, read_tables, source
from trainer.engines import EngineName
from trainer.evaluation.gate import Policy
from trainer.operations.cron import CronSchedule
from trainer.operations.scheduler import OnStop, Scheduler, health
from trainer.training.gradcheck import TOLERANCE, check_everything
from trainer.types import Messages

if TYPE_CHECKING:
    from trainer.members import MemberResult
    from trainer.pipeline import FitResult

EXIT_REFUSED = 3
promote_option = click.option(
    "--promote",
    type=click.Choice(get_args(Policy)),
    default="auto",
    show_default=True,
    help="Put the version into production: if the gate allows it, always or never.",
)


def _tracking_server(
    context: click.Context, parameter: click.Parameter, url: str | None
) -> str | None:
    from trainer.operations.tracking import check_address

    return None if url is None else check_address(url)


track_option = click.option(
    "--track",
    metavar="URL",
    callback=_tracking_server,
    help="Write the run to the MLflow server at this address, too.",
)


@click.command()
@notify_on_failure
@data_argument
@click.option("--target", metavar="COLUMN", help="Column to predict.")
@click.option("--model", required=True, metavar="NAME", help="Name of the model.")
@click.option(
    "--task",
    type=click.Choice(["auto", *get_args(Task)]),
    default="auto",
    show_default=True,
    help="Kind of prediction; auto derives it from the target column.",
)
@click.option(
    "--preset",
    type=click.Choice(get_args(settings.Preset)),
    help="How much time to spend (setting preset).  [default: default]",
)
@click.option("--valid", metavar="DATA", help="Rows that choose the best epoch.")
@click.option("--valid-query", metavar="SQL", help="Query for the rows of --valid.")
@click.option(
    "--truth",
    metavar="DATA",
    help="Table of ids and targets for DATA that the service has logged.",
)
@click.option(
    *("--config", "file"),
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Read settings from a TOML file.",
)
@click.option(
    *("--set", "assignments"),
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, as in --set train.batch_size=128; may be repeated.",
)
@click.option("--seed", type=int, help="Seed of all random numbers (setting seed).")
@click.option("--epochs", type=int, help="Maximum number of epochs (train.epochs).")
@click.option(
    "--time-limit",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="Stop training after this time and keep the best weights so far.",
)
@click.option(
    "--warm-start",
    is_flag=True,
    help="Start from the weights of the production version (train.warm_start).",
)
@click.option("--resume", is_flag=True, help="Continue a run that was interrupted.")
@click.option(
    "--engine",
    type=click.Choice(get_args(EngineName)),
    default="processes",
    show_default=True,
    help="Fit the networks in processes here, or on the Ray cluster at RAY_ADDRESS; "
    "without an address, on a Ray of this machine.",
)
@click.option(
    "--member",
    metavar="K/N",
    help="Fit network K of N alone; trainer assemble makes a version of all.",
)
@click.option("--verbose", is_flag=True, help="Print the reason for each setting.")
@click.option("--watch", is_flag=True, help="Draw loss, predictions and weights live.")
@track_option
@promote_option
@store_option
@json_option
def fit(
    data: Source,
    target: str | None,
    model: str,
    task: str,
    preset: str | None,
    valid: str | None,
    valid_query: str | None,
    truth: str | None,
    file: Path | None,
    assignments: tuple[str, ...],
    seed: int | None,
    epochs: int | None,
    time_limit: float | None,
    warm_start: bool,
    resume: bool,
    engine: EngineName,
    member: str | None,
    verbose: bool,
    watch: bool,
    track: str | None,
    promote: Policy,
    store: ArtefactStore,
    as_json: bool,
) -> None:
    """Train on DATA, publish the model, and promote it if the gate allows it.

    DATA is a .csv, .csv.gz, .parquet, .npz or IDX file, a folder or glob of CSV or
    Parquet files, builtin:xor or builtin:digits, or a database with --query:
    postgresql://USER@HOST:PORT/NAME or sqlite:///FILE. Its password comes from
    PGPASSWORD, PGPASSFILE or the file named by GLASSNET_DATABASE_PASSWORD_FILE. Files
    may be in a bucket: s3://, gs:// or az://BUCKET/PATH.
    """
    from trainer.members import MemberNumber, fit_member
    from trainer.pipeline import FitRequest, run

    if watch and engine != "processes":
        raise ConfigError(
            f"--watch draws networks of this process: not --engine {engine}"
        )
    validation = None
    if valid is not None or valid_query is not None:
        validation = source(data.address if valid is None else valid, valid_query)
    options = {
        "seed": seed,
        "train.epochs": epochs,
        "train.warm_start": warm_start or None,
        "preset": preset,
    }
    request = FitRequest(
        data=replace(data, truth=truth),
        target=target,
        model=model,
        task=None if task == "auto" else cast(Task, task),
        validation=validation,
        config=load(file, assignments, options),
        promote=promote,
        resume=resume,
        live=watch,
        time_limit=time_limit or math.inf,
        engine=engine,
    )
    messages = Messages(say_finding, say, say if verbose else ignore)
    number = None if member is None else MemberNumber.parse(member)
    try:
        with (live_view if watch else progress)() as on_epoch:
            if number is not None:
                fitted = fit_member(request, number, store, messages, on_epoch)
                _print_member(fitted, as_json)
                return
            result = run(request, store, messages, on_epoch)
    except KeyboardInterrupt:
        add = "" if number else "add --resume to "
        say(f"interrupted: {add or 'repeat '}the command to continue this run")
        raise
    _finish(result, promote, store, track, as_json)


def _print_member(fitted: MemberResult, as_json: bool) -> None:
    """Print what `fit --member` has done."""
    if as_json:
        print_json(fitted)
    else:
        click.echo(
            f"{fitted.model}: network {fitted.member} of {fitted.members} is fitted; "
            f"make a version of all with trainer assemble {fitted.model}"
        )


def _finish(
    result: FitResult,
    promote: Policy,
    store: ArtefactStore,
    track: str | None,
    as_json: bool,
) -> None:
    """Print the result and notify; exit with 3 if the gate refused to promote."""
    from trainer.cli.summary import next_command, summary, verdict
    from trainer.operations import notifications, tracking

    refused = promote == "auto" and not result.promoted
    if as_json:
        print_json(result)
        say(f"{result.model} version {result.version} {verdict(result)}")
        if not result.promoted:
            say(f"to promote it: {next_command(result, store.location)}")
    else:
        for line in summary(result, store.location):
            click.echo(printable(line))
    notifications.finished(store, result, refused, say)
    if track is not None:
        tracking.track(track, store, result, say)
    if refused:
        sys.exit(EXIT_REFUSED)


@click.command()
@notify_on_failure
@click.argument("model", metavar="NAME")
@click.option("--verbose", is_flag=True, help="Print the reason for each setting.")
@track_option
@promote_option
@store_option
@json_option
def assemble(
    model: str,
    verbose: bool,
    track: str | None,
    promote: Policy,
    store: ArtefactStore,
    as_json: bool,
) -> None:
    """Make a version of the networks that `trainer fit --member` has fitted.

    Data and settings are those of the latest of these commands. They are read again, to
    measure the networks together.
    """
    from trainer import members

    messages = Messages(say_finding, say, say if verbose else ignore)
    result = members.assemble(model, promote, store, messages)
    _finish(result, promote, store, track, as_json)


@click.command(
    # Arguments after `fit` are its own, also without `--`.
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option(
    "--cron", required=True, metavar="'M H D M W'", help="When to run, as in crontab."
)
@click.option(
    "--timezone", default="UTC", show_default=True, help="Time zone of --cron."
)
@click.option(
    "--jitter",
    type=click.FloatRange(0),
    default=0,
    metavar="SECONDS",
    help="Delay each run by a random time up to this.",
)
@click.option(
    "--on-stop",
    type=click.Choice(get_args(OnStop)),
    default="wait",
    show_default=True,
    help="On SIGTERM, wait for the current run or kill it; a second SIGTERM kills it.",
)
@click.argument("command", nargs=-1, required=True, metavar="-- fit DATA …")
def schedule(
    cron: str, timezone: str, jitter: float, on_stop: OnStop, command: tuple[str, ...]
) -> None:
    """Run `trainer fit` on a schedule, one run of a model at a time.

    Runs that were missed are made up by a single run. Several schedulers of one model
    share the schedule: only one of them starts each run.
    """
    clock = CronSchedule.parse(cron, timezone)
    verb, *arguments = command
    if verb != "fit":
        raise ConfigError(f"expected fit and its options last, found '{verb}'")
    # Report mistakes in the command now, not at the first run.
    parent = click.get_current_context().find_root()
    parameters = fit.make_context("fit", arguments, parent).params
    load(parameters["file"], parameters["assignments"], {})
    data = source(parameters["data"], parameters["query"], parameters["query_file"])
    _say_what_is_missing(data, parameters["target"])
    name, store = parameters["model"], parameters["store"]
    store.check_name(name)
    run = [sys.executable, "-P", "-m", "trainer.cli", *command, "--json"]
    home = store.schedule(name)

    def on_death(reason: str) -> None:
        from trainer.operations import notifications

        notifications.failed(name, reason, say)

    Scheduler(name, home, clock, run, say, jitter, on_stop, on_death).forever()


def _say_what_is_missing(data: Source, target: str | None) -> None:
    """Say that a file or its target is not there yet: each run would fail."""
    if "://" in data.address:
        return
    try:
        for table in (read_tables(data) or ())[:1]:
            if target not in table.schema:
                near = nearest(target or "", table.schema)
                raise DataError(f"{data}: no target column '{target or ''}'{near}")
    except (DataError, OSError) as error:
        say_finding(f"{error}; runs fail until it is there")


@click.command()
@click.argument("name")
@click.option(
    "--hours",
    type=float,
    help="Maximum age of that run.  [default: two periods of the schedule]",
)
@store_option
def healthcheck(name: str, hours: float | None, store: ArtefactStore) -> None:
    """Exit with 1 if the last successful run of NAME's schedule is too old."""
    healthy, sentence = health(store.schedule(name), hours, datetime.now(UTC))
    if not healthy:
        raise click.ClickException(sentence)
    click.echo(sentence)


@click.command("check-gradients")
def check_gradients() -> None:
    """Compare every gradient of every layer and loss with finite differences."""
    worst = 0.0
    for name, error in check_everything():
        click.echo(f"{name:52s} {error:.1e}")
        worst = max(worst, error)
    if worst > TOLERANCE:
        raise click.ClickException(f"a gradient is off by {worst:.1e}")
    click.echo(f"all within {TOLERANCE:.0e}")


COMMANDS = (fit, assemble, schedule, healthcheck, check_gradients)
