"""`trainer export` without the package it needs; tests/interop has it with it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest


@pytest.mark.skipif(find_spec("onnx") is not None, reason="onnx is installed")
def test_a_package_that_is_missing_is_named(command: Callable[..., Any]) -> None:
    done = command("export", "people", code=2)
    assert done.exit_code == 2
    assert "pip install 'glassnet[onnx]'" in done.output
