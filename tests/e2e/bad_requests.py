"""Requests that are no good, over all routes.

What Hypothesis and Schemathesis draw is a stock, of which plain Python makes the
requests. Each follows from its number, so that one that failed can be made again.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service import create_app
from service.settings import Settings

LENGTH = "Inference-Header-Content-Length"
BOMB = gzip.compress(b'{"instances": [' + b" " * (40 << 20), 9)
TERMS = (
    "instances inputs examples context outputs parameters name shape datatype data "
    "binary_data_size binary_data b64 x dataframe_split dataframe_records columns "
    "target activations income home member since children x1 classification"
)
WORDS = TERMS.split()
ODD = [0, 1, -1, 2**31, 2**63, 1e308, "", "FP32", "BYTES", "2024-01-01"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(ODD)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = (
    f"Content-Type Content-Encoding Accept Accept-Encoding {LENGTH} X-Request-Id "
    "traceparent Authorization Expect Connection"
).split()
VALUES = (
    "application/json text/csv gzip deflate identity br 0 1 -1 10 */* keep-alive close "
    f"00-{'a' * 32}-{'b' * 16}-01 100-continue {'9' * 30} {'x' * 300}"
).split()
VALUES += ["", "Bearer x", "text/csv; header=present"]
METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW"]
#: What is wrong with a body, and how many of a hundred requests have that.
BODIES = {
    "any JSON": 11,
    "one place changed": 25,
    "bytes": 6,
    "nesting": 6,
    "gzip bomb": 6,
    "cut deflate": 6,
    "lengths of tensors": 15,
    "Schemathesis": 10,
}
#: What is wrong beside it.
KINDS = BODIES | {
    "any route": 5,
    "wrong length": 3,
    "cut off": 3,
    "aborted": 2,
    "slow": 2,
}
#: A hundred kinds: the request of a number has the one in its place.
ORDER = random.Random(0).sample([*KINDS], 100, counts=[*KINDS.values()])


class Case(NamedTuple):
    """What a request asks for, however it is framed."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Sent(NamedTuple):
    """A request: its bytes, and whether they are one by the rules of HTTP."""

    kind: str
    method: str
    raw: bytes
    whole: bool = True


class Stock(NamedTuple):
    """What requests are made of: good ones, values by Hypothesis, Schemathesis' own."""

    good: list[tuple[str, Any]]
    paths: list[str]
    values: list[Any]
    cases: list[Case]


