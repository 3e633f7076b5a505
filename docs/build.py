"""Keeps the documents up to date: `make docs` rewrites them, a test checks them.

Three things come from the code. The reference (commands, settings, metrics, routes) is
generated. A pointer, a link such as
[`np.dot(X, self.W, out=Y)`](../models/nn/layers/linear.py#L56), gets the number of the
line that contains its text; it is an error if no line does, or more than one. A figure
is drawn from a run (`docs/figures.py`) and only written if it looks different.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from figures import alike, figures

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
POINTER = re.compile(r"\[`([^`]+)`\]\((\.\./[\w/]+\.py|[\w/]+\.py)#L(\d+)\)")


def main() -> None:
    check = "--check" in sys.argv[1:]
    stale = []
    for path, content in documents():
        old = path.read_text("utf-8") if path.exists() else ""
        if not same(path, old, content):
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(content, "utf-8")
    if check and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run `make docs`")


def same(path: Path, old: str, new: str) -> bool:
    """Return whether a document is up to date; figures are compared by their looks."""
    return alike(old, new) if path.suffix == ".svg" else old == new


def documents() -> Iterator[tuple[Path, str]]:
    """Yield the path of every document and its up-to-date content."""
    yield DOCS / "reference.md", reference()
    for path in [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]:
        if path.name != "reference.md":
            yield path, pointed(path)
    yield from ((DOCS / "figures" / name, svg) for name, svg in figures())


def pointed(path: Path) -> str:
    """Return a document whose pointers have the number of the line with their text."""

    def moved(match: re.Match[str]) -> str:
        text, target, _ = match.groups()
        code, pointer = path.parent / target, f"{path.relative_to(ROOT)}: `{text}`"
        if not code.exists():
            sys.exit(f"{pointer} points at {target}, which does not exist")
        lines = code.read_text("utf-8").splitlines()
        numbers = [number for number, line in enumerate(lines, 1) if text in line]
        if len(numbers) != 1:
            sys.exit(f"{pointer} must be on one line of {target}, not {len(numbers)}")
        return f"[`{text}`]({target}#L{numbers[0]})"

    return POINTER.sub(moved, path.read_text("utf-8"))


def reference() -> str:
    """Return the reference, generated from the tables in the code."""
    lines = [
        "# Reference",
        "",
        "Written by `make docs` from the code; do not edit by hand.",
        "",
        *commands(),
        *training_settings(),
        *trainer_environment(),
        *training_metrics(),
        *service_settings(),
        *metrics(),
        *routes(),
    ]
    return "\n".join(lines)


def commands() -> Iterator[str]:
    from service.cli import main as service
    from trainer.cli.main import main as trainer

    yield from ("## Commands", "")
    for name, group in (("trainer", trainer), ("service", service)):
        assert isinstance(group, click.Group)
        for command in group.commands.values():
            context = click.Context(command, info_name=f"{name} {command.name}")
            context.terminal_width = 80
            yield from (f"### `{name} {command.name}`", "", "```text")
            yield from (line.rstrip() for line in command.get_help(context).split("\n"))
            yield from ("```", "")
    yield "Exit codes of `trainer`: 0 done, 1 failed, 2 wrong usage, 3 trained but the"
    yield from ("gate refused to promote.", "")


def training_settings() -> Iterator[str]:
    from trainer.config.schema import settings

    yield from ("## Settings of a training run", "")
    yield "In a TOML file (`--config`) or one by one (`--set key=value`). Where the"
    yield from (
        "default is *chosen*, the recipe looks at the data; `trainer show` says why.",
        "",
    )
    yield from ("| key | default | what |", "|---|---|---|")
    for row in settings():
        default = "*chosen*" if row.is_chosen else f"`{row.default}`".lower()
        words = " ".join(f"`{word}`" for word in row.choices if word not in row.help)
        described = f"{row.help} One of {words}." if words else row.help
        yield f"| `{row.key}` | {default} | {described} |"
    yield ""


def trainer_environment() -> Iterator[str]:
    from trainer.config.environment import VARIABLES

    yield from ("## Environment of the trainer", "")
    yield from ("| variable | what |", "|---|---|")
    for variable, help in VARIABLES.items():
        yield f"| `{variable}` | {help} |"
    yield ""


def training_metrics() -> Iterator[str]:
    from trainer.operations.notifications import GAUGES

    yield from ("## Metrics of training", "")
    yield from ("Gauges of each `model`, in a textfile or a Pushgateway.", "")
    yield from ("| metric | changes with | what |", "|---|---|---|")
    for group, gauges in GAUGES.items():
        when = "a run" if group == "run" else "a good run"
        for name, help in gauges.items():
            yield f"| `glassnet_training_{name}` | {when} | {help} |"
    yield ""


def service_settings() -> Iterator[str]:
    from service.settings import table

    yield from ("## Settings of the service", "", "From the environment.", "")
    yield from ("| variable | default | what |", "|---|---|---|")
    for row in table():
        default = "–" if row.default == "" else f"`{row.default}`"
        yield f"| `{row.variable}` | {default} | {row.help} |"
    yield ""


def metrics() -> Iterator[str]:
    from service.monitoring.metrics import Metrics

    yield from ("## Metrics", "", "On `GET /metrics`, summed over the workers.", "")
    yield from ("| metric | type | labels | what |", "|---|---|---|---|")
    for _, family, names in sorted(Metrics().families(), key=lambda row: row[0]):
        suffix = "_total" if family.type == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in names)
        name = f"`{family.name}{suffix}`"
        yield f"| {name} | {family.type} | {labels} | {family.documentation} |"
    yield ""


def routes() -> Iterator[str]:
    import tempfile

    from service import create_app
    from service.settings import Settings

    yield from ("## Routes", "")
    yield from ("| method | path | what |", "|---|---|---|")
    with tempfile.TemporaryDirectory() as store:
        app = create_app(Settings(store=store))
    for rule in sorted(app.url_map.iter_rules(), key=lambda r: (r.rule, r.endpoint)):
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        text = (app.view_functions[rule.endpoint].__doc__ or "").strip().split("\n")[0]
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        yield f"| {method} | `{path}` | {text} |"
    yield ""


if __name__ == "__main__":
    main()
