"""The contract against the server that publishes it, by example and Schemathesis."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from flask import Flask
from flask.testing import FlaskClient

from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store
from service import create_app
from service.settings import Settings
from tests.private import write_secret

HERE = Path(__file__).parent
#: Of each operation; `make fuzz` has more, of more models and operations.
EXAMPLES = os.environ.get("EXAMPLES", "")
MODELS = ("people", "half_plus_two", "digits") if EXAMPLES else ("half_plus_two",)


@pytest.fixture
def index(client: FlaskClient) -> Any:
    return client.get("/openapi.json").get_json()


@pytest.fixture
def contracts(client: FlaskClient, index: Any) -> dict[str, Any]:
    """The document of each model, found by the index."""
    found = {name: client.get(path) for name, path in index["x-models"].items()}
    assert {"people", "xor", "digits"} <= set(found)
    return {name: reply.get_json() for name, reply in found.items()}


def operations(contract: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def schemas(value: Any) -> Iterator[Any]:
    """Every schema in a document, wherever it stands."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("schema", "items", "not") or key.startswith("$defs"):
                yield each
            if key in ("properties", "schemas"):
                yield from each.values()
            if key in ("anyOf", "oneOf", "allOf", "prefixItems"):
                yield from each
            yield from schemas(each)
    elif isinstance(value, list):
        for each in value:
            yield from schemas(each)


def test_every_route_is_in_the_index_and_in_a_models_document(
    app: Flask, index: Any, contracts: dict[str, Any]
) -> None:
    in_index = {(path, method) for path, method, _ in operations(index)}
    in_one = {
        (path, method)
        for contract in contracts.values()
        for path, method, _ in operations(contract)
    }
    for rule in app.url_map.iter_rules():
        if not rule.route.listed:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        regress = path.endswith(":regress")
        named = path.replace("{name}", "half_plus_two" if regress else "xor")
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            assert (path, method.lower()) in in_index
            assert (named, method.lower()) in in_one or "{label}" in path


def test_each_path_leads_somewhere(
    client: FlaskClient, contracts: dict[str, Any]
) -> None:
    for path, method, _ in operations(contracts["xor"]):
        path = path.replace("{version}", "1").replace("{label}", "production")
        if method == "get" and "reports" not in path and "{name}" not in path:
            assert client.get(path).status_code == 200, path


def test_no_schema_is_a_boolean(index: Any, contracts: dict[str, Any]) -> None:
    """Valid, but they end openapi-python-client and openapi-pydantic."""
    for contract in (index, *contracts.values()):
        found = list(schemas(contract))
        assert len(found) > 20 and all(isinstance(each, dict) for each in found)


def test_the_index_has_a_line_for_each_model(index: Any, client: FlaskClient) -> None:
    names = len(index["x-models"])
    rest = {key: value for key, value in index.items() if key != "x-models"}
    assert len(json.dumps(index["x-models"])) < 60 * names
    assert not any(name in json.dumps(rest) for name in ("half_plus_two", "digits"))
    assert client.get("/openapi/nope.json").status_code == 404


def test_every_example_is_answered_and_fits_its_schema(
    client: FlaskClient, contracts: dict[str, Any]
) -> None:
    examples = 0
    named = {
        path: (method, operation, contract["components"])
        for contract in contracts.values()
        for path, method, operation in operations(contract)
    }
    for path, (method, operation, components) in named.items():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            asked = media["schema"] | {"components": components}
            if "example" not in media or path.endswith("load"):
                continue
            jsonschema.Draft202012Validator(asked).validate(media["example"])
            path = path.replace("{version}", "1").replace("{label}", "production")
            reply = client.open(path, method=method, json=media["example"])
            assert reply.status_code == 200, (path, reply.get_json())
            examples += 1
    assert examples > 20


def test_names_kinds_and_ranges_are_the_models_own(contracts: dict[str, Any]) -> None:
    contract = contracts["people"]
    rows = contract["components"]["schemas"]["Rows"]["anyOf"]
    by_name, in_order = (form["items"] for form in rows)
    columns = ["income", "home", "member", "since", "children"]
    assert sorted(by_name["properties"]) == sorted(columns)
    assert set(by_name["required"]) == {"member", "since", "children"}
    assert len(in_order["prefixItems"]) == 5
    assert "from 0 to 3" in by_name["properties"]["children"]["description"]
    home = by_name["properties"]["home"]
    assert set(home["examples"]) == {"owner", "rent", "parents"}
    digits = contracts["digits"]["components"]["schemas"]
    image = digits["Rows"]["anyOf"][0]["items"]
    assert image["minItems"] == image["items"]["maxItems"] == 8
    (classify,) = (
        operation["responses"]["200"]["content"]["application/json"]["schema"]
        for path, _, operation in operations(contract)
        if path == "/v1/models/people:predict"
    )
    each = classify["properties"]["predictions"]["items"]["properties"]
    assert each["label"] == {"enum": ["bad", "good"]}


def test_versions_that_take_other_rows_are_left_out(
    served: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)

    def versions() -> Any:
        client = create_app(Settings(store=str(tmp_path))).test_client()
        paths = client.get("/openapi/m.json").get_json()["paths"]
        predict = paths["/v1/models/m/versions/{version}:predict"]["post"]
        return predict["parameters"][0]["schema"]["enum"]

    for name in ("xor", "xor", "half_plus_two"):
        store.publish("m", {ARTEFACT: Store(served).path(name, 1).read_bytes()})
    assert versions() == ["3"]
    store.promote("m", 1)
    assert versions() == ["1", "2"]


def test_without_a_model_it_is_still_one(tmp_path: Path) -> None:
    client = create_app(Settings(store=str(tmp_path))).test_client()
    assert "/v1/models" in client.get("/openapi.json").get_json()["paths"]


# By its schema an image is drawn slowly: 25 of each operation take minutes.
@pytest.mark.fuzz
@pytest.mark.timeout(1200)
@pytest.mark.e2e
@pytest.mark.parametrize("model", MODELS)
def test_schemathesis_finds_nothing(
    start: Callable[..., Any], served: Path, tmp_path: Path, model: str
) -> None:
    """All its checks on a real server that asks for tokens."""
    shutil.copytree(served / model, tmp_path / "store" / model)
    tokens = tmp_path / "tokens"
    write_secret(tokens, "asking-0123456789")
    # Of 10,000 rows one too many would be too many bytes as well, another refusal.
    server = start(tmp_path / "store", token_file=tokens, max_rows=100)
    command = [Path(sys.executable).parent / "schemathesis", "--config-file"]
    command += [HERE / "schemathesis.toml", "run", "--checks", "all", "--no-color"]
    command += ["-n", EXAMPLES or "3", "--suppress-health-check", "all"]
    command += ["-H", f"Authorization: {server.admin['Authorization']}"]
    # What is unloaded has no contract.
    left_out = "/unload$" if EXAMPLES else "/unload$|/versions/|/labels/"
    command += ["--exclude-path-regex", left_out]
    command += [f"http://127.0.0.1:{server.port}/openapi/{model}.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    # Bodies are quoted whole, each in one line.
    found = "\n".join(line[:500] for line in done.stdout.splitlines()[-100:])
    assert done.returncode == 0, found + done.stderr
    assert [line for line in server.log() if line["level"] == "error"] == []
