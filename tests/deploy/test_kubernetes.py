"""The manifests: valid by the published schemas, of one piece, and locked down."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml

from models.storage.base import NAME
from service.app import build
from service.settings import Settings, from_environment
from trainer.cli.main import main
from trainer.cli.train import fit
from trainer.members import MemberNumber

from .conftest import DEPLOY, ROOT, read

BASE = DEPLOY / "kubernetes"
BUCKET = DEPLOY / "kubernetes-bucket"
MEMBERS = DEPLOY / "kubernetes-members"
KSERVE = DEPLOY / "kserve"
SCHEMAS = Path(__file__).parent / "schemas"
#: The oldest whose every field we use is stable, and the newest we have schemas of.
VERSIONS = ("1.31", kubernetes_validate.latest_version())

(KUSTOMIZATION,) = read(BASE / "kustomization.yaml")
FILES = [BASE / name for name in KUSTOMIZATION["resources"]]
FILES += [MEMBERS / "members.yaml"]
FILES += sorted(KSERVE.glob("*.yaml"))
MANIFESTS = [
    pytest.param(manifest, id=f"{manifest['kind']}-{manifest['metadata']['name']}")
    for path in FILES
    for manifest in read(path)
]
ALL = [parameter.values[0] for parameter in MANIFESTS]
CUSTOM = {path.stem for path in SCHEMAS.glob("*.json")}

Manifest = dict[str, Any]
manifests = pytest.mark.parametrize("manifest", MANIFESTS)
#: A Namespace has no fields of its own.
with_fields = pytest.mark.parametrize(
    "manifest", [each for each in MANIFESTS if "spec" in each.values[0]]
)


def of(kind: str, name: str = "glassnet") -> Manifest:
    (found,) = (m for m in ALL if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


def validate(manifest: Manifest, version: str = VERSIONS[0]) -> None:
    if manifest["kind"] in CUSTOM:
        schema = json.loads((SCHEMAS / f"{manifest['kind']}.json").read_text())
        jsonschema.validate(manifest, schema)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


def pods(manifests: list[Manifest] = ALL) -> Iterator[tuple[Manifest, Manifest]]:
    """Every specification of a pod, with its pod's labels."""
    for manifest in manifests:
        spec = manifest["spec"] if "spec" in manifest else {}
        if manifest["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec:
            yield spec["template"]["spec"], spec["template"]["metadata"]["labels"]
        elif manifest["kind"] == "ServingRuntime":
            yield spec, {}


@manifests
@pytest.mark.parametrize("version", VERSIONS)
def test_a_manifest_is_valid(manifest: Manifest, version: str) -> None:
    validate(manifest, version)


@with_fields
def test_a_misspelt_field_is_not(manifest: Manifest) -> None:
    wrong = {**manifest, "spec": {**manifest["spec"], "replicaz": 1}}
    errors = jsonschema.ValidationError, kubernetes_validate.ValidationError
    with pytest.raises(errors, match="replicaz"):
        validate(wrong)


def test_the_base_is_every_file_beside_it() -> None:
    files = {path.name for path in BASE.glob("*.yaml")}
    assert files == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    kinds = {manifest["kind"] for manifest in ALL}
    wanted = {"Deployment", "Service", "PodDisruptionBudget", "CronJob"}
    wanted |= {"HorizontalPodAutoscaler", "NetworkPolicy", "ServiceMonitor"}
    assert kinds >= wanted | {"ServingRuntime", "InferenceService"}


def kustomize(program: Callable[[str, str], str], folder: Path) -> str:
    """Return what kubectl builds of a folder."""
    kubectl = program("kubectl", "kubernetes-client")
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kustomize_builds_the_base(program: Callable[[str, str], str]) -> None:
    text = kustomize(program, BASE)
    built = list(yaml.safe_load_all(text))
    spaces = {m["metadata"].get("namespace") for m in built if m["kind"] != "Namespace"}
    assert spaces == {"glassnet"}
    for manifest in built:
        validate(manifest)
    assert len(re.findall(r"image: glassnet-\w+:\d", text)) == 3


def test_each_index_fits_its_network(program: Callable[[str, str], str]) -> None:
    built = list(yaml.safe_load_all(kustomize(program, MEMBERS)))
    for manifest in built:
        validate(manifest)
    specs = {m["metadata"]["name"]: m["spec"] for m in built}
    members, assembling = specs["glassnet-members"], specs["glassnet-assemble"]
    (container,) = members["template"]["spec"]["containers"]
    said = [
        subprocess.run(
            ["sh", "-c", container["args"][0].replace("exec trainer", "echo")],
            env={"JOB_COMPLETION_INDEX": str(index)},
            capture_output=True,
            text=True,
        ).stdout.split()
        for index in range(members["completions"])
    ]
    parent = click.Context(main, **main.context_settings)  # -h is remembered
    context = [fit.make_context("fit", words[1:], parent) for words in said]
    numbers = [MemberNumber.parse(each.params["member"]) for each in context]
    assert numbers == [(n + 1, len(said)) for n in range(len(said))]
    (container,) = assembling["template"]["spec"]["containers"]
    assert container["args"] == ["assemble", context[0].params["model"]]
    assert assembling["suspend"] is True


def test_with_a_bucket_no_volume_is_shared(program: Callable[[str, str], str]) -> None:
    text = kustomize(program, BUCKET)
    built = list(yaml.safe_load_all(text))
    for manifest in built:
        validate(manifest)
    assert "PersistentVolumeClaim" not in text and "/store" not in text
    accounts = {m["metadata"]["name"] for m in built if m["kind"] == "ServiceAccount"}
    (settings,) = (m for m in built if m["kind"] == "ConfigMap")
    assert settings["data"]["GLASSNET_STORE"].startswith("s3://")
    workloads = list(pods(built))
    assert len(workloads) == 3
    for pod, labels in workloads:
        (container,) = pod["containers"]
        role = labels["app.kubernetes.io/component"]
        assert pod["serviceAccountName"] == f"glassnet-{role}"
        assert pod["serviceAccountName"] in accounts
        source = container["envFrom"][0]["configMapRef"]["name"]
        assert source == settings["metadata"]["name"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert volumes == {mount["name"] for mount in container["volumeMounts"]}
    policies = [m["spec"] for m in built if m["kind"] == "NetworkPolicy"]
    for policy in policies:
        ports = [p["port"] for rule in policy["egress"] for p in rule["ports"]]
        assert {53, 443} <= {*ports}


def test_no_policy_is_open_to_every_namespace() -> None:
    for name in "glassnet-service", "glassnet-trainer":
        spec = of("NetworkPolicy", name)["spec"]
        peers = [peer for rule in spec["ingress"] for peer in rule["from"]]
        peers += [peer for rule in spec["egress"] for peer in rule["to"]]
        assert {"namespaceSelector": {}} not in peers
        assert all(peers)


def test_the_cache_fits_into_its_volume(program: Callable[[str, str], str]) -> None:
    built = yaml.safe_load_all(kustomize(program, BUCKET))
    (deployment,) = (m for m in built if m["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    environment = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
    found = from_environment(environment)
    (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "cache")
    assert found.store_cache == mount["mountPath"]
    (volume,) = (v for v in pod["volumes"] if v["name"] == "cache")
    assert volume["emptyDir"]["sizeLimit"] == "2Gi"
    assert found.store_cache_bytes < 2 << 30


def test_the_images_are_those_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for image in KUSTOMIZATION["images"]:
        assert image["newTag"] == project["version"]
    images = {
        container["image"] for pod, _ in pods() for container in pod["containers"]
    }
    assert images == {
        "glassnet-service",
        "glassnet-trainer",
        f"glassnet-service:{project['version']}",
    }


def test_every_selector_finds_its_pods() -> None:
    labels = [labels for _, labels in pods() if labels]
    selectors = [
        of("Deployment")["spec"]["selector"]["matchLabels"],
        of("Service")["spec"]["selector"],
        of("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        of("NetworkPolicy", "glassnet-service")["spec"]["podSelector"]["matchLabels"],
    ]
    assert [labels.count(selector) for selector in selectors] == [1, 1, 1, 1]
    policy = of("NetworkPolicy", "glassnet-trainer")["spec"]["podSelector"]
    assert labels.count(policy["matchLabels"]) == 4  # training, rollback, members
    # The monitor selects the Service, by its labels.
    wanted = of("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= of("Service")["metadata"]["labels"].items()
    target = of("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    deployment = of("Deployment")
    assert (target["kind"], target["name"]) == ("Deployment", "glassnet")
    assert target["apiVersion"] == deployment["apiVersion"]
    assert "replicas" not in deployment["spec"]


def test_every_pod_is_locked_down() -> None:
    found = list(pods())
    assert len(found) == 6
    for pod, _ in found:
        (container,) = pod["containers"]
        security = {**pod.get("securityContext", {}), **container["securityContext"]}
        assert security["runAsNonRoot"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_only_the_trainer_may_write_into_the_store() -> None:
    for pod, labels in pods():
        if not labels:
            continue
        (mount,) = (
            m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "store"
        )
        writes = labels["app.kubernetes.io/component"] == "trainer"
        assert mount.get("readOnly", False) is not writes


def test_probes_and_scrapes_ask_for_routes_that_exist() -> None:
    app = build(Settings(store="/nonexistent"))
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    text = "".join(path.read_text() for path in FILES)
    asked = re.findall(r"\bpath: (/[\w/]+)", text)
    asked += re.findall(r"kserve\.io/path: (/[\w/]+)", text)
    assert len(asked) >= 6
    assert set(asked) <= routes


def test_a_pod_has_time_to_drain() -> None:
    settings = Settings()
    pod = of("Deployment")["spec"]["template"]["spec"]
    needed = settings.drain_seconds + settings.graceful_seconds
    assert pod["terminationGracePeriodSeconds"] > needed
    # Nobody is sent there any more before it stops listening.
    probe = pod["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < settings.drain_seconds


def test_training_runs_once_at_its_time() -> None:
    spec = of("CronJob", "glassnet-trainer")["spec"]
    job = spec["jobTemplate"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["timeZone"] == "Etc/UTC"
    assert spec["startingDeadlineSeconds"] == 3600
    assert job["activeDeadlineSeconds"] < 86400
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert 3 in rule["onExitCodes"]["values"]  # the gate's refusal
    rollback = of("CronJob", "glassnet-rollback")["spec"]
    assert rollback["suspend"] is True
    assert rollback["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_kserve_serves_a_model_of_the_store_by_its_name() -> None:
    runtime, service = of("ServingRuntime"), of("InferenceService", "digits")
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    formats = [
        (entry["name"], entry["version"])
        for entry in runtime["spec"]["supportedModelFormats"]
    ]
    assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) in formats
    claim = of("PersistentVolumeClaim", "glassnet-store")
    assert model["storageUri"] == f"pvc://{claim['metadata']['name']}"
    assert NAME.fullmatch(service["metadata"]["name"])
    (container,) = runtime["spec"]["containers"]
    assert container["name"] == "kserve-container"
    assert container["command"][-2:] == ["--store", "/mnt/models"]
