"""The commands on published versions: show and compare, label, verify, delete."""

from __future__ import annotations

import sys

import click

from models.storage import copying
from models.storage.base import PRODUCTION, ArtefactStore
from trainer.cli.options import (
    REFERENCE,
    json_option,
    open_store,
    print_json,
    reference_argument,
    store_option,
)
from trainer.cli.progress import say
from trainer.cli.text import printable
from trainer.inspection import listing, version_diff


def _print_rich(table: object) -> None:
    """Print a rich table, 120 characters wide where there is no terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    Console(width=width, markup=False).print(table)


@click.command("list")
@click.argument("name", required=False)
@store_option
@json_option
def list_(name: str | None, store: ArtefactStore, as_json: bool) -> None:
    """List all models, or the versions of the model NAME."""
    rows = listing.list_versions(store, name)
    if as_json:
        print_json(rows)
        return
    click.echo(printable(listing.table(rows)))
    if not rows:
        say(f"no model in {store}")


@click.command()
@reference_argument
@store_option
@json_option
def show(reference: str, store: ArtefactStore, as_json: bool) -> None:
    """Show a version: inputs, network, metrics, settings and the reasons for them."""
    name, version = listing.resolve(store, reference)
    description = listing.describe(store, name, version)
    if as_json:
        print_json(description)
        return
    for heading, lines in listing.describe_as_text(description):
        click.echo(printable(heading))
        for line in lines:
            click.echo(printable(f"  {line}"))


@click.command()
@click.argument("first", metavar=REFERENCE)
@click.argument("second", metavar=REFERENCE)
@store_option
@json_option
def compare(first: str, second: str, store: ArtefactStore, as_json: bool) -> None:
    """Compare two versions: their metrics, and what differs in data and settings."""
    one, other = (listing.resolve(store, reference) for reference in (first, second))
    pair = store.load(*one), store.load(*other)
    diff = version_diff.compare(*pair)
    names = f"{one[0]}@{one[1]}", f"{other[0]}@{other[1]}"
    if as_json:
        print_json({"versions": names, **diff})
        return
    _print_rich(version_diff.table(names, diff))
    say(version_diff.same_rows_note(*pair))


@click.command()
@reference_argument
@store_option
def report(reference: str, store: ArtefactStore) -> None:
    """Write the report of a version again, and print the path of its report.html."""
    from trainer.report import write

    click.echo(write(store, *listing.resolve(store, reference)))


@click.command()
@reference_argument
@store_option
def verify(reference: str, store: ArtefactStore) -> None:
    """Verify a version: checksums, shapes, and the stored example prediction.

    If GLASSNET_SIGNING_KEY_FILE is set, the version must be signed with one of its
    keys.
    """
    name, version = listing.resolve(store, reference)
    artefact = store.load(name, version)
    signed = " and signed" if store.key_file else ""
    click.echo(f"{name} version {version} is intact{signed}: sha256 {artefact.sha256}")


@click.command()
@click.argument("name")
@click.argument("version", type=int)
@click.option(
    "--label", default=PRODUCTION, show_default=True, help="Label to move to VERSION."
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Fraction of production's requests that the candidate answers.",
)
@click.option(
    "--shadow", is_flag=True, help="Let the candidate predict only for comparison."
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
    """Move a label to VERSION, unless VERSION is damaged.

    --share and --shadow go with --label candidate; they end when the label moves.
    """
    store.load(name, store.resolve(name, version))
    store.promote(name, version, label, share, shadow)
    traffic = f", answering {share:.3g} of the requests" if share else ""
    traffic = ", running beside production as a shadow" if shadow else traffic
    click.echo(f"{name}: {label} is version {version}{traffic}")


@click.command()
@click.argument("name")
@click.option(
    "--label", default=PRODUCTION, show_default=True, help="Label to move back."
)
@store_option
def rollback(name: str, label: str, store: ArtefactStore) -> None:
    """Move a label back to the version it pointed at before."""
    version = store.rollback(name, label)
    click.echo(f"{name}: {label} is version {version}")


@click.command()
@click.argument("name")
@click.option(
    "--keep", type=click.IntRange(1), required=True, help="Number of versions to keep."
)
@click.option(
    "--forget-rollbacks", is_flag=True, help="Also delete versions kept for rollback."
)
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
@store_option
def prune(
    name: str, keep: int, forget_rollbacks: bool, dry_run: bool, store: ArtefactStore
) -> None:
    """Delete old versions, except those with a label or needed for a rollback."""
    would = "would be " if dry_run else ""
    deleted = store.prune(name, keep, forget_rollbacks, dry_run)
    lines = [f"{name} version {version} {would}deleted" for version in deleted]
    click.echo("\n".join(lines), nl=bool(lines))
    if not dry_run:
        say(f"{len(store.versions(name))} versions of {name} remain")


@click.command()
@click.argument("name")
@click.option(
    *("--to", "address"), required=True, metavar="STORE", help="Store to copy it to."
)
@store_option
def copy(name: str, address: str, store: ArtefactStore) -> None:
    """Copy a model to another store, such as one in a bucket: s3://BUCKET/PREFIX.

    Its versions keep their numbers and bytes, its labels their history. The copy
    appears when it is complete, and is verified; the model stays in the first store.
    """
    digests = copying.copy(store, open_store(address), name)
    for version, sha256 in digests.items():
        click.echo(f"{name} version {version} is in {address}: sha256 {sha256}")


COMMANDS = (list_, show, compare, report, verify, promote, rollback, prune, copy)
