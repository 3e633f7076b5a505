"""The table of settings: keys, help and choices."""

from __future__ import annotations

from typing import get_args

import pytest

from models.nn.architectures import Architecture
from models.nn.layers.activations import Function
from trainer.config.schema import Setting, settings
from trainer.config.thresholds import Guard
from trainer.optimization.optimizers import OPTIMIZERS
from trainer.optimization.schedules import SCHEDULES

KEYS = [setting.key for setting in settings()]


def test_the_table_names_what_the_design_promises() -> None:
    promised = "network.hidden train.optimizer train.batch_size train.learning_rate"
    promised += " data.validation_fraction runtime.threads seed"
    assert set(promised.split()) <= set(KEYS)
    assert len(set(KEYS)) == len(KEYS)


@pytest.mark.parametrize("setting", list(settings()), ids=lambda setting: setting.key)
def test_every_setting_has_help(setting: Setting) -> None:
    assert setting.help.endswith(".") and len(setting.help) > 10


def test_words_to_choose_from_are_in_the_table() -> None:
    choices = {s.key: s.choices for s in settings() if s.choices}
    assert {key: set(words) for key, words in choices.items()} == {
        "train.optimizer": set(OPTIMIZERS),
        "train.schedule": set(SCHEDULES),
        "train.regularization": set(SCHEDULES),
        "network.architecture": set(get_args(Architecture)),
        "network.activation": set(get_args(Function)),
        "train.choose_by": {"loss", "error"},
        "train.choose_epoch": {"alone", "together"},
        "preset": {"fast", "default", "best"},
        "train.class_weights": {"balanced"},
        "data.split": {"random", "grouped", "time"},
        "data.columns.NAME.kind": {"numeric", "boolean", "datetime", "categorical"},
        "data.columns.NAME.monotone": {"up", "down", "free"},
        "data.partitions": {"members"},
        "data.findings": {"warn", "stop"},
        "guards.stop": set(get_args(Guard)),
        "guards.refuse": set(get_args(Guard)),
    }
