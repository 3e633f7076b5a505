"""The tree of errors is the one that is drawn."""

from __future__ import annotations

import inspect
import re

import pytest

from models import errors
from models.errors import GlassnetError, nearest


def drawn() -> dict[str, str]:
    """Each error of the docstring's picture with its parent."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)([A-Z]\w+)(  |$)", line):
            depth, name = len(found[1]), found[2]
            above = [(d, n) for d, n in above if d < depth]
            parents[name] = above[-1][1] if above else "Exception"
            above.append((depth, name))
    return parents


def test_the_drawn_tree_is_the_real_one() -> None:
    real = {
        name: kind.__base__.__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception)
    }
    assert drawn() == real
    assert len(real) == 13


def test_every_error_says_what_it_is() -> None:
    for name in drawn():
        kind = getattr(errors, name)
        assert issubclass(kind, GlassnetError)
        assert kind.__doc__


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("productoin", ["candidate", "production"], "; did you mean 'production'?"),
        ("aeg", {"age": 1, "city": 2}, "; did you mean 'age'?"),
        ("zzz", ["age", "city"], ""),
        ("age", [], ""),
        ("", ["age"], ""),
    ],
)
def test_the_nearest_name_is_suggested(name: str, known: object, hint: str) -> None:
    assert nearest(name, known) == hint  # type: ignore[arg-type]
