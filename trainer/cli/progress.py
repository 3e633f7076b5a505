"""What a person sees while a network trains: a moving line, or one now and then."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from trainer.training.progress import Progress, ProgressCallback

#: Seconds between lines where there is no terminal to redraw.
INTERVAL = 10.0


def say(sentence: str) -> None:
    """Tell the person at the terminal; standard output stays for results."""
    _erase()
    click.echo(sentence, err=True)


@contextmanager
def progress() -> Iterator[ProgressCallback]:
    """Give a watcher for the training loop; its moving line is gone when it ends."""
    if not sys.stderr.isatty():
        yield _lines()
        return

    def watch(standing: Progress) -> None:
        # A line that is broken in two could not be erased.
        width = shutil.get_terminal_size().columns - 1
        _erase()
        click.echo(line(standing)[:width], err=True, nl=False)

    try:
        yield watch
    finally:
        _erase()


def _erase() -> None:
    """Clear the line the cursor stands on, where there is a cursor."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)


def _lines() -> ProgressCallback:
    last = time.monotonic()

    def watch(standing: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= INTERVAL:
            last = time.monotonic()
            say(line(standing))

    return watch


def line(standing: Progress) -> str:
    """Return the latest epoch in one line, the more important the further left."""
    history = standing.history
    text = (
        f"epoch {history.epochs:4d} of {history.planned}"
        f"  {standing.seconds:.0f} s, {standing.left:.0f} s left at most"
        f"  loss {history.loss[-1]:.5f}"
    )
    if standing.count > 1:
        text = f"network {standing.number} of {standing.count}  {text}"
    if history.validation_loss:
        text += (
            f"  validation {history.validation_loss[-1]:.5f}"
            f"  best {min(history.validation_loss):.5f} in epoch {history.best_epoch}"
        )
    return f"{text}  {_short(standing.rows_per_s)} rows/s"


def _short(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"
