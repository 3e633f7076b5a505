"""The `trainer` command: from data to a published version, and what is in the store.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 trained but the gate refused.
"""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import click
from threadpoolctl import threadpool_limits

from models.errors import ConfigError
from models.features.predictions import Task
from models.storage.base import PRODUCTION, ArtefactStore
from trainer.cli.inference import compare, evaluate, explain, predict, report
from trainer.cli.live import live_view
from trainer.cli.options import (
    SentenceErrorsGroup,
    data_argument,
    json_option,
    notify_on_failure,
    print_json,
    print_table,
    store_option,
)
from trainer.cli.progress import progress, say
from trainer.config import schema as settings
from trainer.evaluation.gate import Policy
from trainer.operations.cron import CronSchedule
from trainer.operations.scheduler import OnStop, Scheduler, health

if TYPE_CHECKING:
    from trainer.data import Source

EXIT_REFUSED = 3


@click.group(
    cls=SentenceErrorsGroup, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="glassnet")
def main() -> None:
    """Fit a small neural network and publish it as a versioned artefact."""
    # What is not training multiplies little: a second thread costs more than it gives.
    threadpool_limits(1, user_api="blas")


for command in (evaluate, predict, explain, compare, report):
    main.add_command(command)


@main.command()
@notify_on_failure
@data_argument
@click.option("--target", metavar="COLUMN", help="Column to predict.")
@click.option("--model", required=True, metavar="NAME", help="Name to publish under.")
@click.option(
    "--task",
    type=click.Choice(["auto", *get_args(Task)]),
    default="auto",
    show_default=True,
    help="What kind of answer; auto looks at the target.",
)
@click.option(
    "--preset",
    type=click.Choice(get_args(settings.Preset)),
    help="How much time to take (preset).  [default: default]",
)
@click.option("--valid", metavar="DATA", help="Rows that choose the epoch.")
@click.option(
    "--valid-query",
    metavar="SQL",
    help="Their query, of DATA's database if --valid names no other.",
)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Settings from a TOML file.",
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting."
)
@click.option("--seed", type=int, help="Start of every random choice (seed).")
@click.option("--epochs", type=int, help="Passes at most (train.epochs).")
@click.option(
    "--time-limit",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="End training by then, with the best weights so far.",
)
@click.option(
    "--resume", is_flag=True, help="Go on where the same run was interrupted."
)
@click.option(
    "--watch",
    is_flag=True,
    help="Draw loss, answers and weights; one network at a time.",
)
@click.option(
    "--promote",
    type=click.Choice(get_args(Policy)),
    default="auto",
    show_default=True,
    help="Let the gate decide, or decide for it.",
)
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
    file: Path | None,
    assignments: tuple[str, ...],
    seed: int | None,
    epochs: int | None,
    time_limit: float | None,
    resume: bool,
    watch: bool,
    promote: Policy,
    store: ArtefactStore,
    as_json: bool,
) -> None:
    """Train on DATA, publish the model, and promote it if the gate agrees.

    DATA is a .csv, .csv.gz, .parquet, .npz or IDX file, a folder or glob of CSV or
    Parquet files, builtin:xor or builtin:digits, or a database with --query:
    postgresql://USER@HOST:PORT/NAME or sqlite:///FILE. Its password comes from
    PGPASSWORD, PGPASSFILE or the file named by GLASSNET_DATABASE_PASSWORD_FILE.
    """
    from trainer.data import source
    from trainer.operations import notifications
    from trainer.pipeline import Request
    from trainer.pipeline import run as run

    validation = None
    if valid is not None or valid_query is not None:
        validation = source(data.place if valid is None else valid, valid_query)
    options = {"seed": seed, "train.epochs": epochs, "preset": preset}
    given = settings.load(file, assignments, options)
    request = Request(
        data=data,
        target=target,
        model=model,
        task=None if task == "auto" else cast(Task, task),
        validation=validation,
        config=given,
        promote=promote,
        resume=resume,
        live=watch,
        time_limit=time_limit or math.inf,
    )
    with (live_view if watch else progress)() as watcher:
        result = run(request, store, say, watcher)
    refused = promote == "auto" and not result.promoted
    if as_json:
        print_json(result)
    else:
        print_table(
            f"{result.model} version {result.version}",
            {
                "task": result.task,
                **result.metrics,
                "epochs": result.timing["epochs"],
                "seconds": result.timing["total_s"],
                "sha256": result.sha256,
            },
        )
    say(f"{'promoted' if result.promoted else 'not promoted'}: {result.reason}")
    notifications.finished(store, result, refused, say)
    if refused:
        sys.exit(EXIT_REFUSED)


@main.command("list")
@click.argument("name", required=False)
@store_option
@json_option
def list_(name: str | None, store: ArtefactStore, as_json: bool) -> None:
    """List the models, or the versions of one."""
    from trainer.inspection import listing

    found = listing.versions(store, name)
    if as_json:
        print_json(found)
        return
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    Console(width=width).print(listing.table(found))
    if not found:
        say(f"no model in {store}")


@main.command()
@click.argument("reference", metavar="NAME[@VERSION|:LABEL]")
@store_option
@json_option
def show(reference: str, store: ArtefactStore, as_json: bool) -> None:
    """Show what a version is: signature, network, figures, recipe and its reasons."""
    from trainer.inspection import listing

    name, version = listing.resolve(store, reference)
    found = listing.describe(store, name, version)
    if as_json:
        print_json(found)
        return
    for heading, lines in listing.readable(found):
        click.echo(heading)
        for line in lines:
            click.echo(f"  {line}")


