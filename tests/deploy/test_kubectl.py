"""The manifests as kubectl itself reads them, without a cluster."""

from __future__ import annotations

import json
import subprocess
from difflib import ndiff
from typing import Any

import pytest
import yaml

from collector.cri.places import PLACES
from collector.privilege import NEEDS
from tests.deploy.manifests import BASE, DAEMONSET, objects


def kubectl(*arguments: str) -> str:
    # No cluster, wherever this runs: neither its own kubeconfig nor a pod's account is looked at.
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "KUBECONFIG": "/dev/null"}
    done = subprocess.run(
        ["kubectl", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(folder: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(kubectl("kustomize", str(BASE.parent / folder))))


@pytest.mark.parametrize("folder", ["base", "kind", "cri", "flow", "netlink"])
def test_kustomize_builds_it(folder: str) -> None:
    made = built(folder)
    kinds = sorted(each["kind"] for each in made)
    assert kinds == sorted([*(each["kind"] for each in objects()), "ConfigMap"])
    (config,) = (each for each in made if each["kind"] == "ConfigMap")
    (daemonset,) = (each for each in made if each["kind"] == "DaemonSet")
    (volume,) = (
        each for each in daemonset["spec"]["template"]["spec"]["volumes"] if each["name"] == "config"
    )
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    assert config["metadata"]["name"] != "podwitness-config"  # the hash that rolls the DaemonSet
    assert config["metadata"]["namespace"] == daemonset["metadata"]["namespace"] == "monitoring"


def test_kind_overlay_changes_only_where_records_go() -> None:
    base, kind = (configuration(folder).split("[OUTPUT]") for folder in ("base", "kind"))
    changed = [line for line in ndiff(base[0].splitlines(), kind[0].splitlines()) if line[0] in "+-"]
    assert [line for line in changed if "#" not in line] == [
        "+     Exclude_Path      /var/log/containers/podwitness-*.log"
    ]
    assert "forward" in base[1]
    assert "stdout" in kind[1]


def test_socket_of_the_runtime_is_an_overlay_of_its_own() -> None:
    """The base keeps it out of reach: tests/deploy/test_manifests.py."""
    base, cri = (pod_of(folder) for folder in ("base", "cri"))
    volume = {"name": "containerd", "hostPath": {"path": "/run/containerd", "type": "Directory"}}
    assert [one for one in cri["volumes"] if one not in base["volumes"]] == [volume]
    ours, with_socket = base["containers"][0], cri["containers"][0]
    (mount,) = (one for one in with_socket["volumeMounts"] if one not in ours["volumeMounts"])
    assert (mount["mountPath"], mount["readOnly"]) == ("/run/containerd", True)
    assert mount["mountPropagation"] == "HostToContainer"
    assert {**with_socket, "volumeMounts": 0} == {**ours, "volumeMounts": 0}
    assert any(f"/{place}".startswith(f"{mount['mountPath']}/") for place in PLACES)


def test_flows_are_an_overlay_with_the_capability_and_the_network_that_they_take() -> None:
    base, flow = (pod_of(folder) for folder in ("base", "flow"))
    assert added(base, flow) == ["NET_ADMIN"]
    assert any(need.capability == "NET_ADMIN" and "Trace flow" in need.when for need in NEEDS)
    assert (flow.pop("hostNetwork"), flow.pop("dnsPolicy")) == (True, "ClusterFirstWithHostNet")
    assert flow == base


def test_netlink_is_an_overlay_with_what_the_starter_may_hold_for_it() -> None:
    base, netlink = (pod_of(folder) for folder in ("base", "netlink"))
    wanted = [need.capability for need in NEEDS if need.holder == "starter" and "netlink" in need.when]
    assert sorted(added(base, netlink)) == sorted(wanted)
    assert netlink == base


def added(base: dict[str, Any], overlay: dict[str, Any]) -> list[str]:
    """Capabilities, which are taken out of the overlay's."""
    ours, theirs = (pod["containers"][0]["securityContext"]["capabilities"] for pod in (base, overlay))
    more = [name for name in theirs["add"] if name not in ours["add"]]
    theirs["add"] = [name for name in theirs["add"] if name in ours["add"]]
    return more


def pod_of(folder: str) -> dict[str, Any]:
    (daemonset,) = (each for each in built(folder) if each["kind"] == "DaemonSet")
    pod: dict[str, Any] = daemonset["spec"]["template"]["spec"]
    return pod


def configuration(folder: str) -> str:
    (config,) = (each for each in built(folder) if each["kind"] == "ConfigMap")
    return str(config["data"]["fluent-bit.conf"])


def test_kubectl_knows_every_field() -> None:
    """`set image --local` decodes into kubectl's own types and writes them: an unknown field is gone."""
    written = kubectl("set", "image", "--local", "-f", str(DAEMONSET), "podwitness=other:1", "-o", "json")
    ours = yaml.safe_load(DAEMONSET.read_text().replace("podwitness:0.1.0", "other:1"))
    assert missing(ours, json.loads(written)) == []


def missing(ours: Any, theirs: Any, where: str = "") -> list[str]:
    if isinstance(ours, dict):
        gone = [f"{where}.{key}" for key in ours if key not in theirs]
        return gone + [
            m for key in ours if key in theirs for m in missing(ours[key], theirs[key], f"{where}.{key}")
        ]
    if isinstance(ours, list):
        return [
            m
            for n, (a, b) in enumerate(zip(ours, theirs, strict=True))
            for m in missing(a, b, f"{where}[{n}]")
        ]
    return [] if ours == theirs else [f"{where}: {ours} became {theirs}"]
