"""The two images and the stack of docker-compose.yml, on a real container engine.

`make containers`: building both takes a third of what all other tests may.
"""

from __future__ import annotations

import urllib.error
from typing import Any

import pytest
from sklearn.datasets import load_digits

FORBIDDEN = ["pip", "pip3", "cc", "gcc", "g++", "clang", "ld", "as", "make", "curl"]

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]


def test_the_stack_trains_serves_and_is_watched(stack: Any) -> None:
    try:
        stack.compose("build", timeout=900)
        stack.up()
        trained_then_healthy(stack)
        reads_digits(stack)
        is_scraped(stack)
        is_locked_down(stack)
        has_no_tools(stack)
        is_small(stack)
        stops_and_comes_back(stack)
    except BaseException:
        print(stack.logs())
        raise


def trained_then_healthy(stack: Any) -> None:
    first = stack.inspect("first")["State"]
    assert (first["Status"], first["ExitCode"]) == ("exited", 0)

    def healthy() -> bool:
        states = [stack.inspect(service)["State"] for service in stack.services]
        looked_at = [state["Health"] for state in states if "Health" in state]
        return {health["Status"] for health in looked_at} == {"healthy"}

    stack.wait_for("health", healthy, timeout=180)
    for service in "trainer", "service":
        assert stack.inspect(service)["State"]["StartedAt"] > first["FinishedAt"]


def reads_digits(stack: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        stack.http.open(stack.url("service", 8080) + "/v1/models", timeout=10)
    with refused.value as reply:
        assert reply.code == 401
    digits = load_digits()
    (three,), _ = stack.predict("digits", digits.images[3:4].tolist())
    assert three["label"] == 3
    assert len(three["probabilities"]) == 10
    assert sum(three["probabilities"]) == pytest.approx(1, abs=1e-3)
    assert max(three["probabilities"]) == three["probabilities"][3]

    # The held-out rows among these may be misread, few of them.
    replies, _ = stack.predict("digits", digits.images[:200].tolist())
    assert len(replies) == 200
    wrong = [i for i in range(200) if replies[i]["label"] != digits.target[i]]
    assert len(wrong) <= 10, f"misread rows {wrong}"


def is_scraped(stack: Any) -> None:
    query = stack.query
    stack.wait_for("up == 1", lambda: query('up{job="glassnet"}') == 1, timeout=60)
    trained = 'glassnet_training_promoted{job="glassnet-training", model="digits"}'
    stack.wait_for("the figures of the first run", lambda: query(trained) == 1, 60)
    asked = 'sum(glassnet_http_requests_total{method="POST",code="200"})'
    # Both predictions, whichever worker answered them.
    stack.wait_for("two requests counted", lambda: (query(asked) or 0) >= 2, timeout=60)


def is_locked_down(stack: Any) -> None:
    for service in stack.services:
        host = stack.inspect(service)["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert not host["Privileged"], service
        assert all(host[k] > 0 for k in ("Memory", "NanoCpus", "PidsLimit")), service
    for service in "trainer", "service":
        assert stack.inspect(service)["Config"]["User"] == "10001:10001"

    status = stack.python("service", "print(open('/proc/1/status').read())")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert set((fields["Uid"] + "\t" + fields["Gid"]).split()) == {"10001"}
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"

    # Not even root may write, and not even the store's owner into the store.
    write = "try: open('{}/probe', 'w')\nexcept OSError as e: print(e.strerror)"
    refused = "Read-only file system"
    assert stack.python("service", write.format(""), "--user", "0") == refused
    assert stack.python("service", write.format("/store")) == refused
    assert stack.python("service", write.format("/tmp")) == ""


def has_no_tools(stack: Any) -> None:
    other = {"service": "trainer", "trainer": "service"}
    for service in other:
        modules = ["pip", "ensurepip", "setuptools", other[service]]
        code = (
            "import importlib.util, shutil\n"
            f"print(*filter(shutil.which, {FORBIDDEN}),"
            f" *filter(importlib.util.find_spec, {modules}))"
        )
        image = stack.inspect(service)["Image"]
        entry = ["--network=none", "--entrypoint=python"]
        found = stack.run("docker", "run", "--rm", *entry, image, "-c", code)
        assert found == "", service


def is_small(stack: Any) -> None:
    code = (
        "import pathlib\n"
        "files = pathlib.Path('/opt/glassnet').rglob('*')\n"
        "print(sum(f.lstat().st_size for f in files))"
    )
    assert int(stack.python("service", code)) < 80e6


def stops_and_comes_back(stack: Any) -> None:
    stack.compose("stop", timeout=120)
    # 137 would be a kill at the end of the grace period.
    assert stack.inspect("service")["State"]["ExitCode"] == 0
    assert stack.inspect("trainer")["State"]["ExitCode"] == 0
    # The job runs again into the store it has already filled.
    stack.up()
    trained_then_healthy(stack)
    reads_digits(stack)
