"""A network that is watched: on a terminal in pictures, elsewhere in a line."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from rich.console import Console

from models.nn.architectures import mlp
from models.nn.network import Network
from trainer.cli.live import _prediction, area_chart, frame
from trainer.config.schema import Config
from trainer.training.loop import TrainingRun
from trainer.training.losses import binary_cross_entropy, mean_squared_error
from trainer.training.losses import softmax_cross_entropy as softmax
from trainer.types import Rows


def on_a_terminal(*arguments: object, columns: int = 140) -> tuple[int, str]:
    """Run `trainer` with a terminal of its own; return its exit code and output."""
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "COLUMNS": str(columns),
        "LINES": "24",
        "TERM": "xterm",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.cli", *map(str, arguments)],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return process.wait(60), shown.decode()


def test_a_terminal_shows_every_epoch(tmp_path: Path) -> None:
    arguments = ["fit", "builtin:xor", "--model", "xor", "--epochs", "6", "--watch"]
    settings = ["--json", "--set", "runtime.report=false", "--store", tmp_path]
    code, shown = on_a_terminal(*arguments, *settings)
    assert code == 0, shown
    assert shown.count("predictions") >= 6 and shown.count("weights") >= 6
    epochs = re.findall(r"epoch (\d) of 6", shown)
    assert list(dict.fromkeys(epochs)) == list("123456")
    # Messages after training follow below the last frame.
    assert shown.rindex("xor version 1 promoted") > shown.rindex("predictions")


def test_watch_without_a_terminal_prints_lines(command: Callable[..., Result]) -> None:
    told = command("fit", "builtin:xor", "--model", "x", "--epochs", "3", "--watch")
    assert "--watch needs a terminal: printing a line" in told.stderr
    assert "epoch" not in told.stdout


@pytest.fixture
def after(configured: Callable[..., Config]) -> Callable[..., TrainingRun]:
    """Return a run after an epoch, of one of the losses."""

    def run(kind: str) -> TrainingRun:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((12, 6)).astype(np.float32)
        targets = {
            "binary": (1, (X[:, 0] > 0).astype(np.intp), binary_cross_entropy),
            "multiclass": (3, np.arange(12) % 3, softmax),
            "regression": (1, X[:, 0], mean_squared_error),
        }
        width, T, loss = targets[kind]
        network = Network(mlp([6, 20, 20, width]))
        network.initialize(rng)
        config = configured(
            "train.epochs=3",
            "train.batch_size=4",
            "train.learning_rate=0.01",
            "train.schedule=constant",
            "train.regularization=constant",
            "train.weight_decay=0",
            "train.beta2=0.999",
            "train.patience=3",
        ).train
        made = TrainingRun(network, loss, Rows(X, T), None, config, rng)
        made.run_epoch()
        return made

    return run


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_a_frame_fits_a_terminal(after: Callable[..., TrainingRun], kind: str) -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(frame(after(kind)))
    text = console.export_text()
    assert text.count("\n") <= 24
    assert "epoch 1 of 3" in text and "6 → 20" in text and "20 → " in text
    assert "20 → 20" not in text  # both ends, not what is between


@pytest.mark.parametrize(
    ("kind", "bar"),
    [("binary", "p of true"), ("multiclass", "p of true"), ("regression", "nearness")],
)
def test_frames_label_their_bars_and_keep_their_layout(
    after: Callable[..., TrainingRun], kind: str, bar: str
) -> None:
    run = after(kind)
    layouts = set()
    for scale in (1.0, 100.0):  # longer numbers
        run.network.parameters *= np.float32(scale)
        console = Console(width=140, record=True, file=io.StringIO())
        console.print(frame(run))
        lines = console.export_text().splitlines()
        corners = [i for i, c in enumerate(lines[0]) if c in "╭╮"]
        layouts.add((*corners, len(lines)))
        assert bar in lines[1]
    assert len(layouts) == 1 and len(corners) == 6


def test_a_prediction_is_formatted_by_its_task() -> None:
    two = np.array([np.log(3.0)])
    assert _prediction(two, np.intp(1)) == ("0.750", pytest.approx(0.75), True)
    assert _prediction(two, np.intp(0)) == ("0.750", pytest.approx(0.25), False)
    assert _prediction(np.array([1e9]), np.intp(1))[1] == 1.0
    three = np.log(np.array([0.2, 0.7, 0.1]))
    assert _prediction(three, np.intp(1)) == ("1 (70%)", pytest.approx(0.7), True)
    assert _prediction(three, np.intp(2)) == ("1 (70%)", pytest.approx(0.1), False)
    assert _prediction(np.array([1.5]), np.float32(1.5)) == ("+1.50", 1.0, True)


def test_a_chart_is_as_high_as_its_values() -> None:
    assert area_chart([2.0, 1.0, 0.0], width=3, height=2) == "█  \n██ "
    assert area_chart([1.0], width=2, height=1) == "█ "
    assert area_chart([np.inf, 1.0], width=2, height=1) == " █"
    assert area_chart([0.0], width=1, height=1) == " "
    many = area_chart([float(i) for i in range(1000)], width=10, height=1)
    assert len(many) == 10 and many[-1] == "█"
