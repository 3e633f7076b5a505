"""Strict JSON, and its faults in JSON's own words."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec

from models.errors import InvalidInput

Json: TypeAlias = bytes | msgspec.Raw

_OPENING = re.compile(rb"(?:[ \t\r\n]*\[){0,3}(?:[ \t\r\n]*\{)?")
_WORDS = {
    "float": "a number",
    "int": "a number",
    "bool": "true or false",
    "str": "a string",
    "array": "a list",
    "object": "an object",
}


def parse(decoder: msgspec.json.Decoder[Any], raw: Json) -> Any:
    """Decode JSON; ValidationError is left to the caller, who knows the columns.

    Raises InvalidInput for what is not JSON, or is nested without reason.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        raise InvalidInput(f"not valid JSON: {_reason(error)}") from None
    except UnicodeDecodeError:
        raise InvalidInput("not valid JSON: the text is not UTF-8") from None
    except RecursionError:
        raise InvalidInput("the JSON is nested too deeply") from None


def _reason(error: msgspec.DecodeError) -> str:
    return str(error).removeprefix("JSON is malformed: ")


def located(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return what msgspec found, and where, such as `[3].age`."""
    # The whole of its " - at `$" and not only " - at ", which a name may hold.
    what, _, path = str(error).partition(" - at `$")
    return what, path.removesuffix("`")


def plain(error: msgspec.ValidationError) -> str:
    """Return what msgspec expected and found, in JSON's words."""
    what = located(error)[0]

    def words(match: re.Match[str]) -> str:
        names = [part.strip() for part in match[1].split("|")]
        return " or ".join(_WORDS.get(name, name) for name in names)

    # A fraction is a number too: where one was found, another was expected.
    what = what.replace("Expected `int", "Expected `a whole number")
    what = re.sub(r"`([^`]*)`", words, what)
    return what[:1].lower() + what[1:]


def opening(raw: Json) -> str:
    """Return the brackets a JSON text opens with, three at most: `[[`, `[{`, …"""
    found = _OPENING.match(memoryview(raw))
    return found[0].translate(None, b" \t\r\n").decode() if found else ""
