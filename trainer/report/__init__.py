"""The report of a run: a self-contained HTML file beside the model.

    collect      gathers what needs the rows → record.json, published with the model
    diagnosis    finds problems and gives advice on each
    plots        draws the pictures as charts → SVG in the colours of the page
    page         fills the templates → report.html

If the report fails, the version is published without it and a message says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.storage.artefact import Artefact
from models.storage.base import RECORD, REPORT, ArtefactStore
from trainer.preparation.prepare import Prepared
from trainer.training.member import Member
from trainer.types import Say


def record_run(
    prepared: Prepared,
    members: Sequence[Member],
    artefact: Artefact,
    production: dict[str, float] | None,
    say: Say,
) -> tuple[str | None, dict[str, bytes]]:
    """Return the diagnosis in a sentence, and record.json as a file to publish.

    Both are missing if gathering them fails.
    """
    from trainer.report import record
    from trainer.report.collect import gather
    from trainer.report.diagnosis import find_problems

    try:
        gathered = gather(prepared, members, artefact, production)
        problems = find_problems(artefact.manifest, gathered)
        sentence = problems[0].sentence if problems else "no problem found"
        return sentence, {RECORD: record.encode(gathered)}
    except Exception as error:  # any error: the version matters more
        say(f"the report will have no plots: {type(error).__name__}: {error}")
        return None, {}


def write(store: ArtefactStore, name: str, version: int) -> str:
    """Write the report beside the model, and return its path.

    Raises ArtefactCorrupt or OSError if the model or record.json cannot be read.
    """
    from trainer.report import record
    from trainer.report.page import page

    artefact = store.load(name, version)
    kept = store.read_attachment(name, version, RECORD)
    run_record = None if kept is None else record.decode(kept)
    content = page(name, version, artefact, run_record, store.run(name, version))
    return store.write_attachment(name, version, REPORT, content.encode())


def try_to_write(store: ArtefactStore, name: str, version: int, say: Say) -> str | None:
    """Write the report and return its path; if that fails, say so and return None."""
    try:
        return write(store, name, version)
    except Exception as error:
        say(
            f"the report was not written ({type(error).__name__}: {error}); "
            f"to try again: trainer report {name}@{version}"
        )
        return None
