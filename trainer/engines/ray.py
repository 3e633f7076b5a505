"""Runs tasks on a Ray cluster: that of RAY_ADDRESS, or one of this machine's cores.

Workers see no store and no files of the caller: it gives a task its checkpoint, and
writes those that it sends back. Only what goes to the workers, whose code is the
caller's anyway, is in Ray's own envelope, a pickle; what comes back are bytes.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from models.errors import ConfigError, GlassnetError
from models.storage.interfaces import StoredFile
from trainer.engines.base import OnMessage, Report, ResultT, SharedT, TaskT
from trainer.engines.ray_worker import (
    Environment,
    Item,
    Mailbox,
    Reporter,
    find_environment,
    mixture,
    run_task,
)
from trainer.engines.wire import Arrays, Failure, RemoteFunction, build, flatten, unpack
from trainer.types import Say

#: How often a task is started again whose worker was lost.
RETRIES = 3
#: Seconds between two looks for a signal.
SIGNAL_SECONDS = 0.2
#: Seconds to wait for a cluster to accept a connection.
REACH_SECONDS = 10.0
#: Seconds to wait for what a node says of itself.
NODE_SECONDS = 120.0
#: Chooses a kernel of OpenBLAS, which else chooses by the processor.
KERNEL = "OPENBLAS_CORETYPE"
#: What Ray would say or ask beside our own sentences.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # it prints to standard output
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


@contextlib.contextmanager
def ray_engine(size: int | None, threads: int, say: Say) -> Iterator[RayEngine]:
    """Hold the engine for up to `size` tasks at once, each with `threads` BLAS threads.

    Raises ConfigError without the extra, and GlassnetError for a cluster that cannot
    be used.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("RAY_ADDRESS")
    if address is None and "RAY_AUTH_MODE" not in os.environ:
        # Ray would write a token to the home directory.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()}
    try:
        import ray
    except ModuleNotFoundError:
        raise ConfigError(
            "--engine ray needs the extra 'ray': pip install 'glassnet[ray]'"
        ) from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if kernel := os.environ.get(KERNEL):
        options["runtime_env"] = {"env_vars": {KERNEL: kernel}}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_kept_handlers())
        if address is None:
            temporary = tempfile.TemporaryDirectory(
                prefix="glassnet-ray-", ignore_cleanup_errors=True
            )
            options |= {
                "address": "local",
                "num_cpus": max(size or len(os.sched_getaffinity(0)), threads),
                "include_dashboard": False,
                "_temp_dir": stack.enter_context(temporary),
                "_node_ip_address": "127.0.0.1",
            }
        stack.callback(ray.shutdown)
        try:
            _reach(address)
            ray.init(**options)
        except Exception as error:  # Ray raises a bare Exception if its start is slow
            raise GlassnetError(_why_not(error, address)) from None
        exit_if_told = _note_sigterm()
        yield RayEngine(ray, size, find_environment(threads), say, exit_if_told)


