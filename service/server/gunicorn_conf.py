"""gunicorn's configuration: `gunicorn -c python:service.server.gunicorn_conf`.

The models are loaded in the master and shared by its workers (copy on write); what
cannot be shared over a fork (the watcher's thread) starts in each worker.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

# Until the master is ready: of what a start makes, next to nothing is garbage, and to
# look for it took a sixth of the time.
gc.disable()

# Before NumPy is imported: one BLAS thread, or workers and threads fight for the cores,
# and a pool of threads made in the master would be missing in the workers.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

_OURS = "glassnet-metrics-"
# Shared memory where there is some: a heartbeat or a counter never waits for a disk.
_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# Before prometheus_client is imported: it chooses its files at import. This module is
# run again on SIGHUP, when the directory must stay what it is.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OURS, dir=_memory)

from service.middleware.concurrency_limit import PROBE_THREADS  # noqa: E402
from service.server import drain, shared_memory, worker_sync  # noqa: E402
from service.server.json_logging import configuration  # noqa: E402
from service.settings import from_environment  # noqa: E402

_settings = from_environment(os.environ)

wsgi_app = "service:create_app()"
bind = _settings.address
worker_class = "service.server.worker.Worker"
workers = _settings.workers
threads = _settings.threads + PROBE_THREADS
preload_app = True
worker_tmp_dir = _memory
certfile = _settings.tls_certificate_file
keyfile = _settings.tls_key_file
graceful_timeout = _settings.graceful_seconds
keepalive = 75  # longer than a load balancer keeps an idle connection
control_socket_disable = True
logger_class = "service.server.json_logging.GunicornLogger"
logconfig_dict = configuration(_settings.log_level)


def when_ready(server: Any) -> None:
    """The master holds the models and listens."""
    # What is there now stays: neither counted nor moved by the workers' collector.
    gc.freeze()
    gc.enable()
    drain.install(server, _settings.drain_seconds)
    worker_sync.directory(_memory)  # one for all its workers
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if sentence := shared_memory.shortage(directory, workers):
        server.log.warning(sentence)


def post_fork(server: Any, worker: Any) -> None:
    """A worker is made."""
    worker.read_seconds = _settings.read_seconds


def post_worker_init(worker: Any) -> None:
    """A worker is about to answer."""
    model_server = worker.wsgi.extensions["glassnet"]
    model_server.start(_settings.poll_seconds, worker_sync.directory(_memory))
    if drain.over():  # a SIGTERM before it knew what to do with one is lost
        worker.alive = False


def child_exit(server: Any, worker: Any) -> None:
    """A worker is gone: its gauges go too, its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """The master is leaving."""
    shutil.rmtree(worker_sync.directory(_memory), ignore_errors=True)
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if directory.name.startswith(_OURS):
        shutil.rmtree(directory, ignore_errors=True)