def stock_of(store: Path, size: int) -> Stock:
    """Return the ingredients of `n` requests to the models of a store."""
    client = create_app(Settings(store=str(store))).test_client()
    index: Any = client.get("/openapi.json").get_json()
    documents: list[Any] = [
        client.get(path).get_json() for path in index["x-models"].values()
    ]
    contract: Any = {**index, "paths": {}, "components": {"schemas": {}}}
    for document in documents:
        contract["paths"] |= document["paths"]
        contract["components"]["schemas"] |= document["components"]["schemas"]
    paths = {p: p.format(version=1, label="production") for p in contract["paths"]}
    good = [
        (paths[path], media["example"])
        for path, methods in contract["paths"].items()
        for operation in methods.values()
        for media in operation.get("requestBody", {}).get("content", {}).values()
        if "example" in media
    ]
    strange = [f"/{text}" for text in drawn(st.text(max_size=9), 50)]
    values = drawn(JSON, min(1000, 50 + size // 50))
    return Stock(good, [*paths.values(), *strange], values, contracted(contract, size))


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return examples of a strategy, the same each time."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(value: Any) -> None:
        found.append(value)

    keep()
    return found


def contracted(contract: Any, size: int) -> list[Case]:
    """Return requests that the contract allows, and others that it forbids."""
    operations = schemathesis.openapi.from_dict(contract).get_all_operations()
    strategies = [
        operation.ok().as_strategy(generation_mode=mode)
        for operation in operations
        for mode in schemathesis.GenerationMode
    ]
    cases = []
    for case in drawn(st.one_of(strategies), min(400, 20 + size // 100)):
        asked = requests.Request(**case.as_transport_kwargs(base_url="http://x"))
        request = asked.prepare()
        body = request.body or b""
        framing = ("Content-Length", "Transfer-Encoding", "Connection")
        headers = {k: v for k, v in request.headers.items() if k not in framing}
        raw = body if isinstance(body, bytes) else body.encode()
        cases.append(Case(str(request.method), request.path_url, headers, raw))
    return cases


def changed(document: Any, value: Any, pick: random.Random) -> Any:
    """Return a copy of a document with something else in one of its places."""
    if not isinstance(document, (dict, list)) or not document or pick.random() < 0.1:
        return value
    keys = list(document) if isinstance(document, dict) else range(len(document))
    key = pick.choice(list(keys))
    copy = document.copy()
    copy[key] = changed(document[key], value, pick)
    return copy


def tensors(pick: random.Random, value: Any) -> tuple[bytes, dict[str, str]]:
    """Return a body in bytes that may lie about each of its lengths."""
    n = pick.choice([0, 1, 2, 3, 1000, 2**40])
    size = pick.choice([0, 1, 256, 512, 2**31, 2**62, -1])
    one = {"name": "x", "datatype": pick.choice(["FP32", "BYTES", "BOOL", "FP16", "?"])}
    one |= {"shape": pick.choice([[n, 8, 8], [n, 64], [n], [], [-1, 64], value])}
    one["parameters"] = {"binary_data_size": pick.choice([size, value])}
    head = json.dumps({"inputs": [one] * pick.choice([0, 1, 1, 1, 2])}).encode()
    told = pick.choice([len(head)] * 4 + [0, len(head) - 1, len(head) + 300, 2**62, -5])
    return head + pick.randbytes(pick.choice([0, 4, 256, 512, 999])), {
        LENGTH: str(told)
    }


def contents(
    kind: str, good: Any, pick: random.Random, value: Any
) -> tuple[bytes, dict[str, str]]:
    """Return a body, and the headers that belong to it."""
    match kind:
        case "any JSON":
            return json.dumps(value).encode(), {}
        case "bytes":
            return pick.randbytes(pick.randrange(64)), {}
        case "nesting":
            return b'{"instances": ' + b"[" * pick.randint(1, 100_000), {}
        case "gzip bomb":
            return BOMB, {"Content-Encoding": "gzip"}
        case "cut deflate":
            raw = zlib.compress(json.dumps(good).encode())[: pick.randrange(100)]
            raw += pick.randbytes(pick.randrange(4))
            return raw, {"Content-Encoding": "deflate"}
        case "lengths of tensors":
            return tensors(pick, value)
        case _:
            return json.dumps(changed(good, value, pick)).encode(), {}


def case(kind: str, pick: random.Random, stock: Stock) -> Case:
    """Return what a request with a body of a kind asks for."""
    if kind == "Schemathesis":
        return pick.choice(stock.cases)
    path, example = pick.choice(stock.good)
    body, own = contents(kind, example, pick, pick.choice(stock.values))
    names = pick.sample(NAMES, pick.randrange(4))
    return Case("POST", path, {name: pick.choice(VALUES) for name in names} | own, body)


def kind_of(number: int) -> str:
    """Return what is wrong with the request of a number."""
    return ORDER[number % 100]


def request(number: int, stock: Stock) -> Sent:
    """Return the request of a number, over any route, most close to a good one."""
    kind, pick = kind_of(number), random.Random(number)
    inner = kind if kind in BODIES else pick.choice([*BODIES])
    method, path, headers, body = case(inner, pick, stock)
    if kind == "any route":
        method, path = pick.choice(METHODS), pick.choice(stock.paths)
    whole = kind in BODIES or kind == "any route"
    headers = {"Host": "x", **headers}
    headers["Connection"] = pick.choice(["close", "keep-alive"]) if whole else "close"
    if kind == "wrong length":
        headers["Content-Length"] = str(len(body) + pick.randint(-20, 20))
    elif whole and pick.random() < 0.9:
        headers["Content-Length"] = str(len(body))
    else:
        headers["Transfer-Encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    target = "".join(c if "!" <= c <= "~" else "%25" for c in path)
    lines = [f"{method} {target} HTTP/1.1", *map(": ".join, headers.items())]
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
    if kind == "cut off" or (kind == "aborted" and pick.random() < 0.5):
        raw = raw[: pick.randrange(len(raw))]
    return Sent(kind, method, raw, whole)
