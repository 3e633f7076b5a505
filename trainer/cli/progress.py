"""Progress of training on standard error: a line redrawn, or a line every 10 s."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from trainer.cli.text import printable
from trainer.training.progress import Progress, ProgressCallback

#: Seconds between lines if standard error is no terminal.
INTERVAL = 10.0


def say(sentence: str) -> None:
    """Print a message on standard error; standard output is for results."""
    _print(printable(sentence))


def say_finding(sentence: str) -> None:
    """Print a finding about the data, in colour on a terminal."""
    _print(click.style(f"! {printable(sentence)}", fg="yellow"))


def _print(sentence: str) -> None:
    _erase()
    click.echo(sentence, err=True)


def ignore(sentence: str) -> None:
    """Print nothing."""


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
    """Return the latest epoch in one line of at most 79 characters."""
    history = progress.history
    text = f"epoch {history.epochs}/{history.planned}"
    if progress.count > 1:
        text = f"network {progress.number}/{progress.count}  {text}"
    text += f"  loss {history.loss[-1]:#.4g}"
    if history.validation_loss:
        text += f"  validation {history.validation_loss[-1]:#.4g}"
    return f"{text}  {_clock(progress.left)} left"


def _clock(seconds: float) -> str:
    """Return a time as minutes and seconds, or as hours, minutes and seconds."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"
