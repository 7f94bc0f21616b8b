"""The kustomize base: valid for old and new clusters, consistent in itself and with the collector."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.manifests import BASE, DAEMONSET, ROOT, Object, container, kustomization, objects, one, pod

# The oldest release that its makers' neighbours still run, and the newest whose schema is here.
RELEASES = ("1.27", kubernetes_validate.latest_version())


def name_of(manifest: Object) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("manifest", objects(), ids=name_of)
def test_object_fits_the_published_schema(manifest: Object, release: str) -> None:
    kubernetes_validate.validate(manifest, release, strict=True)


def test_every_file_is_listed() -> None:
    listed = {*kustomization()["resources"], *kustomization()["configMapGenerator"][0]["files"]}
    assert {path.name for path in BASE.iterdir()} - {"kustomization.yaml"} == listed


def test_every_mount_has_its_volume_and_every_volume_its_mount() -> None:
    mounts = [mount["name"] for mount in container()["volumeMounts"]]
    assert sorted(mounts) == sorted(volume["name"] for volume in pod()["spec"]["volumes"])


def test_nothing_of_the_host_is_writable_but_the_state() -> None:
    host = {volume["name"] for volume in pod()["spec"]["volumes"] if "hostPath" in volume}
    writable = {mount["name"] for mount in container()["volumeMounts"] if not mount.get("readOnly")}
    assert host & writable == {"state"}


def test_socket_of_the_runtime_is_out_of_reach() -> None:
    sockets = ("/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/docker.sock")
    paths = [volume["hostPath"]["path"] for volume in pod()["spec"]["volumes"] if "hostPath" in volume]
    assert [path for path in paths for socket in sockets if f"{socket}/".startswith(f"{path}/")] == []


def test_folders_with_mounts_of_containers_let_them_go() -> None:
    propagation = {mount["mountPath"]: mount.get("mountPropagation") for mount in container()["volumeMounts"]}
    assert propagation["/run/containerd/io.containerd.runtime.v2.task"] == "HostToContainer"
    assert propagation["/var/lib/docker/containers"] == "HostToContainer"


def test_configuration_is_where_the_arguments_say() -> None:
    path = container()["args"][-1]
    (config,) = (mount for mount in container()["volumeMounts"] if mount["name"] == "config")
    files = kustomization()["configMapGenerator"][0]["files"]
    assert path in [f"{config['mountPath']}/{name}" for name in files]


def test_probes_ask_pages_that_the_collector_has() -> None:
    served = (ROOT / "collector/service/endpoints.py").read_text()
    for probe in ("livenessProbe", "readinessProbe"):
        page = container()[probe]["httpGet"]
        assert f'"{page["path"]}"' in served
        assert page["port"] in {port["name"] for port in container()["ports"]}


def test_service_scrape_and_policy_meet_the_port_of_the_configuration() -> None:
    port = int(re.findall(r"^\s*HTTP_Port\s+(\d+)$", (BASE / "fluent-bit.conf").read_text(), re.MULTILINE)[0])
    assert [each["containerPort"] for each in container()["ports"]] == [port]
    assert pod()["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    assert one("Service")["spec"]["ports"][0]["port"] == port


@pytest.mark.parametrize(
    ("kind", "way"),
    [("Service", ("selector",)), ("NetworkPolicy", ("podSelector", "matchLabels"))],
    ids=["service", "policy"],
)
def test_selectors_find_the_pods(kind: str, way: tuple[str, ...]) -> None:
    selector: Any = one(kind)["spec"]
    for key in way:
        selector = selector[key]
    labels = pod()["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert one("DaemonSet")["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_api_is_only_read() -> None:
    for rule in one("ClusterRole")["rules"]:
        assert set(rule["verbs"]) <= {"get", "list", "watch"}
        assert set(rule["resources"]) <= {"pods", "namespaces", "nodes", "jobs"}


def test_binding_joins_role_and_account() -> None:
    binding, account = one("ClusterRoleBinding"), one("ServiceAccount")["metadata"]
    assert binding["roleRef"]["name"] == one("ClusterRole")["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])
    assert pod()["spec"]["serviceAccountName"] == account["name"]


def test_every_capability_has_its_reason() -> None:
    lines = DAEMONSET.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == "add:") + 1
    added = []
    while lines[start].strip().startswith(("#", "- ")):
        assert lines[start].strip().startswith("# "), (
            f"line {start + 1}: a capability without a reason above it"
        )
        while lines[start].strip().startswith("# "):
            start += 1
        added.append(lines[start].strip().removeprefix("- "))
        start += 1
    assert added == container()["securityContext"]["capabilities"]["add"]


def test_nothing_is_privileged() -> None:
    context = container()["securityContext"]
    assert context["privileged"] is False
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"]["drop"] == ["ALL"]
    assert "SYS_ADMIN" not in context["capabilities"]["add"]


def test_every_node_has_a_witness() -> None:
    tolerated = {toleration["key"] for toleration in pod()["spec"]["tolerations"]}
    assert tolerated == {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}
    assert pod()["spec"]["hostPID"] is True
