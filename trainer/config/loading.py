"""Reads settings from a TOML file, from `--set key=value` and from options."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any

import msgspec

from models.errors import ConfigError, nearest
from trainer.config.schema import NAME, Config, settings

_COLUMN = re.compile(r"(data\.columns)\.(.+)\.(\w+)", re.DOTALL)


def load(
    file: Path | None, assignments: Iterable[str], options: dict[str, Any]
) -> Config:
    """Return the settings of a TOML file, of `key=value` texts and of options by key.

    A later source overrides an earlier one. Raises ConfigError for an unknown key or
    a value that does not fit.
    """
    known = {setting.key: setting for setting in settings()}
    values: dict[str, Any] = {}
    if file is not None:
        values |= _flatten(_read_toml(file), "", known.keys())
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, not '{text}'")
        values[key.strip()] = _parse_value(value.strip())
    values |= {key: value for key, value in options.items() if value is not None}
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = _path(key, known.keys())
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = value
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at ")
        key = path.strip("`").removeprefix("$.").replace("[...]", f".{NAME}")
        key = key.partition("[")[0]
        problem = problem[:1].lower() + problem[1:]
        if word := re.fullmatch(r"invalid enum value '(.*)'", problem, re.DOTALL):
            words = known[key].choices
            problem = f"expected {' or '.join(words)}, found '{word[1]}'"
            problem += nearest(word[1], words)
        elif key in known:
            problem += f"; for example --set '{key}={known[key].example}'"
        raise ConfigError(f"setting '{key}': {problem}") from None


def _path(key: str, known: Set[str]) -> tuple[str, ...]:
    """Return the sections and the name of a setting; the name of a column is one.

    Raises ConfigError if there is no such setting.
    """
    general = key
    if match := _COLUMN.fullmatch(key):
        general = f"{match[1]}.{NAME}.{match[3]}"
    if general not in known:
        hint = nearest(general, known).replace(NAME, match[2] if match else NAME)
        raise ConfigError(f"there is no setting '{key}'{hint}")
    if match is None:
        return tuple(key.split("."))
    return ("data", "columns", match[2], match[3])


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no such config file: {file}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None


def _flatten(
    tree: dict[str, Any], prefix: str, known: Set[str]
) -> Iterator[tuple[str, Any]]:
    """Yield settings by their dotted names; the value of one may be a table itself."""
    for key, value in tree.items():
        if isinstance(value, dict) and prefix + key not in known:
            yield from _flatten(value, f"{prefix}{key}.", known)
        else:
            yield prefix + key, value


def _parse_value(text: str) -> Any:
    """Return None for `null` and `none`, a TOML value as such, and other text as is."""
    if text in ("null", "none"):
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
