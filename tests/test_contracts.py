"""What this code assumes of its libraries beyond their documentation.

One test per library names each assumption, so that an upgrade fails here, in one
readable place. The versions are bounded in pyproject.toml.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.http import RequestParser, errors
from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker as BaseWorker
from prometheus_client import CollectorRegistry, Counter, mmap_dict
from prometheus_client.metrics import MetricWrapperBase
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Map, Rule

from service.server.shared_memory import WORKER_BYTES

ROOT = Path(__file__).resolve().parent.parent
#: The only modules that use what a library does not document.
MODULES = {
    "gunicorn": {"service/server/worker.py"},
    "prometheus_client": {"service/monitoring/metrics.py"},
    "werkzeug": {"service/app.py"},
    "msgspec": {
        "models/codecs/json.py",
        # These must not import NumPy, which `models.codecs` does.
        "service/settings.py",
        "trainer/config/loading.py",
    },
}


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(thing: Any) -> str:
    return inspect.getsource(thing)


def test_gunicorn() -> None:
    """`Worker` and its parser (service/server/http.py, worker.py)."""
    # The base of all workers: what `run` may use.
    worker = BaseWorker(1, 2, [], None, 30, Config(), None)
    found = worker.ppid, worker.sockets, worker.alive, worker.nr
    assert found == (2, [], True, 0)
    assert worker.max_requests > 0
    worker.notify()
    worker.tmp.close()
    start = source(BaseWorker.init_process)
    assert "self.PIPE = os.pipe()" in start and start.rstrip().endswith("self.run()")
    assert "signal.set_wakeup_fd(self.PIPE[1])" in source(BaseWorker.init_signals)
    assert "self.wsgi = " in source(BaseWorker.load_wsgi)
    # The parser reads from memory.
    config = Config()
    parser = RequestParser(config, iter([b"GET /a?b HTTP/1.1\r\nA-B: c\r\n\r\n"]), "")
    request = next(parser)
    assert (request.method, request.path, request.query) == ("GET", "/a", "b")
    assert request.version == (1, 1)
    assert (request.headers, request.scheme) == ([("A-B", "c")], "http")
    assert not request.should_close()
    assert request.body.read() == b""
    with pytest.raises(errors.NoMoreData):
        next(RequestParser(config, iter([b"GET / HT"]), ""))
    # A setting is searched for by name at each access, unless it is in __dict__.
    assert "settings" in source(Config.__getattr__)
    assert all(hasattr(setting, "get") for setting in config.settings.values())
    assert parameters(ssl_context) == ["conf"]
    # The master's handlers are there before `when_ready` (service/server/drain.py).
    master = source(Arbiter.start)
    assert master.index("self.init_signals()") < master.index(
        "self.cfg.when_ready(self)"
    )


def test_prometheus_client() -> None:
    """The list of metrics for the reference, and the size of the shared files."""
    counter = Counter("a_b", "help", ("one", "two"), registry=CollectorRegistry())
    assert isinstance(counter, MetricWrapperBase)
    assert (counter._name, counter._labelnames) == ("a_b", ("one", "two"))
    (family,) = counter.describe()
    assert (family.name, family.type, family.documentation) == (
        "a_b",
        "counter",
        "help",
    )
    # service/server/shared_memory.py: a worker's files begin far below WORKER_BYTES.
    assert mmap_dict._INITIAL_MMAP_SIZE <= WORKER_BYTES // 16


def test_werkzeug() -> None:
    """Rules are not compiled into builders of URLs (service/app.py)."""
    assert parameters(Rule._compile_builder) == ["self", "append_unknown"]
    assert "self._compile_builder(" in source(Rule.compile)
    rule = Rule("/a", endpoint="a", methods=["GET"])
    map_ = Map([rule])
    # An error of a wrong method knows those that are right, and so does no other.
    with pytest.raises(MethodNotAllowed) as error:
        map_.bind("x").match("/a", method="POST")
    assert sorted(error.value.valid_methods or ()) == ["GET", "HEAD"]


class Row(msgspec.Struct):
    age: int
    score: Annotated[float, msgspec.Meta(ge=0)] = 0.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'[{"age": "x"}]', "Expected `int`, got `str` - at `$[0].age`"),
        (
            b'[{"age": 1, "score": "x"}]',
            "Expected `float`, got `str` - at `$[0].score`",
        ),
        (b'[{"age": 1, "score": -1}]', "Expected `float` >= 0.0 - at `$[0].score`"),
        (b"[{}]", "Object missing required field `age` - at `$[0]`"),
        (b"[1]", "Expected `object`, got `int` - at `$[0]`"),
        (b"{}", "Expected `array`, got `object`"),
        (b"[", "Input data was truncated"),
        (b"x", "JSON is malformed: invalid character (byte 0)"),
    ],
)
def test_msgspec(text: bytes, said: str) -> None:
    """The sentences that `models/codecs/json.py` puts into JSON's own words."""
    with pytest.raises(msgspec.DecodeError) as error:
        msgspec.json.decode(text, type=list[Row])
    assert str(error.value) == said


# Where the libraries' private names are used, as far as a syntax tree can tell.

PRODUCT = [
    path
    for folder in ("models", "trainer", "service", "docs", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
]
#: Private by its underscore alone: documented by Python.
PUBLIC = {"_exit", "_replace", "_asdict", "_fields", "_fields_"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def our_names(trees: list[ast.Module]) -> set[str]:
    """Return every name that this code itself defines, or sets on `self`."""
    names: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_private_names_of_libraries_are_used_where_their_contract_says() -> None:
    trees = {path: ast.parse(path.read_text("utf-8")) for path in PRODUCT}
    ours = our_names(list(trees.values())) | PUBLIC
    allowed = {module for modules in MODULES.values() for module in modules}
    for path, tree in trees.items():
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                known = node.attr in ours or name in allowed
                assert known, f"{name}, line {node.lineno}: {node.attr}"
            if isinstance(node, ast.ImportFrom) and node.module:
                parts = [*node.module.split("."), *(a.name for a in node.names)]
                top = parts[0] in MODULES
                assert not (top and any(map(is_private, parts))), f"{name}: {parts}"


def test_the_end_of_msgspecs_sentences_is_read_where_its_contract_says() -> None:
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and str(node.value).startswith(" - at "):
                assert path.relative_to(ROOT).as_posix() in MODULES["msgspec"]


def overridden(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield library and name of each private member that a class overrides."""
    for cls in vars(module).values():
        if not isinstance(cls, type) or cls.__module__ != module.__name__:
            continue
        for base in cls.__mro__[1:]:
            library = base.__module__.partition(".")[0]
            if library in MODULES:
                for name in filter(is_private, vars(cls).keys() & vars(base).keys()):
                    if inspect.isfunction(vars(base)[name]):
                        yield library, name


def test_private_methods_are_overridden_where_their_contract_says() -> None:
    found = set()
    for path in (ROOT / "service").rglob("*.py"):
        if path.name in ("__init__.py", "gunicorn_conf.py"):
            continue
        name = path.relative_to(ROOT).as_posix()
        module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
        for library, member in overridden(module):
            assert name in MODULES[library], f"{name} overrides {library}'s {member}"
            found.add(member)
    assert found == {"_compile_builder"}
