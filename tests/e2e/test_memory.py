"""Large and compressed bodies from a grammar: no worker dies, and memory is bounded.

MEMORY_REQUESTS says how many are sent, and MEMORY_MIB how much two workers may take.
"""

from __future__ import annotations

import gzip
import http.client
import os
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service.protocols.test_memory import BODIES, ITEMS_OF_A_GRAMMAR, closing_of
from tests.serving import Server

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(7200)]

REQUESTS = int(os.environ.get("MEMORY_REQUESTS", "1000"))
MOST_MIB = int(os.environ.get("MEMORY_MIB", "400"))
CLIENTS, WORKERS = 16, 2
#: The default of GLASSNET_MAX_BODY_BYTES.
LIMIT = 16 << 20
#: Different bodies; making one takes longer than answering it.
STOCK = 120
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 1),
    "deflate": lambda body: zlib.compress(body, 1),
    "identity": lambda body: body,
}


def body_of(chance: random.Random) -> tuple[str, dict[str, str], bytes]:
    """Return a path, headers and a body that begins as one of a dialect does."""
    path, begin, item, end = chance.choice(sorted(BODIES.values()))
    if chance.random() < 0.5:  # what stands in it may be anything
        items = chance.choices(ITEMS_OF_A_GRAMMAR, k=chance.randint(1, 3))
        item = b",".join(items) + b","
        end = items[0] + closing_of(begin)
    size = int(2 ** chance.uniform(10, 24)) if chance.random() < 0.5 else LIMIT
    body = begin + item * max(0, (size - len(begin) - len(end)) // len(item or b" "))
    encoding = chance.choice(sorted(COMPRESS))
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    if path == "csv":
        path, headers["Content-Type"] = "/invocations", "text/csv"
    return path, headers, COMPRESS[encoding](body + end)


def peak_mib(pid: int) -> int:
    """Return the most memory that a process has ever had resident."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) >> 10


def ask(
    server: Server, requests: list[tuple[str, dict[str, str], bytes]]
) -> Counter[str]:
    """Send requests one after the other; return how many ended how."""
    ended: Counter[str] = Counter()
    for path, headers, body in requests:
        connection = server.connect()
        try:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            reply.read()
            ended[str(reply.status)] += 1
        except (OSError, http.client.HTTPException) as error:
            ended[type(error).__name__] += 1
        finally:
            connection.close()
    return ended


def test_no_worker_dies_of_large_requests(
    start: Callable[..., Server], served: Path
) -> None:
    server = start(
        served,
        workers=WORKERS,
        threads=CLIENTS,
        default_model="people",
        log_level="error",
    )
    chance = random.Random(1)
    stock = [body_of(chance) for _ in range(STOCK)]
    workers = server.workers()
    parts = [chance.choices(stock, k=REQUESTS // CLIENTS) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        ended = sum(pool.map(lambda part: ask(server, part), parts), Counter())
    peaks = [peak_mib(pid) for pid in workers]
    print(f"{dict(ended)}, peaks of the workers {peaks} MiB")
    assert server.workers() == workers
    assert not ended["500"]
    assert ended["400"] + ended["200"] > REQUESTS // 2
    assert sum(peaks) < MOST_MIB
