"""Operations are counted from the shapes; a peak is a number of this machine."""

from __future__ import annotations

import os

from models.architectures import mlp, realmlp
from models.table import Layout
from trainer.report.speed import operations, peak, speed


def test_operations_are_six_a_weight_and_four_in_front() -> None:
    assert operations(mlp([10, 20, 3])) == 4 * 10 * 20 + 6 * 20 * 3


def test_a_linear_layer_behind_embeddings_hands_its_gradient_on() -> None:
    spec = realmlp(Layout(2, 1, ()), [16], 1)
    assert operations(spec) == 6 * (2 * 4 + 1) * 16 + 6 * 16


def test_speed_is_of_this_machine() -> None:
    found = speed(mlp([1000, 1000, 1]), 1e3)
    assert found.gflops == round((4e6 + 6e3) * 1e3 / 1e9, 3)
    assert found.threads == len(os.sched_getaffinity(0))
    assert found.peak > 0.1 and peak() > 0.1
