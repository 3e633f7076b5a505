"""Everything that can go wrong, as one tree.

    GlassnetError
    ├── ConfigError            a setting or option that is unknown or does not fit
    ├── DataError              a data set that cannot be read or learned from
    ├── InvalidInput           a row or tensor that does not fit a model's signature
    ├── TrainingDiverged       the loss or the weights stopped being numbers
    ├── ArtefactCorrupt        a model file that is not what it says it is
    │   └── SignatureInvalid   one that no accepted key has signed
    └── NotFound               a name that leads nowhere
        ├── ModelNotFound
        ├── VersionNotFound
        └── LabelNotFound

Each message is one sentence that says what was expected, what was found and
where. The command line prints it and exits with 1 (`ConfigError`: 2); the service
answers with 400 (`InvalidInput`) or 404 (`NotFound`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GlassnetError(Exception):
    """The root: a fault with a sentence for the person who can mend it."""


class ConfigError(GlassnetError):
    """A setting or an option that does not exist or does not fit."""


class DataError(GlassnetError):
    """A data set that cannot be read or learned from."""


class InvalidInput(GlassnetError):
    """A row or tensor that does not fit a model's signature."""


class TrainingDiverged(GlassnetError):
    """The loss or the weights stopped being numbers."""


class ArtefactCorrupt(GlassnetError):
    """A model file that is not what it says it is."""


class SignatureInvalid(ArtefactCorrupt):
    """A model file that no accepted key has signed."""


class NotFound(GlassnetError):
    """A name that leads nowhere."""


class ModelNotFound(NotFound):
    """No model of that name in the store."""


class VersionNotFound(NotFound):
    """The model has no such version."""


class LabelNotFound(NotFound):
    """The model has no such label."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known name, or nothing."""
    spelled = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.6)
    return f"; did you mean '{spelled[found[0]]}'?" if found else ""
