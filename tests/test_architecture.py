"""The arrows between packages, and the shape of the code."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("models", "trainer", "service")
SOURCES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py")
)
#: What each package may import besides the standard library and itself.
ALLOWED = {
    "models": {"numpy", "msgspec", "obstore"},
    "trainer": {
        "models",
        "adbc_driver_postgresql",
        "numpy",
        "msgspec",
        "click",
        "cronsim",
        "jinja2",
        "markupsafe",
        "onnx",
        "polars",
        "prometheus_client",
        "ray",
        "rich",
        "threadpoolctl",
    },
    "service": {
        "simdjson",
        "opentelemetry",
        "polars",
        "models",
        "numpy",
        "msgspec",
        "click",
        "flask",
        "werkzeug",
        "gunicorn",
        "prometheus_client",
    },
}
#: Third-party packages that one file alone may import.
ONLY_IN = {
    "adbc_driver_postgresql": {"trainer/data/sql.py"},
    "cronsim": {"trainer/operations/cron.py"},
    "obstore": {"models/storage/bucket_client.py"},
    "onnx": {"trainer/export/graph.py"},
    "opentelemetry": {"service/monitoring/telemetry.py"},
    "jinja2": {"trainer/report/rendering.py"},
    "ray": {"trainer/engines/ray.py"},
    "click": {
        "trainer/cli/export.py",
        "trainer/cli/inference.py",
        "trainer/cli/main.py",
        "trainer/cli/options.py",
        "trainer/cli/progress.py",
        "trainer/cli/registry.py",
        "trainer/cli/train.py",
        "service/cli.py",
    },
    "gunicorn": {
        "service/server/json_logging.py",
        "service/server/gunicorn_conf.py",
        "service/server/http.py",
        "service/server/worker.py",
    },
}
#: Protocol-free parts of the service: HTTP must not leak into them.
WITHOUT_FLASK = {
    "engine.py",
    "inference.py",
    "registry.py",
    "metrics.py",
    "settings.py",
    "drain.py",
    "rejection.py",
    "auth.py",
    "worker.py",
}


#: The way data flows: a folder imports only from those on the lines before its own.
ORDER = {
    "models": """
        errors types
        features
        nn codecs
        model
        storage
        explain
        loading
    """,
    "trainer": """
        types
        optimization
        config
        data
        preparation
        evaluation engines
        training checks inspection
        scoring report candidate
        pipeline
        estimators export members operations
        cli
    """,
    "service": """
        settings registry middleware
        server
        monitoring
        inference
        web
        protocols
        console
        app
        cli
    """,
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_follow_the_arrows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for module in imported(path):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top == package:
            continue
        assert top in ALLOWED[package], f"{name(path)} imports {module}"
        if top in ONLY_IN:
            assert name(path) in ONLY_IN[top], f"{name(path)} imports {module}"
        if top in ("flask", "werkzeug"):
            assert path.name not in WITHOUT_FLASK, f"{name(path)} imports {module}"


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_import_what_stands_before_them(package: str) -> None:
    lines = [line.split() for line in ORDER[package].strip().splitlines()]
    rank = {folder: i for i, line in enumerate(lines) for folder in line}
    against = []
    for path in SOURCES:
        here = path.relative_to(ROOT).parts
        if here[0] != package or here[1] == "__init__.py":
            continue
        own = here[1].removesuffix(".py")
        for module in imported(path):
            top, *rest = module.split(".")
            if top == package and rest[0] != own and rank[rest[0]] >= rank[own]:
                against.append(f"{name(path)} imports {module}")
    assert not against


def test_modules_do_not_import_in_circles() -> None:
    """Neither at once, nor later, nor for their types."""
    modules = {
        name(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__"): path
        for path in SOURCES
    }

    def needed(path: Path) -> set[str]:
        """What is imported is a module, or stands in one."""
        names = set(imported(path))
        owners = {each.rpartition(".")[0] for each in names - modules.keys()}
        return modules.keys() & (names | owners)

    graph = {module: needed(path) for module, path in modules.items()}
    TopologicalSorter(graph).prepare()  # or it says which circle there is


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_modules_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{name(path)} has no docstring"
    assert text.count("\n") <= 400, f"{name(path)}: does it hold one idea?"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_public_names_are_documented_and_functions_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
            assert length <= 70, f"{name(path)}: {node.name} has {length} lines"
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
            assert ast.get_docstring(node), f"{name(path)}: {node.name} is undocumented"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_storage_knows_how_a_store_keeps_its_files(path: Path) -> None:
    """Others open a store by its address, and know the interface in `base` alone."""
    if path.is_relative_to(ROOT / "models" / "storage"):
        return
    hidden = ("models.storage.directory", "models.storage.files")
    assert not [module for module in imported(path) if module.startswith(hidden)]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in ("root", "path"):
            assert "store" not in ast.unparse(node.value), ast.unparse(node)


def test_what_the_suite_leaves_out_is_run_by_ci() -> None:
    """`pytest` passes by the tests of clients that have an environment of their own."""
    makefile = (ROOT / "Makefile").read_text()
    for target, programs in (("conformance", "$(BIN)"), ("interop", ".interop/bin")):
        (recipe,) = re.findall(rf"^{target}:.*\n\t(.*)", makefile, re.MULTILINE)
        assert recipe == f"{programs}/pytest tests/{target}/isolated"
        assert f"make {target}" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_module_has_its_test() -> None:
    """tests/ mirrors the packages, one file a module."""
    covered_elsewhere = {
        "models/types.py": "aliases alone",
        "models/storage/backend.py": "tests/models/storage/test_base.py",
        "models/features/inputs.py": "aliases alone",
        "trainer/engines/base.py": "a protocol alone",
        "models/storage/interfaces.py": "protocols alone",
        "trainer/engines/ray.py": "tests/trainer/engines/isolated",
        "trainer/cli/__main__.py": "tests/trainer/cli/test_main.py",
        "trainer/types.py": "a tuple alone",
        "trainer/training/member_files.py": "tests/trainer/test_members.py",
        "trainer/candidate.py": "tests/trainer/test_pipeline.py",
        **{
            f"trainer/export/{stem}.py": "tests/interop/isolated/test_onnx.py"
            for stem in ("graph", "inputs", "layers", "onnx", "predictions")
        },
        "trainer/estimators/base.py": "tests/trainer/estimators/test_estimators.py",
        "service/server/gunicorn_conf.py": "tests/e2e",
        "service/web/errors.py": "tests/service/test_app.py",
        "service/monitoring/metrics.py": "tests/service/test_app.py",
        "service/server/drain.py": "tests/e2e",
        "service/protocols/http.py": "tests/service/protocols/test_dialects.py",
        "service/protocols/operators.py": "tests/service/test_app.py",
    }
    for path in SOURCES:
        if path.name == "__init__.py" or name(path) in covered_elsewhere:
            continue
        stem = path.stem
        folder = ROOT / "tests" / path.relative_to(ROOT).parent
        places = [folder, folder.parent]
        found = any((place / f"test_{stem}.py").exists() for place in places)
        assert found, f"{name(path)} has no tests/…/test_{stem}.py"
