"""The `trainer` command: from data to a published version, and the versions stored.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 trained but refused by the gate.
"""

from __future__ import annotations

import click
from threadpoolctl import threadpool_limits

from trainer.cli import export, inference, registry, train
from trainer.cli.options import SentenceErrorsGroup


@click.group(
    cls=SentenceErrorsGroup, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="glassnet")
def main() -> None:
    """Train a small neural network and publish it as a versioned artefact."""
    # Outside training, products are small: a second BLAS thread only costs time.
    threadpool_limits(1, user_api="blas")


for command in (
    *train.COMMANDS,
    *inference.COMMANDS,
    *registry.COMMANDS,
    *export.COMMANDS,
):
    main.add_command(command)
