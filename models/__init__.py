"""What a model is: everything that training and serving must agree on."""

import importlib
from typing import Any

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import `load` when it is first used: the service needs it not.

    Raises AttributeError for another name.
    """
    if name not in __all__:
        raise AttributeError(f"module 'models' has no attribute '{name}'")
    return getattr(importlib.import_module("models.loading"), name)
