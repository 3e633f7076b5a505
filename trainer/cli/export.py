"""The command that writes a version in another format."""

from __future__ import annotations

from pathlib import Path

import click

from models.errors import ConfigError
from models.storage.base import ArtefactStore
from models.storage.references import resolve
from trainer.cli.options import reference_argument, store_option
from trainer.cli.progress import say


@click.command()
@reference_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx"]),
    default="onnx",
    show_default=True,
    help="Format of the file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write.  [default: NAME-VERSION.onnx]",
)
@store_option
def export(reference: str, form: str, out: Path | None, store: ArtefactStore) -> None:
    """Write a version as an ONNX file: encoding, networks and calibration.

    Its inputs are the columns, its outputs `label` and `probabilities`, or `value`.
    Intervals and explanations stay with the service.
    """
    try:
        from trainer.export.onnx import to_onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ConfigError(
            "export needs the package onnx: pip install 'glassnet[onnx]'"
        ) from None

    name, version = resolve(store, reference)
    content = to_onnx(store.load(name, version), name, version)
    path = out or Path(f"{name}-{version}.{form}")
    path.write_bytes(content)
    say(f"wrote {name} version {version} to {path}")


COMMANDS = (export,)
