"""A runtime's own file names its container; the files are in the formats that runtimes write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.identity.bundles import (
    MAX_BUNDLE_BYTES,
    Bundle,
    Bundles,
    BundleUnreadable,
    read_docker,
    read_oci,
)

UID = "dcd3e589-53a6-476c-b4ed-83c8926e8edd"
ID = "03b2cf7859a25013285be8b99dfb4d9a84b0ac6268aac2f427efb06d97d15e12"

# The annotations of a container under containerd 1.6.20 and Kubernetes 1.34.
CONTAINERD = {
    "io.kubernetes.cri.container-name": "ticker",
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.image-name": "docker.io/library/busybox:1.35",
    "io.kubernetes.cri.sandbox-id": "f196ba31d0a75d035adee40397a35a9811328c269ca0d37ee063f0903e173b26",
    "io.kubernetes.cri.sandbox-name": "web-5c8c56666c-dcrvv",
    "io.kubernetes.cri.sandbox-namespace": "shop",
    "io.kubernetes.cri.sandbox-uid": UID,
}
CRIO = {
    "io.kubernetes.container.name": "ticker",
    "io.kubernetes.cri-o.ContainerType": "container",
    "io.kubernetes.cri-o.ImageName": "docker.io/library/busybox:1.35",
    "io.kubernetes.cri-o.ImageRef": "6b544cff8bb65fe08fbb39d879bc4998c547768d501a81d9db9dc857d585f386",
    "io.kubernetes.cri-o.Labels": "{}",
    "io.kubernetes.pod.name": "web-5c8c56666c-dcrvv",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": UID,
}
DOCKER_LABELS = {
    "io.kubernetes.container.name": "ticker",
    "io.kubernetes.docker.type": "container",
    "io.kubernetes.pod.name": "web-5c8c56666c-dcrvv",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": UID,
}
IN_CONTAINERD = Bundle(
    "containerd", "shop", "web-5c8c56666c-dcrvv", UID, "ticker", "docker.io/library/busybox:1.35"
)


def oci(annotations: Any) -> bytes:
    spec = {"ociVersion": "1.0.2-dev", "process": {"args": ["sh"]}, "annotations": annotations, "linux": {}}
    return json.dumps(spec).encode()


def docker(labels: dict[str, str] | None, name: str = "/k8s_ticker") -> bytes:
    config = {"Image": "busybox:1.35", "Labels": labels, "Env": ["A=b"]}
    return json.dumps({"ID": ID, "Name": name, "Image": "sha256:6b54", "Config": config}).encode()


def place(root: Path, path: str, data: bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_bytes(data)


def test_containerd() -> None:
    assert read_oci(oci(CONTAINERD)) == IN_CONTAINERD


def test_containerd_sandbox() -> None:
    sandbox = {**CONTAINERD, "io.kubernetes.cri.container-type": "sandbox"}
    del sandbox["io.kubernetes.cri.container-name"], sandbox["io.kubernetes.cri.image-name"]
    found = read_oci(oci(sandbox))
    assert found == Bundle("containerd", "shop", "web-5c8c56666c-dcrvv", UID, is_sandbox=True)


def test_containerd_that_writes_no_uid() -> None:
    without = {key: value for key, value in CONTAINERD.items() if not key.endswith("-uid")}
    found = read_oci(oci(without))
    assert found is not None
    assert (found.pod_name, found.pod_uid, found.container_name) == ("web-5c8c56666c-dcrvv", "", "ticker")


def test_crio() -> None:
    assert read_oci(oci(CRIO)) == Bundle(
        "cri-o",
        "shop",
        "web-5c8c56666c-dcrvv",
        UID,
        "ticker",
        "docker.io/library/busybox:1.35",
        CRIO["io.kubernetes.cri-o.ImageRef"],
    )


def test_crio_sandbox_is_no_container_named_pod() -> None:
    sandbox = {
        **CRIO,
        "io.kubernetes.cri-o.ContainerType": "sandbox",
        "io.kubernetes.container.name": "POD",
    }
    assert read_oci(oci(sandbox)) == Bundle("cri-o", "shop", "web-5c8c56666c-dcrvv", UID, is_sandbox=True)


def test_docker_of_a_pod() -> None:
    found = read_docker(docker(DOCKER_LABELS))
    assert (found.pod_uid, found.container_name, found.image) == (UID, "ticker", "busybox:1.35")
    assert not found.is_kubernetes_own
    assert read_docker(docker({**DOCKER_LABELS, "io.kubernetes.docker.type": "podsandbox"})).is_sandbox


def test_docker_on_its_own() -> None:
    found = read_docker(docker(None, name="/My_db.1"))
    assert (found.container_name, found.pod_name, found.runtime) == ("My_db.1", "", "docker")


@pytest.mark.parametrize("annotations", [None, {}, {"org.opencontainers.image.title": "x"}])
def test_other_users_of_a_runtime_have_no_names(annotations: Any) -> None:
    assert read_oci(oci(annotations)) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sandbox-name", "../../etc"),
        ("sandbox-name", "a" * 254),
        ("sandbox-namespace", "kube-system\n"),
        ("sandbox-namespace", ""),
        ("sandbox-uid", "a_b"),
    ],
)
def test_what_kubernetes_would_not_admit_is_left_out(key: str, value: str) -> None:
    found = read_oci(oci({**CONTAINERD, f"io.kubernetes.cri.{key}": value}))
    assert found is not None
    assert (found.namespace, found.pod_name, found.pod_uid) == ("", "", "")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"annotations":[]}', b"\xff", b"[" * 100_000])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    place(tmp_path, f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json", data)
    with pytest.raises(BundleUnreadable, match="is not what a runtime writes"):
        Bundles(str(tmp_path)).read(ID)


@pytest.mark.parametrize(
    "directory",
    [
        "run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
        "run/k0s/containerd/io.containerd.runtime.v2.task/k8s.io",
        "var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io",
    ],
)
def test_places_of_containerd(directory: str, tmp_path: Path) -> None:
    place(tmp_path, f"{directory}/{ID}/config.json", oci(CONTAINERD))
    bundles = Bundles(str(tmp_path))
    assert bundles.read(ID) == IN_CONTAINERD
    assert bundles.read(ID) == IN_CONTAINERD
    assert bundles.read("0" * 64) is None


def test_places_of_crio_and_docker(tmp_path: Path) -> None:
    place(tmp_path, f"run/containers/storage/overlay-containers/{ID}/userdata/config.json", oci(CRIO))
    place(tmp_path, f"var/lib/docker/containers/{'d' * 64}/config.v2.json", docker(DOCKER_LABELS))
    bundles = Bundles(str(tmp_path))
    by_crio, by_docker = bundles.read(ID), bundles.read("d" * 64)
    assert by_crio is not None
    assert by_docker is not None
    assert (by_crio.runtime, by_docker.runtime) == ("cri-o", "docker")


@pytest.mark.parametrize("container_id", ["", "../" + "a" * 61, "A" * 64, "a" * 63])
def test_only_ids_become_paths(container_id: str, tmp_path: Path) -> None:
    assert Bundles(str(tmp_path)).read(container_id) is None


def test_size_is_bounded(tmp_path: Path) -> None:
    path = f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"
    place(tmp_path, path, b"")
    with (tmp_path / path).open("r+b") as file:
        file.truncate(MAX_BUNDLE_BYTES + 1)
    with pytest.raises(BundleUnreadable, match=f"{MAX_BUNDLE_BYTES + 1} bytes"):
        Bundles(str(tmp_path)).read(ID)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_refused(data: bytes) -> None:
    for read in (read_oci, read_docker):
        try:
            found = read(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        assert found is None or found.pod_name == ""
