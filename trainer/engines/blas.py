"""Which BLAS multiplies: its kernel and threads change the last bits of a product."""

from __future__ import annotations

import msgspec
import numpy as np
from threadpoolctl import threadpool_info


class Blas(msgspec.Struct, frozen=True):
    """NumPy's BLAS: name, version and kernel, as `OpenBLAS 0.3.30 SkylakeX`."""

    name: str
    version: str
    kernel: str
    threads: int

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return f"{self.name} {self.version} {self.kernel}, {threads}"


def find_blas() -> Blas:
    """Return the BLAS that NumPy has loaded in this process."""
    np.ones((1, 1)) @ np.ones((1, 1))  # some builds load it with the first product
    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    # Another package, such as SciPy, may have loaded one of its own.
    found.sort(key=lambda info: "numpy" not in info["filepath"])
    if not found:
        return Blas("unknown", "", "", 1)
    info = found[0]
    return Blas(
        info["internal_api"],
        str(info["version"]),
        str(info.get("architecture", "")),
        info["num_threads"],
    )
