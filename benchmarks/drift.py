"""What it costs to watch for drift: µs a request, of each model in a store.

    python benchmarks/drift.py STORE

`counted` is what a request takes that is counted, `resting` what the others take. How
many are counted follows from the first: as many as take a hundredth of the time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import msgspec

from models.storage.factory import open_store
from service.monitoring.drift import Bins, Drift
from service.registry.loaded import Loaded
from service.registry.registry import Registry


def microseconds(call: Callable[[], object], times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - began) / times * 1e6


def measure(loaded: Loaded, n: int) -> tuple[float, float]:
    model, golden = loaded.artefact.model, loaded.artefact.manifest.golden.instances
    raw = model.decoder.rows(msgspec.json.encode((golden * n)[:n]))
    answer, bins = model.predict(raw), Bins(loaded.artefact)
    drift = Drift(3600)
    drift.record(loaded, raw, answer)
    drift._windows[loaded.name, loaded.version]._rest_until = float("inf")
    return (
        microseconds(lambda: bins.count(raw, answer), 2_000),
        microseconds(lambda: drift.record(loaded, raw, answer), 200_000),
    )


def main() -> None:
    registry = Registry(open_store(sys.argv[1]))
    registry.refresh()
    print(f"{'model':20s} {'rows':>5s} {'counted':>8s} {'resting':>8s}")
    for name in sorted(registry.catalogue):
        for n in (1, 64):
            counted, resting = measure(registry.find(name), n)
            print(f"{name:20s} {n:5d} {counted:8.1f} {resting:8.2f}")


if __name__ == "__main__":
    main()
