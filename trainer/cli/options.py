"""Options, output and error handling that the `trainer` commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from models.errors import ConfigError, GlassnetError
from models.storage import factory
from models.storage.base import ArtefactStore
from trainer.cli.text import one_line, printable
from trainer.config import environment
from trainer.config.environment import SIGNING_KEY_FILE, STORE
from trainer.data import source
from trainer.inspection.listing import value_text

REFERENCE = "NAME[@VERSION|:LABEL]"


def open_store(address: str) -> ArtefactStore:
    """Return a store with the keys of the environment; raises ConfigError."""
    store = factory.open_store(address, environment.read(SIGNING_KEY_FILE))
    store.keys()  # report an unusable key before hours of work
    return store


store_option = click.option(
    "--store",
    "store",
    envvar=STORE,
    default="./artefacts",
    show_default=True,
    help="Directory of models and versions, or s3://, gs:// or az://BUCKET/PREFIX "
    "(GLASSNET_STORE).",
    callback=lambda context, parameter, value: open_store(value),
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
model_option = click.option(
    "--model",
    "reference",
    required=True,
    metavar=REFERENCE,
    help="Model to use; by default its version in production, else the newest.",
)
reference_argument = click.argument("reference", metavar=REFERENCE)
query_option = click.option(
    "--query", metavar="SQL", help="Rows of a database; ORDER BY makes it repeatable."
)
query_file_option = click.option(
    "--query-file",
    type=click.Path(path_type=Path),
    metavar="FILE.sql",
    help="Read the query from a file.",
)


def data_argument(command: Callable[..., None]) -> Callable[..., None]:
    """Add DATA, --query and --query-file to a command, which gets one `Source`."""

    @functools.wraps(command)
    def run(
        data: str, query: str | None, query_file: Path | None, **others: Any
    ) -> None:
        command(data=source(data, query, query_file), **others)

    for add in (query_file_option, query_option, click.argument("data")):
        run = add(run)
    return run


def notify_on_failure(command: Callable[..., None]) -> Callable[..., None]:
    """Send the failure notifications for `model` if the command raises; re-raise."""

    @functools.wraps(command)
    def run(**parameters: Any) -> None:
        try:
            command(**parameters)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # a panic in polars is no Exception
            from trainer.cli.progress import say
            from trainer.operations import notifications

            notifications.failed(parameters["model"], error, say)
            raise

    return run


class SentenceErrorsGroup(click.Group):
    """A group whose commands report errors as one sentence, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command.

        Raises click.UsageError (exit code 2) for a ConfigError, and
        click.ClickException (1) for any other GlassnetError or OSError.
        """
        try:
            return super().invoke(context)
        except ConfigError as error:
            raise click.UsageError(one_line(str(error))) from None
        except GlassnetError as error:
            raise click.ClickException(one_line(str(error))) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            path = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{path}{error.strerror or error}") from None


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    click.echo(msgspec.json.encode(value).decode())


def print_table(title: str, rows: dict[str, Any]) -> None:
    """Print names and values under a title."""
    click.echo(printable(title))
    for name, value in rows.items():
        line = f"  {name.replace('_', ' '):12s} {value_text(value)}"
        click.echo(printable(line))
