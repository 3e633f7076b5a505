"""What a test needs that is not there: a failure in CI, which has everything."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """Fail in CI, which has everything; elsewhere skip, and say what is lacking."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def absent(name: str, package: str) -> NoReturn:
    """Say how to have a program that is not here."""
    lacking(f"no {name} here: apt-get install {package}")
