"""docs/notebook.ipynb runs as it is, in Jupyter's own kernel, with a real server."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.filterwarnings("ignore")
def test_the_notebook_ends_in_a_served_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DOCS / "customers.csv", tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("GLASSNET_BIND", address)
    notebook = nbformat.read(DOCS / "notebook.ipynb", 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) == 12 and not any(cell.outputs for cell in cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute()
    results = [_result(cell) for cell in cells]
    assert "<svg" in results[1]["text/html"] and "accuracy" in results[1]["text/html"]
    assert results[7]["text/plain"].startswith("(1, True")
    served: list[dict[str, Any]] = eval(results[10]["text/plain"])["predictions"]
    probabilities = eval(results[5]["text/plain"])
    for row, each in enumerate(served):
        assert each["probabilities"] == pytest.approx(
            [probabilities["no"][row], probabilities["yes"][row]], abs=1e-6
        )
    assert results[11]["text/plain"] == "0"


def _result(cell: Any) -> dict[str, str]:
    """Return what the last line of a cell shows, by media type."""
    found = [output.data for output in cell.outputs if "data" in output]
    return found[-1] if found else {}
