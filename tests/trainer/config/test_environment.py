"""The table of variables is the one that the code reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainer.config import environment
from trainer.config.environment import VARIABLES

TRAINER = Path(environment.__file__).parents[1]


def test_every_variable_in_the_code_is_in_the_table() -> None:
    named = {
        variable
        for path in TRAINER.rglob("*.py")
        for variable in re.findall(
            r"\b(?:GLASSNET|MLFLOW)_[A-Z_]+\b", path.read_text("utf-8")
        )
    }
    # The service writes that folder; the trainer is given its path.
    assert named - {"GLASSNET_PAYLOAD_FOLDER"} == set(VARIABLES)
    assert all(VARIABLES.values())


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.STORE, raising=False)
    assert environment.read(environment.STORE) is None
    monkeypatch.setenv(environment.STORE, "")
    assert environment.read(environment.STORE) is None
    monkeypatch.setenv(environment.STORE, "/models")
    assert environment.read(environment.STORE) == "/models"