class RayEngine:
    """Runs tasks on the cluster that is connected, up to `size` at once."""

    shares_memory = False

    def __init__(
        self,
        ray: Any,
        size: int | None,
        expected: Environment,
        say: Say,
        exit_if_told: Callable[[], None],
    ) -> None:
        self.ray, self.expected, self.say = ray, expected, say
        self.exit_if_told = exit_if_told
        self.limited_to = size
        cores = int(ray.cluster_resources().get("CPU", 1))
        fit = max(cores // expected.blas.threads, 1)
        self.size = min(size or fit, fit)
        self._check_nodes()

    def map(
        self,
        function: Callable[[SharedT, TaskT, Report], ResultT],
        shared: SharedT,
        tasks: Sequence[TaskT],
        on_message: OnMessage,
    ) -> list[ResultT]:
        """Run the tasks, as `Engine.map` says; none is left running at the end.

        A task whose worker is lost is started again, from its checkpoint. Raises
        GlassnetError if that does not help.
        """
        run = _Map(self, RemoteFunction.of(function), shared, tasks, on_message)
        try:
            return run.results()
        finally:
            run.stop()

    def _check_nodes(self) -> None:
        """Raise GlassnetError if a node would end in other bytes than this machine."""
        ray, threads = self.ray, self.expected.blas.threads
        nodes = [
            node
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0) >= threads
        ]
        look = ray.remote(num_cpus=0, max_retries=RETRIES)(_look)
        affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        refs = [
            look.options(scheduling_strategy=affinity(node["NodeID"], False)).remote(
                threads
            )
            for node in nodes
        ]
        try:
            texts = ray.get(refs, timeout=NODE_SECONDS)
        except ray.exceptions.RayError as error:
            raise GlassnetError(
                "a node of the Ray cluster cannot run glassnet; install the same "
                f"version on all: {_last_line(error)}"
            ) from None
        found = [msgspec.json.decode(text, type=Environment) for text in texts]
        names = [f"{n['NodeManagerHostname']} ({n['NodeName']})" for n in nodes]
        others = {
            name: environment
            for name, environment in zip(names, found, strict=True)
            if environment != self.expected
        }
        if others:
            raise GlassnetError(mixture(self.expected, others))


class _Map:
    """The tasks of one call: what runs, and what is there already."""

    def __init__(
        self,
        engine: RayEngine,
        function: RemoteFunction,
        shared: Any,
        tasks: Sequence[Any],
        on_message: OnMessage,
    ) -> None:
        self.ray, self.engine, self.function = engine.ray, engine, function
        self.tasks, self.on_message = tasks, on_message
        threads = engine.expected.blas.threads
        self.remote = self.ray.remote(num_cpus=threads, max_retries=0)(_run)
        self.expected = msgspec.json.encode(engine.expected).decode()
        self.shared = self.ray.put(flatten(shared))
        self.mailbox = self.ray.remote(num_cpus=0, max_restarts=-1)(Mailbox).remote()
        self.running: dict[Any, int] = {}
        self.tries = [0] * len(tasks)
        self.answers: list[tuple[int, str]] = []
        self.inbox = self._take()

    def results(self) -> list[Any]:
        """Run all tasks; return their results in order."""
        waiting = list(range(len(self.tasks)))[::-1]
        at_once = self.engine.limited_to or len(waiting)  # else as many as Ray can
        results: dict[int, Any] = {}
        while waiting or self.running:
            while waiting and len(self.running) < at_once:
                self._start(waiting.pop())
            ready, _ = self.ray.wait(
                [self.inbox, *self.running], timeout=SIGNAL_SECONDS
            )
            self.engine.exit_if_told()
            for ref in ready:
                if ref is self.inbox:
                    self._deliver()
                    self.inbox = self._take()
                else:
                    number = self.running.pop(ref)
                    packed = self._result(ref, number)
                    if packed is None:
                        waiting.append(number)
                    else:
                        results[number] = self._unpacked(packed)
        # The call that still waits may have messages already: let it return, then see
        # what came after it.
        self.mailbox.put.remote(0, [])
        self._deliver()
        self.inbox = self._take(wait=False)
        self._deliver()
        return [results[number] for number in range(len(self.tasks))]

    def stop(self) -> None:
        """End what still runs."""
        for ref in self.running:
            self.ray.cancel(ref, force=True)
        self.ray.kill(self.mailbox)

    def _start(self, number: int) -> None:
        self.tries[number] += 1
        text, arrays = flatten(self.tasks[number])
        ref = self.remote.remote(
            self.mailbox,
            number,
            self.function.name,
            self.expected,
            self.shared,
            text,
            arrays,
        )
        self.running[ref] = number

    def _take(self, wait: bool = True) -> Any:
        answers, self.answers = self.answers, []
        return self.mailbox.take.remote(msgspec.json.encode(answers), wait)

    def _deliver(self) -> None:
        """Pass on the messages that have come, and write the files."""
        try:
            items = unpack(list[Item], self.ray.get(self.inbox))
        except self.ray.exceptions.RayError:
            return  # it starts again; messages only show progress
        for item in items:
            for message in item.messages:
                self.on_message(item.task, build(self.function.message, message, []))
            if item.content is not None:
                self.answers.append((item.task, self._write(item)))

    def _write(self, item: Item) -> str:
        """Write the file of a task; return why it cannot be, or nothing."""
        assert item.content is not None
        try:
            _file(self.tasks[item.task]).write(item.content.tobytes())
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _result(self, ref: Any, number: int) -> bytes | None:
        """Return what a task sent, or None if its worker was lost and it may try again.

        Raises GlassnetError if it was lost too often, or could not be started.
        """
        lost = self.ray.exceptions
        try:
            packed: bytes = self.ray.get(ref)
            return packed
        except (
            lost.WorkerCrashedError,
            lost.NodeDiedError,
            lost.OutOfMemoryError,
            lost.ObjectLostError,
            lost.LocalRayletDiedError,
        ) as error:
            task = f"task {number + 1} of {len(self.tasks)}"
            why = _last_line(error)
            if self.tries[number] > RETRIES:
                raise GlassnetError(
                    f"{task} lost its worker {self.tries[number]} times: {why}"
                ) from None
            self.engine.say(f"{task} lost its worker and is started again: {why}")
            return None
        except lost.RayError as error:
            raise GlassnetError(f"Ray: {_last_line(error)}") from None

    def _unpacked(self, packed: bytes) -> Any:
        if packed[:1] == b"-":
            failure: Failure = unpack(Failure, packed[1:])
            raise failure.error()
        return unpack(self.function.result, packed[1:])


