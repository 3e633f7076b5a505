"""The documents say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_reference_and_every_pointer_are_true() -> None:
    """Commands, settings, metrics and routes, and each link to a line of code."""
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:models|trainer|service|tests|deploy|docs)/[\w./]+)`",
        path.read_text("utf-8"),
    )
    for name in named:
        if "NAME" not in name:
            assert (ROOT / name).exists(), f"{path.name} names {name}"


def test_every_command_in_the_readme_exists() -> None:
    from service.cli import main as service
    from trainer.cli import main as trainer

    text = (ROOT / "README.md").read_text("utf-8")
    used = set(re.findall(r"^(trainer|service) ([a-z-]+)", text, re.MULTILINE))
    assert used
    for command, name in used:
        group = {"trainer": trainer, "service": service}[command]
        assert name in group.commands, f"README uses {command} {name}"


def test_every_make_target_named_exists() -> None:
    rules = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE):
            assert target in rules, f"{path.name} names make {target}"
