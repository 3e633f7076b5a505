"""Networks that separate runs have fitted, until one run makes a version of them.

    STORE/NAME/.checkpoint-KEY/3.fitted     the third network, with its digest

KEY is that of the run's checkpoints, so networks of other data or settings never meet.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import GlassnetError, NotFound
from models.nn.network import NetworkSpec
from models.storage.interfaces import StoredFile
from trainer.engines.wire import pack, unpack
from trainer.preparation.prepare import Prepared
from trainer.training.checkpoint import Checkpoints
from trainer.training.common_epoch import Snapshots
from trainer.training.ensemble import FittedArrays, Member


def member_file(checkpoints: Checkpoints, number: int) -> StoredFile:
    """Return the file of a fitted network, counted from 0."""
    return checkpoints.scratch.file(f"{number + 1}.fitted")


def write_member(file: StoredFile, member: Member) -> None:
    """Keep a fitted network; raises OSError."""
    network, history = member.network, member.history
    kept = Snapshots(network, 0)
    numbers = network.parameters, network.state
    no_snapshots = kept.parameters, kept.state
    file.write(pack(FittedArrays(*numbers, history, 0.0, member.ran_on, *no_snapshots)))


def read_member(file: StoredFile, spec: NetworkSpec) -> Member | None:
    """Return a fitted network, or None if it is missing or damaged."""
    content = file.read()
    try:
        if content is None:
            return None
        fitted: FittedArrays = unpack(FittedArrays, content)
        return fitted.member(spec)
    except ValueError:
        return None


def gather_members(
    prepared: Prepared, spec: NetworkSpec, checkpoints: Checkpoints
) -> tuple[list[Member], float]:
    """Return all networks and the seconds that they took together.

    Raises NotFound if some are missing, and GlassnetError if different BLAS kernels
    fitted them.
    """
    count = len(prepared.splits)
    found = [read_member(member_file(checkpoints, n), spec) for n in range(count)]
    missing = [str(n + 1) for n, member in enumerate(found) if member is None]
    if missing:
        raise NotFound(
            f"{len(missing)} of {count} networks have not been fitted with these data "
            f"and settings: add --member {missing[0]}/{count} to trainer fit "
            f"(missing: {', '.join(missing)})"
        )
    members = [member for member in found if member is not None]
    _check_kernels(members)
    return members, sum(member.history.seconds for member in members)


def _check_kernels(members: Sequence[Member]) -> None:
    """Raise GlassnetError, which names the machines, if their BLAS differs."""
    if len({member.ran_on.rpartition(": ")[2] for member in members}) > 1:
        places = "; ".join(sorted({member.ran_on for member in members}))
        raise GlassnetError(
            "different BLAS kernels fitted the networks, so the same seed would not "
            f"give the same bytes: {places}. Set one for all: OPENBLAS_CORETYPE=Haswell"
        )