def _run(
    mailbox: Any,
    number: int,
    name: str,
    expected: str,
    shared: tuple[str, Arrays],
    text: str,
    arrays: Arrays,
) -> bytes:
    """Run a task on a worker, which has received its arguments."""
    import ray

    reporter = Reporter(
        lambda messages: mailbox.put.remote(number, messages),
        lambda content: str(ray.get(mailbox.write.remote(number, content))),
    )
    packed = run_task(name, expected, shared, (text, arrays), reporter)
    with contextlib.suppress(ray.exceptions.RayError):  # only progress
        ray.get(reporter.flush())
    return packed


def _look(threads: int) -> bytes:
    """Return the environment of a worker."""
    return msgspec.json.encode(find_environment(threads))


def _file(task: Any) -> StoredFile:
    """Return the one file that a task has."""
    (file,) = (item for item in vars(task).values() if isinstance(item, StoredFile))
    return file


def _reach(address: str | None) -> None:
    """Raise OSError if nothing listens there: Ray would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()


def _why_not(error: Exception, address: str | None) -> str:
    """Return the sentence on a cluster that cannot be reached or used."""
    place = f"the Ray cluster at {address}" if address else "Ray on this machine"
    text = f"{error} {error.__cause__ or ''}"
    versions = re.findall(r"(?:Ray|Python): (\S+)", text)
    if len(versions) == 4:
        theirs, ours = versions[:2], versions[2:]
        return (
            f"{place} runs Ray {theirs[0]} and Python {theirs[1]}, this machine Ray "
            f"{ours[0]} and Python {ours[1]}: install the same versions"
        )
    why = getattr(error, "strerror", None) or _last_line(error)
    return f"{place} cannot be used: {why}"


def _last_line(error: Exception) -> str:
    """Return an error's last line: Ray's have a traceback before it."""
    return str(error).strip().rpartition("\n")[2]


@contextlib.contextmanager
def _kept_handlers() -> Iterator[None]:
    """Put back the handler of SIGTERM, which Ray replaces."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _note_sigterm() -> Callable[[], None]:
    """Return a function that exits if SIGTERM has come, with the code it has anyway.

    SystemExit from a handler may arrive inside of Ray, which makes it exit code 1.
    """
    told: list[int] = []

    def exit_if_told() -> None:
        if told:
            raise SystemExit(128 + told[0])

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    return exit_if_told
