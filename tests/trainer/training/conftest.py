"""A small table ready to be fitted, and checkpoints of a store of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from models.storage.directory import DirectoryStore
from trainer.data import read
from trainer.preparation.prepare import Prepared, prepare
from trainer.training.checkpoint import Checkpoints

Make: TypeAlias = Callable[..., Prepared]


@pytest.fixture
def prepared(
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
    configured: Callable[..., Any],
) -> Make:
    """Prepare a small table with some settings."""

    def make(*settings: str, members: int = 3) -> Prepared:
        whole = table(150)
        names = ("size", "colour", "member", "churn")
        data = read(str(write_csv({name: whole[name] for name in names})), "churn")
        chosen = configured(
            f"ensemble.members={members}", "network.hidden=[8]", *settings
        )
        return prepare(data, None, None, chosen, lambda sentence: None)

    return make


@pytest.fixture
def nowhere(tmp_path: Path) -> Checkpoints:
    return Checkpoints(DirectoryStore(tmp_path).scratch, "m", pytest.fail, "key")


def streams() -> list[np.random.SeedSequence]:
    """Return them as they are at the start: each counts what it has spawned."""
    return np.random.SeedSequence(3).spawn(8)
