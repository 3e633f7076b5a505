"""Whatever lies in a store: files that are no models.

REQUESTS says how many, a fifth; `make fuzz` asks for 10,000.
"""

from __future__ import annotations

import hashlib
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from models.errors import ArtefactCorrupt
from models.storage.archive import SEAL_BYTES
from models.storage.artefact import load
from models.storage.directory import DirectoryStore as Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(7200)]

FILES = int(os.environ.get("REQUESTS", "200")) // 5


def damaged(data: bytes, pick: random.Random) -> bytes:
    """Return a file with something wrong: flipped, cut, moved, doubled or zeroed."""
    at, length = pick.randrange(len(data)), pick.choice([1, 2, 8, 100, 5000])
    part = data[at : at + length]
    match pick.randrange(6):
        case 0:
            part = bytes(byte ^ (1 << pick.randrange(8)) for byte in part)
        case 1:
            return data[:at]
        case 2:
            part = pick.randbytes(length)
        case 3:
            part = b""
        case 4:
            part = part * 2
        case 5:
            part = b"\xff" * len(part)
    return data[:at] + part + data[at + length :]


def peak(reset: bool = False) -> int:
    """Return the most memory this process has had since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


@pytest.mark.fuzz
def test_no_file_breaks_it(served: Path) -> None:
    """Each damaged file is refused, sealed again or not, in little memory."""
    pick = random.Random(FILES)
    whole = [
        Store(served).path(name, 1).read_bytes()
        for name in ("people", "half_plus_two", "digits", "xor")
    ]
    for data in whole:
        load(data)
    before, refused = peak(reset=True), 0
    for _ in range(FILES):
        data = pick.choice(whole)
        bad = damaged(data, pick)
        if bad == data:
            continue
        with pytest.raises(ArtefactCorrupt):
            load(bad)
        # The same with valid checksums: the damage may be in a field that is not read.
        body = damaged(data[:-SEAL_BYTES], pick)
        with suppress(ArtefactCorrupt):
            load(body + hashlib.sha256(body).hexdigest().encode())
            refused -= 1
        refused += 1
    assert refused > FILES / 2
    assert peak() - before < 64 << 20
