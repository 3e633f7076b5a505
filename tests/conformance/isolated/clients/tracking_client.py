"""Read the runs of an experiment with MLflow's client; print them as JSON."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient


def main(facts: dict[str, Any]) -> dict[str, Any]:
    client = MlflowClient(facts["url"])
    experiment = client.get_experiment_by_name(facts["experiment"])
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    return {"runs": [read(client, run) for run in runs]}


def read(client: MlflowClient, run: Any) -> dict[str, Any]:
    files: dict[str, str] = {}
    for file in client.list_artifacts(run.info.run_id):
        with tempfile.TemporaryDirectory() as folder:
            path = client.download_artifacts(run.info.run_id, file.path, folder)
            files[file.path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "seconds": (run.info.end_time - run.info.start_time) / 1000,
        "params": run.data.params,
        "metrics": run.data.metrics,
        "tags": run.data.tags,
        "files": files,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
