"""gunicorn's configuration: `gunicorn -c python:service.server.gunicorn_conf`.

The master loads the models, and its workers share them (copy on write). Threads do not
survive a fork, so each worker starts its own watcher of the store.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

# Until the master is ready: a start makes hardly any garbage, and collecting took a
# sixth of its time.
gc.disable()

# Before NumPy is imported: with more BLAS threads, workers would compete for the cores,
# and the master's pool of threads would be missing in the workers.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from service.server import shared_memory  # noqa: E402
from service.settings import from_environment  # noqa: E402

_settings = from_environment(os.environ)
_memory, _warning = shared_memory.place(_settings.workers)
_OURS = "glassnet-metrics-"
# Before prometheus_client is imported: it chooses its files at import. SIGHUP replaces
# workers, with the same directory; settings are read at the start alone.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    _made = shared_memory.make_directory(_OURS, _memory)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_made)

from prometheus_client.multiprocess import mark_process_dead  # noqa: E402

from service.server import drain, worker_sync  # noqa: E402
from service.server.json_logging import configuration  # noqa: E402

wsgi_app = "service:create_app()"
bind = _settings.address
worker_class = "service.server.worker.Worker"
workers = _settings.workers
preload_app = True
worker_tmp_dir = str(_memory)
certfile = _settings.tls_certificate_file
keyfile = _settings.tls_key_file
graceful_timeout = _settings.graceful_seconds
keepalive = _settings.keep_alive_seconds
# No header is trusted for where a request came from.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
http_parser = "python"  # the same one wherever it runs
control_socket_disable = True
logconfig_dict = configuration(_settings.log_level)


def when_ready(server: Any) -> None:
    """Run in the master once the models are loaded and it listens."""
    # Keep the workers' garbage collector off the objects that exist now.
    gc.freeze()
    gc.enable()
    drain.install(server.log, _settings.drain_seconds)
    worker_sync.directory(_memory)  # before the fork: one for all workers
    signal.signal(signal.SIGUSR2, partial(_no_second_master, server.log))
    # Its gauges stay at zero, which would be the smallest value of all processes.
    mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if sentence := _warning or shared_memory.shortage(directory, workers):
        server.log.warning(sentence)


def _no_second_master(log: Any, *_: Any) -> None:
    """Refuse SIGUSR2: a second master would share, and then remove, our directories."""
    log.warning("SIGUSR2 is not supported: start another server, then stop this one")


def post_fork(server: Any, worker: Any) -> None:
    """Run in a worker when it has been forked."""
    worker.settings = _settings


def post_worker_init(worker: Any) -> None:
    """Run in a worker before its first request."""
    model_server = worker.wsgi.extensions["glassnet"]
    worker.access = model_server.access
    model_server.start(_settings.poll_seconds, worker_sync.directory(_memory))
    if drain.over():  # it missed a SIGTERM that came before its handler
        worker.alive = False


def worker_exit(server: Any, worker: Any) -> None:
    """Run in a worker before it exits."""
    if worker.wsgi is not None:  # it had started
        worker.wsgi.extensions["glassnet"].stop()


def child_exit(server: Any, worker: Any) -> None:
    """Run in the master when a worker exits: drop its gauges, keep its counters."""
    from service.server.metric_files import merge_ended

    merge_ended(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))


def on_exit(server: Any) -> None:
    """Run in the master when it exits."""
    shutil.rmtree(worker_sync.directory(_memory), ignore_errors=True)
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if directory.name.startswith(_OURS):
        shutil.rmtree(directory, ignore_errors=True)
