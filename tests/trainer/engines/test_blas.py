"""Which BLAS multiplies."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from trainer.engines import blas
from trainer.engines.blas import Blas, find_blas

FIND = "from trainer.engines.blas import find_blas; print(find_blas().kernel)"


def test_it_is_the_one_numpy_was_built_with() -> None:
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload]
    found = find_blas()
    assert found.name in built["name"].replace("-", "") and found.kernel
    assert str(found) == f"{found.name} {found.version} {found.kernel}, " + (
        "1 thread" if found.threads == 1 else f"{found.threads} threads"
    )


def test_threads_are_those_of_the_moment() -> None:
    with threadpool_limits(1, user_api="blas"):
        assert find_blas().threads == 1


def test_the_kernel_is_the_one_that_the_environment_asks_for() -> None:
    """Nehalem needs SSE4.2, which every x86 processor of this century has."""
    if find_blas().name != "openblas" or os.uname().machine != "x86_64":
        pytest.skip("OPENBLAS_CORETYPE is OpenBLAS's, and this name x86's")
    asked = os.environ | {"OPENBLAS_CORETYPE": "Nehalem"}
    done = subprocess.run(
        [sys.executable, "-c", FIND], env=asked, capture_output=True, text=True
    )
    assert done.stdout == "Nehalem\n", done.stderr


def test_numpys_own_comes_before_that_of_another_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def info(package: str, kernel: str) -> dict[str, object]:
        return {
            "user_api": "blas",
            "internal_api": "openblas",
            "version": "0.3",
            "architecture": kernel,
            "num_threads": 1,
            "filepath": f"/site-packages/{package}.libs/libopenblas.so",
        }

    both = [info("scipy", "Zen"), info("numpy", "Haswell")]
    monkeypatch.setattr(blas, "threadpool_info", lambda: both)
    assert find_blas() == Blas("openblas", "0.3", "Haswell", 1)
    monkeypatch.setattr(blas, "threadpool_info", list)
    assert find_blas().name == "unknown"