@main.command()
@click.argument("reference", metavar="NAME[@VERSION|:LABEL]")
@store_option
def verify(reference: str, store: ArtefactStore) -> None:
    """Prove a version: seal, digests, shapes, and its golden answer once more.

    With GLASSNET_SIGNING_KEY_FILE its signature too, which is by one of those keys.
    """
    from trainer.inspection import listing

    name, version = listing.resolve(store, reference)
    artefact = store.load(name, version)
    signed = " and signed" if store.key_file else ""
    click.echo(f"{name} version {version} is whole{signed}: sha256 {artefact.sha256}")


@main.command()
@click.argument("name")
@click.argument("version", type=int)
@click.option("--label", default=PRODUCTION, show_default=True)
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Part of production's requests that a candidate answers.",
)
@click.option(
    "--shadow", is_flag=True, help="A candidate answers too, only to be compared."
)
@store_option
def promote(
    name: str,
    version: int,
    label: str,
    share: float,
    shadow: bool,
    store: ArtefactStore,
) -> None:
    """Point a label at VERSION; a version that is damaged is refused.

    A --share or --shadow, for --label candidate, lasts until the label is set again.
    """
    store.load(name, store.resolve(name, version))
    store.promote(name, version, label, share, shadow)
    told = f", for {share:.3g} of the requests" if share else ""
    told = ", in the shadow of production" if shadow else told
    click.echo(f"{name}: {label} is version {version}{told}")


@main.command()
@click.argument("name")
@click.option("--label", default=PRODUCTION, show_default=True)
@store_option
def rollback(name: str, label: str, store: ArtefactStore) -> None:
    """Point a label back at the version it stood on before."""
    version = store.rollback(name, label)
    click.echo(f"{name}: {label} is version {version}")


@main.command()
@click.argument("name")
@click.option(
    "--keep", type=click.IntRange(1), required=True, help="Newest versions to keep."
)
@click.option(
    "--forget-rollbacks",
    is_flag=True,
    help="Delete also what labels could be rolled back to.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@store_option
def prune(
    name: str, keep: int, forget_rollbacks: bool, dry_run: bool, store: ArtefactStore
) -> None:
    """Delete old versions, but none that is labelled or could be rolled back to."""
    for version in store.prune(name, keep, forget_rollbacks, dry_run):
        would = "would be " if dry_run else ""
        click.echo(f"{name} version {version} {would}deleted")
    left = "" if dry_run else f": {len(store.versions(name))} versions are left"
    say(f"the newest {keep} and what labels need are kept{left}")


@main.command()
@click.option("--cron", required=True, metavar="'M H D M W'", help="When to run.")
@click.option(
    "--timezone", default="UTC", show_default=True, help="Whose clocks count."
)
@click.option(
    "--jitter", type=click.FloatRange(0), default=0, help="Seconds of chance."
)
@click.option(
    "--on-stop",
    type=click.Choice(get_args(OnStop)),
    default="wait",
    show_default=True,
    help="What SIGTERM does to a run; a second one kills it.",
)
@click.argument("command", nargs=-1, required=True, metavar="-- fit DATA …")
def schedule(
    cron: str, timezone: str, jitter: float, on_stop: OnStop, command: tuple[str, ...]
) -> None:
    """Run `trainer fit` by the clock, one run of a model at a time.

    Times that were missed are made up by one run; of two schedulers one runs.
    """
    from trainer.data import source

    clock = CronSchedule.of(cron, timezone)
    verb, *arguments = command
    if verb != "fit":
        raise ConfigError(f"a schedule runs fit, not '{verb}'")
    # A mistake is told now, not at night.
    asked = fit.make_context("trainer fit", arguments).params
    settings.load(asked["file"], asked["assignments"], {})
    source(asked["data"], asked["query"], asked["query_file"])
    name, store = asked["model"], asked["store"]
    store.check_name(name)
    run = [sys.executable, "-P", "-m", "trainer.cli", *command, "--json"]

    def on_death(reason: str) -> None:
        from trainer.operations import notifications

        notifications.failed(name, reason, say)

    Scheduler(
        name, store.schedule(name), clock, run, say, jitter, on_stop, on_death
    ).forever()


@main.command()
@click.argument("name")
@click.option("--hours", type=float, help="How old the last good may be.")
@store_option
def healthcheck(name: str, hours: float | None, store: ArtefactStore) -> None:
    """Exit with 1 if NAME's schedule has had no good run for two times, or --hours."""
    healthy, sentence = health(store.schedule(name), hours, datetime.now(UTC))
    if not healthy:
        raise click.ClickException(sentence)
    click.echo(sentence)


@main.command("check-gradients")
def check_gradients() -> None:
    """Compare every layer's and loss's gradient with its definition, in float64."""
    from trainer.training.gradcheck import TOLERANCE, check_everything

    worst = 0.0
    for name, error in check_everything():
        click.echo(f"{name:44s} {error:.1e}")
        worst = max(worst, error)
    if worst > TOLERANCE:
        raise click.ClickException(f"a gradient is off by {worst:.1e}")
    click.echo(f"all within {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
