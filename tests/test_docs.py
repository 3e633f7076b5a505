"""The documents agree with the code."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import click
import pytest

from tests.test_architecture import ORDER

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_reference_and_pointers_agree_with_the_code() -> None:
    """Commands, settings, metrics and routes, and each link to a line of code."""
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_have_a_target(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:models|trainer|service|tests|deploy|docs)/[\w./]+)`",
        path.read_text("utf-8"),
    )
    for name in named:
        if "NAME" not in name:
            assert (ROOT / name).exists(), f"{path.name} names {name}"


def test_every_command_in_the_readme_exists() -> None:
    from service.cli import main as service
    from trainer.cli.main import main as trainer

    text = (ROOT / "README.md").read_text("utf-8")
    used = set(re.findall(r"^(trainer|service) ([a-z-]+)", text, re.MULTILINE))
    assert used
    for command, name in used:
        group = {"trainer": trainer, "service": service}[command]
        assert name in group.commands, f"README uses {command} {name}"


def section(path: Path, title: str) -> str:
    """Return what a document says under a heading of the second level."""
    text = path.read_text("utf-8")
    (body,) = re.findall(rf"^## {title}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    return str(body)


def test_architecture_shows_the_folders_in_their_order() -> None:
    """The tree of ARCHITECTURE.md has the lines of ORDER."""
    text = section(ROOT / "ARCHITECTURE.md", "The folders")
    shown: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if package := re.match(r"(\w+)/ {2,}", line):
            lines = shown.setdefault(package[1], [])
        elif names := re.match(r"  ((?:\w+/?(?:, )?)+)(?: {2,}|$)", line):
            lines.append([name.rstrip("/") for name in names[1].split(", ")])
    assert shown == {
        package: [line.split() for line in order.strip().splitlines()]
        for package, order in ORDER.items()
    }


@pytest.mark.long
@pytest.mark.e2e
def test_every_line_about_your_own_table_runs(tmp_path: Path) -> None:
    """Run the shell blocks of the README as they stand, in a folder of their own."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "customers.csv", tmp_path / "docs")
    text = section(ROOT / "README.md", "Your own table")
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    assert lines.count("service run &\n") == 1
    port = free_port()
    script = "trap 'kill $!; wait' EXIT\n" + lines.replace("127.0.0.1:8080", port)
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "GLASSNET_BIND": port, "GLASSNET_DRAIN_SECONDS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for reply in re.findall(r"^# (\{.*)\n", lines, re.MULTILINE):
        shown, answered = reply.split("0.")[0], done.stdout
        assert shown in answered, f"README shows {shown}, not in {answered}"
    header, *answers = (tmp_path / "answers.csv").read_text().splitlines()
    assert header.startswith("prediction") and len(answers) == 300
    assert len((tmp_path / "why.csv").read_text().splitlines()) == 301


def free_port() -> str:
    """Return an address of this machine on a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_numbers_of_the_readme_stand_in_the_benchmarks() -> None:
    numbers = re.findall(
        r"\*\*([^*]+)\*\*", section(ROOT / "README.md", "Three numbers")
    )
    assert len(numbers) == 3
    for number in numbers:
        assert number in (ROOT / "docs" / "benchmarks.md").read_text("utf-8")


def test_pictures_are_small() -> None:
    for path in (ROOT / "docs").glob("*.png"):
        assert path.stat().st_size < 150_000, path.name


def test_every_make_target_named_exists() -> None:
    rules = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE):
            assert target in rules, f"{path.name} names make {target}"


def blocks(path: Path) -> list[str]:
    """Return the commands of a document, each on one line."""
    text = path.read_text("utf-8")
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    return re.findall(r"^trainer .*", shell.replace("\\\n", " "), re.MULTILINE)


def test_every_experiment_of_the_course_can_be_run() -> None:
    """Its command, options and settings exist; the run itself is the reader's."""
    from trainer.cli.main import main
    from trainer.config import loading

    commands = blocks(ROOT / "docs" / "how-it-works.md")
    assert len(commands) >= 12
    parent = click.Context(main, **main.context_settings)  # -h is remembered
    for line in commands:
        _, name, *arguments = shlex.split(line, comments=True)
        command = main.commands[name]  # type: ignore[attr-defined]
        options = command.make_context(name, arguments, parent).params
        loading.load(None, options.get("assignments", ()), {})


@pytest.fixture(scope="module")
def drawn() -> ModuleType:
    """The module that draws the figures of the course."""
    path = ROOT / "docs" / "figures.py"
    spec = importlib.util.spec_from_file_location("figures", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_are_compared_by_their_looks(drawn: ModuleType) -> None:
    figure = (ROOT / "docs" / "figures" / "ravine.svg").read_text()
    number = re.search(r"\d+\.\d\d ", figure)
    assert number is not None
    start, end = number.span()
    near, far = (f"{float(number[0]) + by:.2f} " for by in (0.3, 3.0))
    assert drawn.alike(figure, figure)
    assert drawn.alike(figure, figure[:start] + near + figure[end:])
    assert not drawn.alike(figure, figure[:start] + far + figure[end:])
    assert not drawn.alike(figure, figure.replace("momentum", "Momentum"))


def test_figures_are_small_and_stand_alone() -> None:
    for path in (ROOT / "docs" / "figures").glob("*.svg"):
        text = path.read_text("utf-8")
        assert ET.fromstring(text).get("aria-label")
        assert len(text) < 60_000 and "prefers-color-scheme:dark" in text
        assert not re.search(r"(?:href|src)=\"(?!#)", text)


def test_gradients_vanish_with_sigmoids_and_not_with_relu(drawn: ModuleType) -> None:
    sigmoid, relu = drawn.gradients("sigmoid"), drawn.gradients("relu")
    assert sigmoid[0] < 1e-5 * sigmoid[-1]
    assert 0.2 < relu[0] / relu[-1] < 5
