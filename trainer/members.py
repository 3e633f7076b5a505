"""One network of a run by one command, and the version that another makes of them all.

A Kubernetes Indexed Job or a Slurm array runs `trainer fit … --member 3/8` for each
network, in any order. `trainer assemble NAME` then needs no arguments of the run: each
command leaves them beside the networks, in STORE/NAME/.checkpoint-members/request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from models.errors import ConfigError, NotFound
from models.storage.base import ArtefactStore
from models.storage.interfaces import Scratch
from trainer import pipeline
from trainer.candidate import FitRequest, fit_networks, prepare_run
from trainer.engines.wire import build, flatten
from trainer.evaluation.gate import Policy
from trainer.evaluation.production import load_production
from trainer.training.member_files import member_file, read_member, write_member
from trainer.training.progress import ProgressCallback
from trainer.types import Messages


class MemberNumber(NamedTuple):
    """A network, counted from 1, and how many there are."""

    number: int
    members: int

    @classmethod
    def parse(cls, text: str) -> MemberNumber:
        """Read `3/8`; raises ConfigError."""
        match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
        found = cls(int(match[1]), int(match[2])) if match else None
        if found is None or not 1 <= found.number <= found.members:
            raise ConfigError(f"--member: expected a network as 3/8, found '{text}'")
        return found


@dataclass(frozen=True)
class MemberResult:
    """The result of `trainer fit --member`, as `--json` prints it."""

    model: str
    member: int
    members: int
    epochs: int
    train_s: float
    ran_on: str


def fit_member(
    request: FitRequest,
    wanted: MemberNumber,
    store: ArtefactStore,
    messages: Messages,
    on_epoch: ProgressCallback,
) -> MemberResult:
    """Fit one network and leave it in the store, unless it is there already.

    Raises ConfigError if the run has another number of networks.
    """
    pipeline.check_store(request, store)
    request = replace(request, parts="one")
    production = load_production(store, request.model, lambda sentence: None)
    run = prepare_run(request, store, messages, production)
    count = len(run.prepared.splits)
    if wanted.members != count:
        raise ConfigError(
            f"--member {wanted.number}/{wanted.members}: this run has {count} "
            f"networks, not {wanted.members} (ensemble.members)"
        )
    _arguments(store, request.model).file("request").write(_encode(request))
    number = wanted.number - 1
    file = member_file(run.checkpoints, number)
    fitted = read_member(file)
    if fitted is None:
        (fitted,), _ = fit_networks(request, run, on_epoch, [number])
        write_member(file, fitted)
    else:
        messages.step(f"network {wanted.number} of {count} is fitted already")
    history = fitted.history
    seconds = round(history.seconds, 6)
    return MemberResult(request.model, *wanted, history.epochs, seconds, fitted.ran_on)


def assemble(
    model: str,
    promote: Policy,
    store: ArtefactStore,
    messages: Messages,
) -> pipeline.FitResult:
    """Make a version of the networks of the latest run by `fit_member`.

    Raises NotFound if there is no such run, or a network of it is missing.
    """
    store.check_name(model)
    arguments = _arguments(store, model)
    content = arguments.file("request").read()
    if content is None:
        raise NotFound(
            f"no network of {model} waits in {store.location}: fit each with trainer "
            "fit … --member 1/8"
        )
    request: FitRequest = build(FitRequest, content.decode(), [])
    request = replace(request, parts="none", promote=promote, resume=False)
    result = pipeline.run(request, store, messages, lambda progress: None)
    arguments.remove(float("inf"))
    return result


def _arguments(store: ArtefactStore, model: str) -> Scratch:
    return store.scratch(model, "members")


def _encode(request: FitRequest) -> bytes:
    return flatten(request)[0].encode()
