"""Strict JSON, with error messages in JSON's terms."""

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
    """Decode JSON. Raises InvalidInput for text that is not JSON, or too nested.

    The caller handles msgspec's ValidationError, since it knows the columns.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        raise InvalidInput(_reason(error, raw)) from None
    except UnicodeDecodeError:
        raise InvalidInput("not valid JSON: the text is not UTF-8") from None
    except RecursionError:
        raise InvalidInput("the JSON is nested too deeply") from None


def _reason(error: msgspec.DecodeError, raw: Json) -> str:
    reason = str(error).removeprefix("JSON is malformed: ")
    at = re.search(r"\(byte (\d+)\)$", reason)
    if at and bytes(memoryview(raw)[int(at[1]) :][:8]) == b"Infinity":
        return f"expected a finite number, found Infinity {at[0]}"
    return f"not valid JSON: {reason}"


def located(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the message of an error, and its path, such as `[3].age`."""
    # Split at " - at `$" and not at " - at ", which a name may contain.
    what, _, path = str(error).partition(" - at `$")
    return what, path.removesuffix("`")


def plain(error: msgspec.ValidationError) -> str:
    """Return the message of an error in JSON's terms."""
    what = located(error)[0]

    def words(match: re.Match[str]) -> str:
        names = [part.strip() for part in match[1].split("|")]
        return " or ".join(_WORDS.get(name, name) for name in names)

    # For a fraction msgspec reports that it expected an int.
    what = what.replace("Expected `int", "Expected `a whole number")
    what = re.sub(r"`([^`]*)`", words, what)
    return what[:1].lower() + what[1:]


def opening(raw: Json) -> str:
    """Return up to three opening brackets of a JSON text: `[[`, `[{`, …"""
    match = _OPENING.match(memoryview(raw))
    return match[0].translate(None, b" \t\r\n").decode() if match else ""
