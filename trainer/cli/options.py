"""What the commands of `trainer` share: options, and errors in one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from models.errors import ConfigError, GlassnetError
from models.storage.base import ArtefactStore
from models.storage.factory import open_store
from trainer.config import environment
from trainer.config.environment import SIGNING_KEY_FILE, STORE


def _store(address: str) -> ArtefactStore:
    store = open_store(address, environment.read(SIGNING_KEY_FILE))
    store.keys()  # report a bad key file before hours of work
    return store


store_option = click.option(
    "--store",
    "store",
    envvar=STORE,
    default="./artefacts",
    show_default=True,
    help="Directory of models and versions (GLASSNET_STORE).",
    callback=lambda context, parameter, value: _store(value),
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)


query_option = click.option(
    "--query", metavar="SQL", help="Rows of a database; ORDER BY makes it repeatable."
)
query_file_option = click.option(
    "--query-file",
    type=click.Path(path_type=Path),
    metavar="FILE.sql",
    help="The query in a file.",
)


def data_argument(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command DATA, with the query of a database, as one Source."""

    @functools.wraps(command)
    def run(
        data: str, query: str | None, query_file: Path | None, **others: Any
    ) -> None:
        from trainer.data import source

        command(data=source(data, query, query_file), **others)

    for add in (query_file_option, query_option, click.argument("data")):
        run = add(run)
    return run


def notify_on_failure(command: Callable[..., None]) -> Callable[..., None]:
    """Tell whoever watches of what ends a command on a `model`, and let it end."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        try:
            command(**given)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # polars' panic is no Exception
            from trainer.cli.progress import say
            from trainer.operations import notifications

            notifications.failed(given["model"], error, say)
            raise

    return run


class SentenceErrorsGroup(click.Group):
    """A group whose commands end in one sentence, not in a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except ConfigError as error:
            raise click.UsageError(str(error)) from None
        except GlassnetError as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from None


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    click.echo(msgspec.json.encode(value).decode())


def print_table(title: str, rows: dict[str, Any]) -> None:
    """Print names and values under a title."""
    click.echo(title)
    for name, value in rows.items():
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        click.echo(f"  {name.replace('_', ' '):12s} {shown}")
