"""What the Dockerfile and the Compose file promise, read as text: no engine needed."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "${PYTHON_IMAGE}"

Instruction = tuple[str, str]


def read(name: str) -> str:
    """A file without the lines that are only a comment."""
    return re.sub(r"(?m)^\s*#.*\n", "", (ROOT / name).read_text())


def stages() -> dict[str, tuple[str, list[Instruction]]]:
    """Each stage of the Dockerfile: what it starts from, and its instructions."""
    found: dict[str, tuple[str, list[Instruction]]] = {}
    name = ""
    for line in re.sub(r"\\\n\s*", "", read("Dockerfile")).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            parent, _, name = rest.partition(" AS ")
            found[name] = parent, []
        elif word and name:  # above the first stage is a default for all
            found[name][1].append((word, rest))
    return found


def image(target: str) -> list[Instruction]:
    """Every instruction that leaves its mark on an image, first to last."""
    if target not in stages():
        return []
    parent, own = stages()[target]
    return image(parent) + own


def last(target: str, word: str) -> str:
    return [rest for name, rest in image(target) if name == word][-1]


def mapping(text: str, indent: int = 0) -> dict[str, str]:
    """The keys at one indentation of a YAML text, each with all that it holds."""
    parts = re.split(rf"(?m)^ {{{indent}}}(?=\S)", text)[1:]
    pairs = (part.split(":", 1) for part in parts)
    return {key: value.rstrip() for key, value in pairs}


def compose(service: str) -> dict[str, str]:
    document = mapping(read("docker-compose.yml"))
    own = mapping(document["services"], 2)[service]
    shared = mapping(document["x-hardening"], 2)
    keys = mapping(own, 4)
    if keys.pop("<<", "").strip() == "*hardening":
        keys = {**shared, **keys}
    return {key: value.strip() for key, value in keys.items()}


targets = pytest.mark.parametrize("target", ["service", "trainer"])
SERVICES = ["first", "trainer", "token", "service", "node-exporter", "prometheus"]
SERVICES += ["alertmanager", "grafana"]
services = pytest.mark.parametrize("service", SERVICES)


# The Dockerfile


def test_every_stage_starts_from_the_one_base() -> None:
    assert {parent for parent, _ in stages().values()} - set(stages()) == {BASE}


def test_any_builder_understands_the_file() -> None:
    text = read("Dockerfile")
    assert not re.search(r"<<|--link|--mount|--start-interval", text)


def test_everything_installed_is_locked_by_hash() -> None:
    text = re.sub(r"\\\n\s*", "", read("Dockerfile"))
    installs = re.findall(r"\bpip (?:--python \S+ )?(?:install|wheel) [^&\n]*", text)
    assert len(installs) >= 4
    for command in installs:
        assert "--no-deps" in command
        from_lock = "--require-hashes" in command and "--only-binary :all:" in command
        ours = command.strip().endswith(
            ("/wheel/*.whl", "--no-build-isolation -w /wheel .")
        )
        assert from_lock or ours, command
    assert "apt-get" not in text


@targets
def test_an_image_runs_as_a_fixed_number_without_rights(target: str) -> None:
    assert last(target, "USER") == "10001:10001"
    order = [word for word, _ in image(target)]
    assert not {"RUN", "COPY", "ADD"} & set(order[order.index("USER") :])
    (user,) = [rest for word, rest in image(target) if "useradd" in rest]
    assert "--no-create-home" in user
    assert "--shell /usr/sbin/nologin" in user
    assert "install -d -o 10001 -g 10001 /store /tokens /training" in user


@targets
def test_an_image_only_copies_a_finished_venv(target: str) -> None:
    copies = [rest for word, rest in image(target) if word in ("COPY", "ADD")]
    assert copies == [f"--from={target}-build /opt/glassnet /opt/glassnet"]
    runs = " ".join(rest for word, rest in image(target) if word == "RUN")
    assert not re.search(r"\b(pip3? (install|wheel)|apt|curl|wget|gcc)\b", runs)


@targets
def test_an_image_sets_its_environment(target: str) -> None:
    env = " ".join(rest for word, rest in image(target) if word == "ENV")
    for setting in "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1":
        assert setting in env
    assert "GLASSNET_STORE=/store" in env
    assert ("OPENBLAS_NUM_THREADS=1" in env) == (target == "service")


@targets
def test_an_image_says_what_it_is(target: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = last(target, "LABEL")
    for name, value in {
        "title": project["name"],
        "version": project["version"],
        "licenses": project["license"],
        "revision": "${REVISION}",
    }.items():
        assert f"org.opencontainers.image.{name}={value}" in labels


def test_the_service_checks_itself_without_a_shell_or_curl() -> None:
    check = last("service", "HEALTHCHECK")
    assert json.loads(check.partition(" CMD ")[2] or "0") == ["service", "probe"]


def test_the_commands_are_in_exec_form() -> None:
    assert json.loads(last("service", "ENTRYPOINT")) == ["service"]
    command = ["run", "--bind", "0.0.0.0:8080"]
    assert json.loads(last("service", "CMD")) == command
    assert last("service", "EXPOSE") == "8080"
    assert json.loads(last("trainer", "ENTRYPOINT")) == ["trainer"]


def test_the_service_is_the_default_target() -> None:
    assert list(stages())[-1] == "service"


def test_only_what_is_copied_enters_the_build() -> None:
    patterns = read(".dockerignore").split()
    assert patterns[0] == "*"
    allowed = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = " ".join(
        rest
        for _, own in stages().values()
        for word, rest in own
        if word == "COPY" and "--from" not in rest
    )
    assert allowed == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "deploy/locks",
        "models",
        "trainer",
        "service",
    }
    assert all(name in copied for name in allowed)


def test_the_wheel_in_the_image_has_every_package() -> None:
    # An editable install would hide a package that is missing from the list.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("models", "trainer", "service")
        for file in (ROOT / top).rglob("*.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == folders


# The Compose file


def test_the_services_and_nothing_an_old_compose_rejects() -> None:
    document = mapping(read("docker-compose.yml"))
    assert set(document) == {"x-hardening", "x-bucket", "services", "volumes"}
    assert list(mapping(document["services"], 2)) == SERVICES


@services
def test_every_container_is_hardened(service: str) -> None:
    keys = compose(service)
    assert keys["read_only"] == "true"
    assert keys["init"] == "true"
    assert keys["cap_drop"] == "[ALL]"
    assert keys["security_opt"] == '["no-new-privileges:true"]'
    assert keys["tmpfs"].startswith("- /tmp:")
    for limit in "cpus", "mem_limit", "pids_limit":
        assert re.match(r"(\$\{TRAINING_MEMORY:-)?[1-9]", keys[limit])
    widening = {"cap_add", "privileged", "network_mode", "pid", "ipc", "devices"}
    assert not widening & set(keys)
    assert "docker.sock" not in str(keys)
    # Ours take the image's user; the rest names one that is not root.
    users = {
        "node-exporter": '"65534:65534"',
        "prometheus": '"65534:65534"',
        "alertmanager": '"65534:65534"',
        "grafana": '"472:0"',
    }
    assert keys.get("user") == users.get(service)


@services
def test_ports_are_published_on_loopback_only(service: str) -> None:
    ports = re.findall(r'- "(.*)"', compose(service).get("ports", ""))
    expected = {
        "service": ["127.0.0.1:${SERVICE_PORT:-8080}:8080"],
        "prometheus": ["127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"],
        "alertmanager": ["127.0.0.1:${ALERTMANAGER_PORT:-9093}:9093"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }
    assert ports == expected.get(service, [])


def test_a_first_version_then_a_schedule_of_the_same() -> None:
    run = "fit ${FIT:-builtin:digits} --model ${MODEL:-digits}"
    # A version that the gate refuses (3) is there to be served.
    first = f"- trainer {run} || test $$? -eq 3"
    assert compose("first")["entrypoint"] == "[sh, -c]"
    assert compose("first")["command"] == first
    schedule = " ".join(compose("trainer")["command"].split())
    assert schedule == (
        '>- schedule --cron "${TRAINING_CRON:-0 3 * * *}" '
        f"--timezone ${{TRAINING_TIMEZONE:-UTC}} -- {run}"
    )
    assert compose("trainer")["healthcheck"].startswith(
        'test: [CMD, trainer, healthcheck, "${MODEL:-digits}"]'
    )


@services
def test_what_is_not_ours_has_a_version_that_a_variable_replaces(service: str) -> None:
    if "build" in (keys := compose(service)):
        assert "image" not in keys
        return
    variable = service.upper().replace("-", "_") + "_IMAGE"
    image = rf"\$\{{{variable}:-(prom|grafana)/{service}:v?\d+\.\d+\.\d+\}}"
    assert re.fullmatch(image, keys["image"])


def test_what_waits_for_what() -> None:
    done = "first:\n        condition: service_completed_successfully"
    for service in "trainer", "node-exporter":
        assert compose(service)["depends_on"] == done
    token = done.replace("first", "token")
    assert compose("service")["depends_on"] == f"{done}\n      {token}"
    waits = compose("prometheus")["depends_on"]
    assert re.fullmatch(r"service:\s+condition: service_healthy", waits)
    waits = compose("grafana")["depends_on"]
    assert re.fullmatch(r"prometheus:\s+condition: service_healthy", waits)


def test_only_the_trainer_may_write_into_the_store() -> None:
    assert compose("first")["volumes"].split() == [
        *("&store", "-", "store:/store", "-", "training:/training"),
        *("-", "${DATA:-./docs}:/data:ro"),
    ]
    assert compose("trainer")["volumes"] == "*store"
    assert compose("service")["volumes"].split() == [
        *("-", "store:/store:ro", "-", "tokens:/tokens:ro")
    ]
    assert compose("token")["volumes"] == "- tokens:/tokens"
    assert compose("node-exporter")["volumes"] == "- training:/training:ro"
    for service in "prometheus", "alertmanager", "grafana":
        assert "store:" not in compose(service)["volumes"]


@services
def test_files_of_this_folder_are_mounted_to_be_read(service: str) -> None:
    for mount in re.findall(r"- (\./.*)", compose(service).get("volumes", "")):
        source, _, mode = mount.split(":")
        assert (ROOT / source).is_dir()
        assert mode == "ro"


def test_the_job_ends_and_the_servers_stay() -> None:
    for service in SERVICES:
        once = service in ("first", "token")
        expected = '"no"' if once else "unless-stopped"
        assert compose(service)["restart"] == expected
    assert compose("service")["stop_grace_period"] == "40s"
    # It waits for the run.
    assert compose("trainer")["stop_grace_period"] == "10m"


@pytest.mark.parametrize("service", ["trainer", "prometheus", "grafana"])
def test_whoever_can_be_ill_is_looked_at(service: str) -> None:
    assert compose(service)["healthcheck"].startswith("test: [CMD, ")


@pytest.mark.parametrize(
    ("target", "first", "others"),
    [("trainer", "first", ["trainer"]), ("service", "token", ["service"])],
)
def test_compose_builds_each_target_once(
    target: str, first: str, others: list[str]
) -> None:
    build = compose(first)["build"]
    assert build.startswith(f"&{target}\n")
    assert f"target: {target}\n" in build
    for service in others:
        assert compose(service)["build"] == f"*{target}"
    assert (
        "PYTHON_IMAGE: ${PYTHON_IMAGE:-python:3.13-slim}" in compose("first")["build"]
    )


def test_alerts_are_sent_to_the_webhook_of_the_settings() -> None:
    assert 'targets: ["alertmanager:9093"]' in read("deploy/prometheus/prometheus.yml")
    assert "ALERT_WEBHOOK_URL: ${ALERT_WEBHOOK_URL:-}" in str(compose("alertmanager"))
    assert "> /tmp/webhook" in compose("alertmanager")["command"]
    assert "url_file: /tmp/webhook" in read("deploy/alertmanager/alertmanager.yml")


def test_the_service_asks_for_the_token_that_was_made() -> None:
    assert compose("token")["command"] == "[token, /tokens/token]"
    assert "GLASSNET_TOKEN_FILE: /tokens/token" in compose("service")["environment"]


def test_prometheus_scrapes_the_service() -> None:
    path = "deploy/prometheus/prometheus.yml"
    assert "./deploy/prometheus:/etc/prometheus:ro" in compose("prometheus")["volumes"]
    config = read(path)
    assert 'targets: ["service:8080"]' in config
    assert 'targets: ["node-exporter:9100"]' in config
    assert "metrics_path: /metrics" in config
    interval = re.search(r"scrape_interval: (\d+)s", config)
    assert interval
    assert int(interval[1]) <= 10
