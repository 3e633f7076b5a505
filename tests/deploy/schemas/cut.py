"""Cut a CRD down to the properties that a manifest uses, and close every object.

    python tests/deploy/schemas/cut.py CRD.yaml MANIFEST.yaml > KIND.json

A property that the CRD does not have stays away, and the manifest then fails; so does
one that the manifest comes to use later, until its schema is cut anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

KEPT = ("type", "enum", "pattern", "format", "minimum", "maximum", "anyOf", "oneOf")
KEPT += ("minItems", "maxItems", "minLength", "maxLength", "required")


def cut(schema: dict[str, Any], used: Any) -> dict[str, Any]:
    """The schema of those values alone; `used` is a list of them."""
    kept = {key: schema[key] for key in KEPT if key in schema}
    if "properties" in schema:
        mappings = [value for value in used if isinstance(value, dict)]
        names = {name for value in mappings for name in value}
        kept["properties"] = {
            name: cut(part, [value[name] for value in mappings if name in value])
            for name, part in sorted(schema["properties"].items())
            if name in names or name in schema.get("required", ())
        }
        kept["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        inner = [part for value in used for part in value.values()]
        kept["additionalProperties"] = cut(schema["additionalProperties"], inner)
    if "items" in schema:
        inner = [part for value in used for part in value]
        kept["items"] = cut(schema["items"], inner)
    return kept


def main() -> None:
    crd = yaml.safe_load(Path(sys.argv[1]).read_text())
    manifest = yaml.safe_load(Path(sys.argv[2]).read_text())
    version = manifest["apiVersion"].rpartition("/")[2]
    (schema,) = (
        entry["schema"]["openAPIV3Schema"]
        for entry in crd["spec"]["versions"]
        if entry["name"] == version and crd["spec"]["names"]["kind"] == manifest["kind"]
    )
    schema["properties"]["metadata"] = {"type": "object"}
    schema["properties"]["apiVersion"]["enum"] = [manifest["apiVersion"]]
    print(json.dumps(cut(schema, [manifest]), indent=1))


if __name__ == "__main__":
    main()
