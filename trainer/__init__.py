"""From data to a published version; in Python, `Classifier` and `Regressor`."""

import importlib
from typing import Any

__all__ = ["Classifier", "Regressor"]


def __getattr__(name: str) -> Any:
    """Import the estimators when they are first used: commands need none of them.

    Raises AttributeError for another name.
    """
    if name not in __all__:
        raise AttributeError(f"module 'trainer' has no attribute '{name}'")
    return getattr(importlib.import_module("trainer.estimators.estimators"), name)
