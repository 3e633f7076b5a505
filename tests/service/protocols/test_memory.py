"""No request takes much more memory than its body, in any dialect, whatever it holds.

Python counts its objects (`tracemalloc`), so that a slow machine changes nothing.
"""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from service import create_app
from service.settings import Settings

LIMIT = 1 << 20
#: Copies of the largest body that a request may need beside itself.
COPIES = 8
V1, V2 = "/v1/models/people", "/v2/models/people/infer"
X1, X2 = "/v1/models/xor", "/v2/models/xor/infer"


def keys(n: int = 90_000) -> bytes:
    return b"{" + b",".join(b'"%x":0' % i for i in range(n)) + b"}"


#: Path, what a body begins with, what it repeats, and what it ends with.
BODIES: dict[str, tuple[str, bytes, bytes, bytes]] = {
    "split data": ("/invocations", b'{"dataframe_split":{"data":[', b"0,", b"0]}}"),
    "split rows": ("/invocations", b'{"dataframe_split":{"data":[', b"[0],", b"[]]}}"),
    "split a wide row": (
        "/invocations",
        b'{"dataframe_split":{"data":[[',
        b"0,",
        b"0]]}}",
    ),
    "split columns": (
        "/invocations",
        b'{"dataframe_split":{"data":[],"columns":[',
        b'"ab",',
        b'""]}}',
    ),
    "records": ("/invocations", b'{"dataframe_records":[', b"{},", b"{}]}"),
    "NaN and quotes": ("/invocations", b"NaN", b'"', b""),
    "NaN and empty strings": ("/invocations", b'{"inputs":[NaN,', b'"",', b'""]}'),
    "only NaN": (f"{V1}:predict", b'{"instances":[', b"NaN,", b"NaN]}"),
    "CSV lines": ("csv", b"", b"0\n", b""),
    "CSV commas": ("csv", b"", b",", b""),
    "CSV quotes": ("csv", b"", b'"",', b""),
    "CSV of a wide letter": ("csv", "\U0001f600".encode(), b"a", b""),
    "examples of objects": (f"{V1}:classify", b'{"examples":[', b"{},", b"{}]}"),
    "examples of numbers": (f"{V1}:classify", b'{"examples":[', b"0,", b"0]}"),
    "examples with context": (
        f"{V1}:classify",
        b'{"context":{"income":1,"home":"a","member":true,"since":null},"examples":[',
        b"{},",
        b"{}]}",
    ),
    "base64": (f"{V1}:predict", b'{"instances":[', b'{"b64":""},', b"0]}"),
    "rows of a table": (f"{V1}:predict", b'{"instances":[', b"[],", b"[]]}"),
    "a row of a tensor": (
        "/v1/models/digits:predict",
        b'{"instances":[[',
        b"0,",
        b"0]]}",
    ),
    "rows of a tensor": ("/v1/models/digits:predict", b'{"instances":[', b"0,", b"0]}"),
    "named rows": ("/v1/models/digits:predict", b'{"instances":[', b'{"x":0},', b"0]}"),
    "a column": (f"{X1}:predict", b'{"inputs":{"x1":[', b"0.5,", b'1],"x2":[1]}}'),
    "a column of lists": (f"{X1}:predict", b'{"inputs":{"x1":[[', b"5,", b"1]]}}"),
    "a column of texts": (f"{V1}:predict", b'{"inputs":{"home":[', b'"",', b'""]}}'),
    "explanations": (f"{X1}:explain", b'{"instances":[', b"[0,1],", b"[0,1]]}"),
    "V2 inputs": (V2, b'{"inputs":[', b"{},", b"{}]}"),
    "V2 whole inputs": (
        V2,
        b'{"inputs":[',
        b'{"name":"","shape":[],"datatype":"","data":[]},',
        b"{}]}",
    ),
    "V2 outputs": (V2, b'{"inputs":[],"outputs":[', b'{"name":""},', b"{}]}"),
    "V2 shape": (
        X2,
        b'{"inputs":[{"name":"x1","datatype":"FP64","data":[],"shape":[',
        b"9999,",
        b"1]}]}",
    ),
    "V2 numbers": (
        X2,
        b'{"inputs":[{"name":"x1","datatype":"FP64","shape":[400000],"data":[',
        b"0.5,",
        b"1]}]}",
    ),
    "V2 texts": (
        V2,
        b'{"inputs":[{"name":"home","datatype":"BYTES","shape":[340000],"data":[',
        b'"",',
        b'""]}]}',
    ),
    "V2 tensor": (
        "/v2/models/digits/infer",
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[9999,64],"data":[',
        b"0,",
        b"1]}]}",
    ),
    "keys": (f"{X1}:predict", b"", b"", keys()),
    "keys of an invocation": ("/invocations", b"", b"", keys()),
    "keys of parameters": (V2, b'{"inputs":[],"parameters":', b"", keys() + b"}"),
    "keys of params": ("/invocations", b'{"params":', b"", keys() + b"}"),
    "keys of inputs": (f"{X1}:predict", b'{"inputs":', b"", keys() + b"}"),
    "keys of a row": (f"{X1}:predict", b'{"instances":[', b"", keys() + b"]}"),
    "keys of a context": (
        f"{V1}:classify",
        b'{"examples":[{}],"context":',
        b"",
        keys() + b"}",
    ),
}


@pytest.fixture(scope="module")
def app(served: Path) -> Flask:
    """An application whose largest body is a mebibyte."""
    limits = {"max_body_bytes": LIMIT, "max_rows": 1_000}
    return create_app(Settings(store=str(served), default_model="people", **limits))


@pytest.fixture(scope="module", autouse=True)
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def filled(begin: bytes, item: bytes, end: bytes) -> bytes:
    n = (LIMIT - len(begin) - len(end)) // len(item) if item else 0
    return begin + item * n + end


def peak(app: Flask, path: str, body: bytes) -> tuple[int, int]:
    """Return how many bytes a request took at most, and its status."""
    headers = {"Content-Encoding": "gzip"}
    if path == "csv":
        path, headers["Content-Type"] = "/invocations", "text/csv"
    elif path == "/invocations":
        headers["Content-Type"] = "application/json"
    packed, client = gzip.compress(body), app.test_client()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    status = client.post(path, data=packed, headers=headers).status_code
    return tracemalloc.get_traced_memory()[1] - before, status


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_needs_little_memory(app: Flask, name: str) -> None:
    path, *parts = BODIES[name]
    found, status = peak(app, path, filled(*parts))
    assert status == 400
    assert found < COPIES * LIMIT


ITEMS_OF_A_GRAMMAR = (
    rb'0 0.5 [] {} "" [0,1] {"a":0} "\"" null NaN [[]] {"b64":""} true'.split()
)
ITEMS = st.sampled_from(ITEMS_OF_A_GRAMMAR)
OPENINGS = st.sampled_from(sorted({parts[:2] for parts in BODIES.values()}))


def closing_of(begin: bytes) -> bytes:
    """Return the brackets that close what begins a body."""
    opened = begin.translate(None, bytes(set(range(256)) - set(b"[{")))
    return opened.translate(bytes.maketrans(b"[{", b"]}"))[::-1]


@settings(deadline=None, max_examples=25)
@given(OPENINGS, st.lists(ITEMS, min_size=1, max_size=3))
def test_no_body_of_a_grammar_needs_more(
    app: Flask, opening: tuple[str, bytes], items: list[bytes]
) -> None:
    path, begin = opening
    body = filled(begin, b",".join(items) + b",", items[0] + closing_of(begin))
    found, status = peak(app, path, body)
    assert status < 500
    assert found < COPIES * LIMIT


def test_many_good_rows_need_little_too(app: Flask) -> None:
    rows = b",".join([b"[" + b"0.125," * 63 + b"0.125]"] * 900)
    found, status = peak(
        app, "/v1/models/digits:predict", b'{"instances":[' + rows + b"]}"
    )
    assert status == 200
    assert found < COPIES * LIMIT
