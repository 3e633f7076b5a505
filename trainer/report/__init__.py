"""The report of a run: one HTML file beside the model, which opens without a network.

    gathering   while the rows are there → record.json, published with the model
    faults      what is wrong, and what to try
    drawing     one picture each (matplotlib) → SVG in the page's own colours
    page        all of it → report.html

A report that cannot be made costs nobody a version: it is said, and that is all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from models.storage.artefact import Artefact
from models.storage.base import RECORD, REPORT, ArtefactStore
from trainer.preparation.prepare import Prepared
from trainer.training.ensemble import Member
from trainer.types import Say


def keep(
    prepared: Prepared,
    members: Sequence[Member],
    artefact: Artefact,
    production: dict[str, float] | None,
    say: Say,
) -> dict[str, bytes]:
    """Return record.json as a file to publish; none where it cannot be gathered."""
    from trainer.report import record
    from trainer.report.collect import gather

    try:
        found = gather(prepared, members, artefact, production)
        return {RECORD: record.encode(found)}
    except Exception as error:  # whatever it is, the version is worth more
        say(f"the report will lack its figures: {type(error).__name__}: {error}")
        return {}


def write(store: ArtefactStore, name: str, version: int) -> str:
    """Draw a version's report beside its model, and return where.

    Raises ArtefactCorrupt or OSError where model or record cannot be read.
    """
    # That it has no home to keep its list of fonts in is nobody's worry.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from trainer.report import record
    from trainer.report.page import page

    artefact = store.load(name, version)
    kept = store.read_attachment(name, version, RECORD)
    found = None if kept is None else record.decode(kept)
    content = page(name, version, artefact, found, store.run(name, version))
    return store.write_attachment(name, version, REPORT, content.encode())


def try_to_write(store: ArtefactStore, name: str, version: int, say: Say) -> None:
    """Draw it at the end of a run; say what is wrong where that fails."""
    try:
        write(store, name, version)
    except Exception as error:
        say(
            f"no report was written ({type(error).__name__}: {error}): "
            f"trainer report {name}@{version} tries again"
        )
