"""Train xor and digits, serve them, send some digits, and stop.

`make demo` runs it; `make serve` adds --keep, which leaves the server running. It runs
the commands `trainer` and `service`, and needs only the standard library and NumPy.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "artefacts"
COMMANDS = Path(sys.executable).parent
SHADES = " ░▒▓█"
DIGITS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    environment = {**os.environ, "GLASSNET_STORE": str(STORE)}
    train("xor", environment)
    trained = train("digits", environment)
    port = free_port(arguments.port)
    address = f"http://127.0.0.1:{port}"
    environment |= {"GLASSNET_BIND": f"127.0.0.1:{port}"}
    if not arguments.keep:
        environment |= {"GLASSNET_DRAIN_SECONDS": "0", "GLASSNET_LOG_LEVEL": "error"}
    server = subprocess.Popen([COMMANDS / "service", "run"], env=environment)
    try:
        wait_until_ready(server, address)
        ask(address)
        accuracy = trained["metrics"]["accuracy"]
        print(
            f"\ndigits version {trained['version']}: held-out accuracy {accuracy:.1%}"
            f"\nPredict:  {address}/v1/models/digits:predict\n"
            f"Console:  {address}/"
        )
        if arguments.keep:
            print("Press Ctrl-C to stop the server.")
            server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        server.wait(60)


def train(name: str, environment: dict[str, str]) -> dict[str, Any]:
    """Train and publish a model with `trainer fit`; return its JSON result."""
    print(f"$ trainer fit builtin:{name} --model {name}", flush=True)
    job = subprocess.run(
        [COMMANDS / "trainer", "fit", f"builtin:{name}", "--model", name, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        check=False,
    )
    # 3: the gate refused the new version, so the one in production is served.
    if job.returncode not in (0, 3):
        sys.exit(job.returncode)
    result: dict[str, Any] = json.loads(job.stdout)
    return result


def free_port(wanted: int) -> int:
    """Return the wanted port, or any free port if it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    sys.exit("there is no free port")


def wait_until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    """Poll the readiness probe, as an orchestrator does."""
    for _ in range(300):
        if server.poll() is not None:
            sys.exit(f"the server exited with code {server.returncode}")
        try:
            urllib.request.urlopen(f"{address}/v2/health/ready", timeout=1)
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("the server did not become ready within 30 s")


def ask(address: str) -> None:
    """Send random digits over HTTP and print the predictions."""
    with np.load(ROOT / "trainer" / "data" / "digits.npz") as data:
        chosen = np.random.default_rng().choice(len(data["X"]), DIGITS, replace=False)
        images, truth = data["X"][chosen], data["y"][chosen]
    request = urllib.request.Request(
        f"{address}/v1/models/digits:predict",
        json.dumps({"instances": images.tolist()}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        predictions = json.load(reply)["predictions"]
    print(f"\nPredictions of {address} for {DIGITS} handwritten digits:\n")
    for row in range(images.shape[1]):
        print("  ".join(shade(image[row]) for image in images))
    labels = [f"{p['label']} ({max(p['probabilities']):.0%})" for p in predictions]
    print("  ".join(f"pred {label:<11}" for label in labels))
    print("  ".join(f"true {digit!s:<11}" for digit in truth))


def shade(pixels: np.ndarray) -> str:
    """Return a row of grey levels 0..16 as characters, two a pixel."""
    return "".join(SHADES[min(int(p) * len(SHADES) // 17, 4)] * 2 for p in pixels)


if __name__ == "__main__":
    main()
