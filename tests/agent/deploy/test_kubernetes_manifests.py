"""The manifests are Kubernetes' by their form, and ours by what they say. Nobody has run them."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from callerside.agent.config.loader import load
from callerside.agent.config.settings import Settings
from callerside.agent.service.supervisor_policy import STOP_MARGIN_MS

DEPLOY = Path(__file__).resolve().parents[3] / "agent" / "deploy"
MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
OLDEST = "1.30"
"""Since then a pod may sleep before it is stopped."""
PROBES = ("startup", "liveness", "readiness")


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [one for one in MANIFESTS if one["kind"] == kind]
    return found


POD: dict[str, Any] = manifest("Deployment")["spec"]["template"]["spec"]
(AGENT,) = POD["containers"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """As the pod has them: from the map, and from its environment."""
    path = tmp_path_factory.mktemp("etc") / "agent.yaml"
    path.write_text(manifest("ConfigMap")["data"]["agent.yaml"])
    own = {one["name"]: "192.0.2.7" for one in AGENT["env"] if "fieldRef" in one["valueFrom"]}
    return load(path, own)


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("kind", [one["kind"] for one in MANIFESTS])
def test_each_is_valid_by_kubernetes_own_schemas(kind: str, version: str) -> None:
    kubernetes_validate.validate(manifest(kind), version, strict=True)


def test_a_mistake_would_be_found() -> None:
    wrong = {**manifest("PodDisruptionBudget"), "spec": {"maxUnavailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_the_agent_takes_calls_at_its_nodes_address_for_those_who_may(settings: Settings) -> None:
    assert settings.sip.host == "192.0.2.7"
    policy = manifest("NetworkPolicy")["spec"]
    trunk, sound = policy["ingress"]
    assert [one["ipBlock"]["cidr"] for one in trunk["from"]] == settings.sip.allowed_peers
    assert {one["port"] for one in trunk["ports"]} == {settings.sip.port}
    assert {one["protocol"] for one in trunk["ports"]} == {"UDP", "TCP"}
    (ports,) = sound["ports"]
    assert ports["port"] == settings.sip.rtp_port
    assert ports["endPort"] == settings.sip.rtp_port + settings.sip.rtp_port_count - 1
    named = {(one["containerPort"], one["protocol"]) for one in AGENT["ports"]}
    assert named == {(settings.sip.port, "UDP"), (settings.sip.port, "TCP")}
    service = manifest("Service")["spec"]
    assert {(one["port"], one["protocol"]) for one in service["ports"]} == named


def test_calls_that_are_up_end_before_the_pod_does(settings: Settings) -> None:
    grace_ms = 1000 * POD["terminationGracePeriodSeconds"]
    before_ms = 1000 * AGENT["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert grace_ms > before_ms + settings.drain.limit_ms + STOP_MARGIN_MS


def test_the_probes_ask_pages_that_there_are(settings: Settings) -> None:
    asked = {name: AGENT[f"{name}Probe"]["httpGet"] for name in PROBES}
    assert {name: one["path"] for name, one in asked.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    where = {(one["host"], one["port"]) for one in asked.values()}
    assert where == {(settings.http.host, settings.http.port)}


def test_the_pod_is_what_the_image_is() -> None:
    image = (DEPLOY / "Dockerfile").read_text()
    assert f"--uid {POD['securityContext']['runAsUser']} " in image
    (command,) = re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE)
    assert AGENT["args"] == yaml.safe_load(command)
    mounted = {one["mountPath"] for one in AGENT["volumeMounts"]}
    assert mounted == {"/etc/callerside", "/var/cache/callerside", "/var/lib/callerside"}
    assert all(path in image for path in mounted)


def test_everything_is_of_one_name() -> None:
    label = {"app": "callerside-agent"}
    assert all(one["metadata"]["labels"] == label for one in MANIFESTS)
    deployment = manifest("Deployment")["spec"]
    assert deployment["template"]["metadata"]["labels"] == label
    selectors = [
        deployment["selector"]["matchLabels"],
        manifest("Service")["spec"]["selector"],
        manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert selectors == [label] * 4
