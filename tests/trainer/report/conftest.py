"""One run of each task, with its report; and a page as a browser would take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.storage.artefact import Artefact
from models.storage.base import RECORD, REPORT
from models.storage.directory import DirectoryStore as Store
from trainer.report.diagnosis import find_problems
from trainer.report.record import Record, decode

#: Elements that have no end.
VOID = {"meta", "rect", "path", "use", "input"}
SMALL = ("runtime.report=true", "train.epochs=4", "ensemble.members=1")


@dataclass
class Page(HTMLParser):
    """Elements, attributes and text of a page; AssertionError where it is not whole."""

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID or self.get_starttag_text() == f"<{tag}>" == "<path>":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@dataclass
class Published:
    """A version, its record and what is wrong with it; its page, if it was drawn."""

    store: Store
    name: str
    version: int

    @cached_property
    def artefact(self) -> Artefact:
        return self.store.load(self.name, self.version)

    @cached_property
    def record(self) -> Record:
        return decode(
            self.store.read_attachment(self.name, self.version, RECORD) or b""
        )

    @cached_property
    def page(self) -> Page:
        return Page(
            (
                self.store.read_attachment(self.name, self.version, REPORT) or b""
            ).decode()
        )

    @cached_property
    def problems(self) -> dict[str, str]:
        """Kind and sentences of each problem."""
        found = find_problems(self.artefact.manifest, self.record)
        return {p.kind: f"{p.sentence} {p.advice}" for p in found}


@pytest.fixture
def reported(fit: Callable[..., Any], store: Store) -> Callable[..., Published]:
    """Fit a small model with its report: `reported(data, *settings, target=…)`."""

    def run(data: Path | str, *settings: str, **request: Any) -> Published:
        result = fit(store, data, settings=(*SMALL, *settings), **request)
        return Published(store, result.model, result.version)

    return run


@pytest.fixture
def recorded(
    reported: Callable[..., Published], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Published]:
    """The same, without its page."""
    monkeypatch.setattr("trainer.report.write", lambda *where: "")
    return reported


@pytest.fixture(scope="session")
def runs(
    tmp_path_factory: pytest.TempPathFactory, fit: Callable[..., Any], people_csv: Path
) -> dict[str, Published]:
    """A run of two classes, of several, of a number, and of images."""
    home = tmp_path_factory.mktemp("reported")
    store = Store(home)
    rng = np.random.default_rng(0)
    images = rng.random((60, 8, 8)).astype(np.float32)
    images[30:, :4] += 1.0
    np.savez(home / "images.npz", X=images, y=np.repeat(["dark", "light"], 30))
    asked: dict[str, tuple[Path, str | None, tuple[str, ...]]] = {
        "two": (people_csv, "Status", ("ensemble.members=2",)),
        "several": (people_csv, "home", ()),
        "number": (people_csv, "income", ()),
        "images": (home / "images.npz", None, ("network.hidden=[8]",)),
    }
    for name, (data, target, settings) in asked.items():
        fit(store, data, target=target, model=name, settings=(*SMALL, *settings))
    return {name: Published(store, name, 1) for name in asked}
