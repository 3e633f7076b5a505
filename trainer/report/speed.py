"""How fast the run was, against what this machine can do at most."""

from __future__ import annotations

import os
import time

import numpy as np
from threadpoolctl import threadpool_limits

from models.layers import LinearSpec
from models.network import NetworkSpec
from trainer.report.record import Speed

#: Side of the matrices whose product is timed: large enough to keep every core busy.
SIDE, TIMES = 768, 4


def operations(spec: NetworkSpec) -> int:
    """Return the sums and products that one training row costs in the linear layers.

    Two a weight forward, two for its gradient, and two to hand the gradient on, which
    the first layer need not do.
    """
    linear = [layer for layer in spec.layers if isinstance(layer, LinearSpec)]
    front = linear[:1] if spec.layers[:1] == tuple(linear[:1]) else []
    return sum(6 * x.n_in * x.n_out for x in linear) - sum(
        2 * x.n_in * x.n_out for x in front
    )


def peak() -> float:
    """Return the billions of operations a second of a float32 matrix product."""
    A = np.ones((SIDE, SIDE), np.float32)
    out = np.empty_like(A)
    np.dot(A, A, out=out)
    best = np.inf
    for _ in range(TIMES):
        began = time.perf_counter()
        np.dot(A, A, out=out)
        best = min(best, time.perf_counter() - began)
    return 2.0 * SIDE**3 / best / 1e9


def speed(spec: NetworkSpec, rows_per_s: float) -> Speed:
    """Return what was done a second in training, and the peak of this machine."""
    done, cores = operations(spec) * rows_per_s / 1e9, len(os.sched_getaffinity(0))
    with threadpool_limits(cores, user_api="blas"):
        return Speed(round(done, 3), round(peak(), 1), cores)
