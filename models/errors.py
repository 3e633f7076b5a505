"""The errors of this project, as one tree.

    GlassnetError
    ├── ConfigError            a setting or option that is unknown or does not fit
    ├── DataError              a data set that cannot be read or learned from
    ├── InvalidInput           a row or tensor that does not fit a model's signature
    │   └── TooManyRows        more rows than are allowed
    ├── TrainingDiverged       the loss or a weight became infinite or NaN
    ├── ArtefactCorrupt        a model file that is damaged or was altered
    │   └── SignatureInvalid   a model file without a signature by an accepted key
    ├── ProductionMoved        another version became production since it was compared
    └── NotFound               a name that does not exist
        ├── ModelNotFound
        ├── VersionNotFound
        └── LabelNotFound

Each message is one sentence that says what was expected, what was found and where. The
command line prints it and exits with 1 (`ConfigError`: 2); the service replies with 400
(`InvalidInput`) or 404 (`NotFound`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice


class GlassnetError(Exception):
    """Any error of this project, with a message for its user."""


class ConfigError(GlassnetError):
    """A setting or an option that does not exist or does not fit."""


class DataError(GlassnetError):
    """A data set that cannot be read or learned from."""


class InvalidInput(GlassnetError):
    """A row or tensor that does not fit a model's signature."""


class TooManyRows(InvalidInput):
    """More rows than are allowed in one request."""

    def __init__(self, most: int) -> None:
        super().__init__(f"expected {most} rows at most, found more")


class TrainingDiverged(GlassnetError):
    """The loss or a weight became infinite or NaN."""


class ArtefactCorrupt(GlassnetError):
    """A model file that is damaged or was altered."""


class SignatureInvalid(ArtefactCorrupt):
    """A model file without a signature by an accepted key."""


class ProductionMoved(GlassnetError):
    """Another version became production since a candidate was compared with it."""


class NotFound(GlassnetError):
    """A name that does not exist."""


class ModelNotFound(NotFound):
    """No model of that name in the store."""


class VersionNotFound(NotFound):
    """The model has no such version."""


class LabelNotFound(NotFound):
    """The model has no such label."""


#: Names that are compared, and characters of each: a comparison takes microseconds.
MAX_COMPARED, MAX_LENGTH = 1_000, 80


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known name, or nothing."""
    names = islice(known, MAX_COMPARED)
    spelled = {other.lower()[:MAX_LENGTH]: other for other in names}
    wanted = name[:MAX_LENGTH].lower()
    close = difflib.get_close_matches(wanted, spelled, n=1, cutoff=0.6)
    return f"; did you mean '{spelled[close[0]]}'?" if close else ""
