"""Progress of training on standard error: a line redrawn, or a line every 10 s."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from trainer.training.progress import Progress, ProgressCallback

#: Seconds between lines if standard error is no terminal.
INTERVAL = 10.0


def say(sentence: str) -> None:
    """Print a message on standard error; standard output is for results."""
    _erase()
    click.echo(sentence, err=True)


@contextmanager
def progress() -> Iterator[ProgressCallback]:
    """Yield a callback for the training loop; erase its line at the end."""
    if not sys.stderr.isatty():
        yield _lines()
        return

    def redraw(progress: Progress) -> None:
        # A line that wraps could not be erased.
        width = shutil.get_terminal_size().columns - 1
        _erase()
        click.echo(line(progress)[:width], err=True, nl=False)

    try:
        yield redraw
    finally:
        _erase()


def _erase() -> None:
    """Clear the current line of the terminal, if there is one."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)


def _lines() -> ProgressCallback:
    last = time.monotonic()

    def print_line(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= INTERVAL:
            last = time.monotonic()
            say(line(progress))

    return print_line


def line(progress: Progress) -> str:
    """Return the latest epoch in one line, most important first."""
    history = progress.history
    text = (
        f"epoch {history.epochs:4d} of {history.planned}"
        f"  {progress.seconds:.0f} s, at most {progress.left:.0f} s left"
        f"  loss {history.loss[-1]:.5f}"
    )
    if progress.count > 1:
        text = f"network {progress.number} of {progress.count}  {text}"
    if history.validation_loss:
        text += (
            f"  validation {history.validation_loss[-1]:.5f}"
            f"  best {min(history.validation_loss):.5f} in epoch {history.best_epoch}"
        )
    return f"{text}  {_short(progress.rows_per_s)} rows/s"


def _short(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"
