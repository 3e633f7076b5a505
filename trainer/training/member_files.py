"""Networks that separate runs have fitted, until one run makes a version of them.

    STORE/NAME/.checkpoint-KEY/3.fitted     the third network, with its digest

KEY is that of the run's checkpoints, so networks of other data or settings never meet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from models.errors import GlassnetError, NotFound
from models.nn.network import NetworkSpec
from models.storage.interfaces import StoredFile
from trainer.engines.wire import pack, unpack
from trainer.preparation.prepare import Prepared
from trainer.training.checkpoint import Checkpoints
from trainer.training.ensemble import as_needed
from trainer.training.member import FittedArrays


def member_file(checkpoints: Checkpoints, number: int) -> StoredFile:
    """Return the file of a fitted network, counted from 0."""
    return checkpoints.scratch.file(f"{number + 1}.fitted")


def write_member(file: StoredFile, fitted: FittedArrays) -> None:
    """Keep a fitted network; raises OSError."""
    file.write(pack(dataclasses.replace(fitted, spent=0.0)))


def read_member(file: StoredFile) -> FittedArrays | None:
    """Return a fitted network, or None if it is missing or damaged."""
    content = file.read()
    try:
        return None if content is None else unpack(FittedArrays, content)
    except ValueError:
        return None


def gather_members(
    prepared: Prepared, spec: NetworkSpec, checkpoints: Checkpoints
) -> tuple[list[FittedArrays], float]:
    """Return as many networks as pay and the seconds that they took together.

    Raises NotFound if some are missing, and GlassnetError if different BLAS kernels
    fitted them.
    """
    count = len(prepared.splits)

    def read(numbers: Sequence[int], until: int | None) -> list[FittedArrays]:
        found = [read_member(member_file(checkpoints, number)) for number in numbers]
        missing = [
            str(number + 1)
            for number, fitted in zip(numbers, found, strict=True)
            if fitted is None
        ]
        if missing:
            raise NotFound(
                f"{len(missing)} of {count} networks have not been fitted with these "
                f"data and settings: add --member {missing[0]}/{count} to trainer fit "
                f"(missing: {', '.join(missing)})"
            )
        return [fitted for fitted in found if fitted is not None]

    fitted = as_needed(prepared, spec, read)
    _check_kernels(fitted)
    return fitted, sum(arrays.history.seconds for arrays in fitted)


def _check_kernels(members: Sequence[FittedArrays]) -> None:
    """Raise GlassnetError, which names the machines, if their BLAS differs."""
    if len({member.ran_on.rpartition(": ")[2] for member in members}) > 1:
        places = "; ".join(sorted({member.ran_on for member in members}))
        raise GlassnetError(
            "different BLAS kernels fitted the networks, so the same seed would not "
            f"give the same bytes: {places}. Set one for all: OPENBLAS_CORETYPE=Haswell"
        )
