"""Find the tests that start a process, a thread or a signal.

A test is one of them if its own code, its fixtures or a helper of the tests names
something that does so, or something of a product module that does. Nobody has to set
the mark `processes` by hand, so it cannot be forgotten.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

TESTS = Path(__file__).parent
#: What starts a process, a thread or a signal, as it stands in a source.
STARTS = re.compile(
    r"\bsubprocess\b|\bPopen\b|\bThread(PoolExecutor)?\(|\bmultiprocessing\b"
    r"|\bos\.(fork|kill|exec\w+)\(|\bsignal\.(signal|raise_signal|pthread_kill)\b"
)
PRODUCT = ("models", "trainer", "service")


@cache
def starts(function: Any) -> bool:
    """Tell whether a function or a class of the tests leads to such a start."""
    seen: set[Any] = set()
    waiting = [function]
    while waiting:
        thing = waiting.pop()
        if thing in seen:
            continue
        seen.add(thing)
        if STARTS.search(_source(thing)):
            return True
        if _in_tests(thing):
            waiting += _named(thing)
    return False


def _named(thing: Any) -> Iterator[Any]:
    """Yield what the code of a function, or of a class's methods, names."""
    for function in vars(thing).values() if inspect.isclass(thing) else [thing]:
        function = inspect.unwrap(getattr(function, "__func__", function))
        if isinstance(function, FunctionType):
            for name in _names(function.__code__):
                value = function.__globals__.get(name)
                if inspect.isclass(value) or inspect.isfunction(value):
                    yield inspect.unwrap(value)
                elif isinstance(value, ModuleType):
                    yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _in_tests(thing: Any) -> bool:
    if isinstance(thing, ModuleType):
        return False
    path = getattr(sys.modules.get(thing.__module__), "__file__", None)
    return path is not None and TESTS in Path(path).parents


@cache
def _source(thing: Any) -> str:
    """Return what decides: the thing itself in tests, the whole module elsewhere."""
    if _in_tests(thing):
        return inspect.getsource(thing)
    module = thing if isinstance(thing, ModuleType) else sys.modules[thing.__module__]
    if module.__name__.partition(".")[0] not in PRODUCT:
        return ""
    return Path(os.fspath(module.__file__ or os.devnull)).read_text("utf-8")
