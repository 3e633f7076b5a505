"""CPU of a request, whole server: this service, its peers, and gunicorn alone.

    python benchmarks/serve.py [--peers DIR] [--rounds 3] [--seconds 3] [--only a,b]

Requests per second say little on a shared machine; what is printed is the CPU time
(user and system) of all of a server's processes over the answers it gave, the best of
the rounds, with every server up and asked in turn within each round. Needs `wrk`.
DIR holds one virtual environment a peer: `fastapi` (fastapi uvicorn[standard]
onnxruntime onnx orjson msgspec), `mlserver` (mlserver onnxruntime), `bentoml` (bentoml
onnxruntime), `mlflow` (mlflow onnxruntime onnx). A peer without one is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from serving.measuring import Case, Server, cpu_of_an_answer, free_port, running

HERE = Path(__file__).resolve().parent / "serving"
JSON = "application/json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, default=Path("peers"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", help="servers, separated by commas")
    arguments = parser.parse_args()
    best: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        servers = _servers(Path(place), arguments.peers)
        if arguments.only:
            servers = {k: servers[k] for k in arguments.only.split(",")}
        up = {
            name: stack.enter_context(running(name, server, Path(place)))
            for name, server in servers.items()
        }
        for _ in range(arguments.rounds):
            for name, server in servers.items():
                for label, case in server.cases.items():
                    found = cpu_of_an_answer(*up[name], case, arguments.seconds)
                    best[label, name] = min(found, best.get((label, name), found))
    for label in dict.fromkeys(label for label, _ in best):
        print(f"\n{label}")
        ours, floor = best.get((label, "glassnet")), best.get((label, "echo"))
        for name in servers:
            if (label, name) in best:
                cost = best[label, name]
                print(f"  {name:14s} {cost:8.0f} µs", end="")
                print(f"  glassnet / it {ours / cost:5.2f}" if ours else "", end="")
                print(f"  it / echo {cost / floor:5.2f}" if floor else "")


def _servers(place: Path, peers: Path) -> dict[str, Server]:
    """Fit the models, write the bodies, and say how each server is started."""
    glassnet = [sys.executable, "-P", "-m"]
    rng = np.random.default_rng(0)
    rows = {
        "1 x 8": ("narrow", rng.random((1, 8), np.float32)),
        "1 x 784": ("wide", rng.random((1, 784), np.float32)),
        "64 x 784": ("wide", rng.random((64, 784), np.float32)),
    }
    store = place / "store"
    for model, width in (("narrow", 8), ("wide", 784)):
        _fit(glassnet, model, _tensors(place / f"{model}.npz", width), store)
    _fit(glassnet, "table", _table(place / "table.csv"), store)

    def numbers(X: np.ndarray) -> list[list[float]]:
        return [[round(float(x), 6) for x in row] for row in X]

    def json_cases(path: str, key: str) -> dict[str, Case]:
        return {
            label: Case(
                path.format(model),
                json.dumps({key: numbers(X)}, separators=(",", ":")).encode(),
                {"Content-Type": JSON},
            )
            for label, (model, X) in rows.items()
        }

    binary = _binary(rows["64 x 784"][1])
    one = {"city": "berlin", "kind": "b", "age": 41, "income": 3120.5, "member": True}
    records = {
        f"{n} records": Case(
            "/v1/models/table:predict",
            json.dumps({"instances": [one] * n}).encode(),
            {"Content-Type": JSON},
        )
        for n in (1, 100)
    }
    ours = json_cases("/v1/models/{}:predict", "instances")
    ours |= {"64 x 784 binary": binary} | records
    echo = [*glassnet, "gunicorn", "-k", "gthread", "-w", "2", "--threads", "4"]
    servers = {
        "echo": Server(
            [*echo, "--keep-alive", "75", "-b", "127.0.0.1:{port}", "echo_app:app"],
            ours,
            environment={"PYTHONPATH": str(HERE)},
        ),
        "glassnet": Server(
            [*glassnet, "service.cli", "run", "--workers", "2", "--store", store],
            ours,
            "/v2/health/ready",
            {"GLASSNET_BIND": "127.0.0.1:{port}"},
        ),
    }
    return servers | _peers(place, peers, store, json_cases, rows)


def _peers(place, peers, store, json_cases, rows) -> dict[str, Server]:  # type: ignore[no-untyped-def]
    """Return the other servers, of those whose environment is there."""
    binaries = {p: peers.absolute() / p / "bin" for p in PEERS}
    python = {p: place / "python" for p, place in binaries.items()}
    if not python["fastapi"].exists():
        return {}
    onnx = {}
    for model in ("narrow", "wide"):
        onnx[model] = place / f"{model}.onnx"
        source = store / model / "1" / "model.npz"
        _run(python["fastapi"], HERE / "onnx_model.py", source, onnx[model])
    servers = {}
    for model in ("narrow", "wide"):
        labels = [label for label, (of, _) in rows.items() if of == model]
        environment = {"ONNX_MODEL": str(onnx[model]), "PYTHONPATH": str(HERE)}

        def server(command, path, key, of=model, labels=labels, e=environment, **more):  # type: ignore[no-untyped-def]
            cases = json_cases(path, key)
            return Server(command, {k: cases[k] for k in labels}, environment=e, **more)

        uvicorn = [python["fastapi"], "-m", "uvicorn", "fastapi_app:app"]
        uvicorn += ["--workers", "2", "--port", "{port}", "--no-access-log"]
        servers[f"lean {model}"] = server(uvicorn, "/lean", "instances")
        servers[f"typed {model}"] = server(uvicorn, "/typed", "instances")
        if python["mlserver"].exists():
            made = server([binaries["mlserver"] / "mlserver", "start", "."], "", "")
            made.directory, made.ready = place / f"mlserver-{model}", "/v2/health/ready"
            made.directory.mkdir()
            settings = {"name": "m", "implementation": "mlserver_model.OnnxModel"}
            (made.directory / "model-settings.json").write_text(json.dumps(settings))
            server_settings = {"parallel_workers": 0, "debug": False}
            (made.directory / "settings.json").write_text(json.dumps(server_settings))
            made.environment = {
                **environment,
                "MLSERVER_HTTP_PORT": "{port}",
                "MLSERVER_GRPC_PORT": str(free_port()),
                "MLSERVER_METRICS_PORT": str(free_port()),
            }
            made.cases = {k: _openinference(rows[k][1]) for k in labels}
            servers[f"mlserver {model}"] = made
        if python["bentoml"].exists():
            command = [binaries["bentoml"] / "bentoml", "serve"]
            command += ["bentoml_service:Bench", "--port", "{port}"]
            made = server(command, "/predict", "instances", ready="/readyz")
            servers[f"bentoml {model}"] = made
        if python["mlflow"].exists():
            saved = place / f"mlflow-{model}"
            _run(python["mlflow"], HERE / "mlflow_model.py", onnx[model], saved)
            command = [binaries["mlflow"] / "mlflow", "models", "serve", "-w", "2"]
            command += ["--env-manager", "local", "-p", "{port}", "-m"]
            command += [saved]
            made = server(command, "/invocations", "inputs", ready="/ping")
            path = f"{binaries['mlflow']}{os.pathsep}{os.environ['PATH']}"
            made.environment = {**environment, "PATH": path}
            servers[f"mlflow {model}"] = made
    return servers


PEERS = ("fastapi", "mlserver", "bentoml", "mlflow")


def _fit(glassnet: list[str], model: str, data: Path, store: Path) -> None:
    plain = ["network.architecture=mlp", "network.hidden=[256,128]"]
    settings = [*plain, "ensemble.members=1"]
    options = [word for text in settings for word in ("--set", text)]
    where = ["--target", "y", "--model", model, "--store", store, "--epochs", "2"]
    always = ["--promote", "always", *options]
    _run(*glassnet, "trainer.cli", "fit", data, *where, *always)


def _tensors(path: Path, width: int) -> Path:
    rng = np.random.default_rng(0)
    X = rng.random((2000, width), np.float32)
    y = (X @ rng.standard_normal((width, 10))).argmax(1)
    np.savez(path, X=X, y=y)
    return path


def _table(path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["city,kind,age,income,member,y"]
    for _ in range(2000):
        age, income = rng.integers(18, 90), rng.normal(3000, 900)
        city = rng.choice(["berlin", "paris", "rome", "oslo"])
        member = rng.choice(["true", "false"])
        y = "yes" if income + 20 * age > 4000 else "no"
        lines.append(f"{city},{rng.choice(['a', 'b'])},{age},{income:.2f},{member},{y}")
    path.write_text("\n".join(lines) + "\n")
    return path


def _openinference(X: np.ndarray) -> Case:
    data = [round(float(x), 6) for x in X.ravel()]
    x = {"name": "x", "shape": list(X.shape), "datatype": "FP32", "data": data}
    body = json.dumps({"inputs": [x]}, separators=(",", ":")).encode()
    return Case("/v2/models/m/infer", body, {"Content-Type": JSON})


def _binary(X: np.ndarray) -> Case:
    """Return a request and its answer in bytes, by the binary tensor extension."""
    size = {"binary_data_size": X.nbytes}
    x = {"name": "x", "shape": list(X.shape), "datatype": "FP32", "parameters": size}
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [x], "outputs": outputs}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Case("/v2/models/wide/infer", head + X.tobytes(), headers)


def _run(*command: object) -> None:
    here = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    line = [str(part) for part in command]
    done = subprocess.run(line, capture_output=True, text=True, env=here)
    if done.returncode:
        sys.exit(f"{command[1:4]}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
