"""The path of a cgroup names its owner, and no container can name another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.identity.cgroups import CgroupOwner, owner_of

UID = "7b47325f-7086-444a-87e3-fb3a30fd855b"
UNIT_UID = UID.replace("-", "_")
ID = "13cdfb4a12a5278da19acfa2eca5abca0f87f564a41be8d6ee75170063e41c51"
OTHER_UID = "00000000-1111-2222-3333-444444444444"
OTHER = "ab" * 32
NODE = "cd" * 32
HASH = "3f029f2357c07f6d347ffa1e082f4d7a"
HOST = CgroupOwner()
SLICES = "/kubepods.slice/kubepods-burstable.slice"
KIND = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice"
KIND_POD = f"{KIND}/kubelet-kubepods-besteffort-pod{UNIT_UID}.slice"


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (f"/kubepods/besteffort/pod{UID}/{ID}", CgroupOwner(ID, UID)),
        (f"/kubepods/burstable/pod{UID}/{ID}", CgroupOwner(ID, UID)),
        (f"/kubepods/pod{UID}/{ID}", CgroupOwner(ID, UID)),
        (f"/kubepods/besteffort/pod{HASH}/{ID}", CgroupOwner(ID, HASH)),
        (f"/kubepods/besteffort/podmy-own-uid/{ID}", CgroupOwner(ID, "my-own-uid")),
        (f"/kubepods/burstable/pod{UID}/crio-{ID}", CgroupOwner(ID, UID, "cri-o")),
        (f"/reserved/root/kubepods/burstable/pod{UID}/{ID}", CgroupOwner(ID, UID)),
    ],
)
def test_cgroupfs_driver(path: str, owner: CgroupOwner) -> None:
    assert owner_of(path) == owner


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (
            f"{SLICES}/kubepods-burstable-pod{UNIT_UID}.slice/cri-containerd-{ID}.scope",
            CgroupOwner(ID, UID, "containerd"),
        ),
        (
            f"/kubepods.slice/kubepods-pod{UNIT_UID}.slice/cri-containerd-{ID}.scope",
            CgroupOwner(ID, UID, "containerd"),
        ),
        (f"{SLICES}/kubepods-burstable-pod{UNIT_UID}.slice/crio-{ID}.scope", CgroupOwner(ID, UID, "cri-o")),
        (
            f"{SLICES}/kubepods-burstable-pod{UNIT_UID}.slice/docker-{ID}.scope",
            CgroupOwner(ID, UID, "docker"),
        ),
        (
            f"/kubepods.slice/kubepods-pod{HASH}.slice/cri-containerd-{ID}.scope",
            CgroupOwner(ID, HASH, "containerd"),
        ),
        (f"{KIND_POD}/cri-containerd-{ID}.scope", CgroupOwner(ID, UID, "containerd")),
    ],
)
def test_systemd_driver(path: str, owner: CgroupOwner) -> None:
    assert owner_of(path) == owner


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (f"/docker/{ID}", CgroupOwner(ID, runtime="docker")),
        (f"/system.slice/docker-{ID}.scope", CgroupOwner(ID, runtime="docker")),
        (f"/k8s.io/{ID}", CgroupOwner(ID, runtime="containerd")),
        (f"/build.slice/{ID}", CgroupOwner(ID)),
        (f"/machine.slice/libpod-{ID}.scope/container", CgroupOwner(ID, "", "podman", is_nested=True)),
        (f"/system.slice/nerdctl-{ID}.scope", CgroupOwner(ID, runtime="containerd")),
    ],
)
def test_container_without_pod(path: str, owner: CgroupOwner) -> None:
    assert owner_of(path) == owner


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/init.scope",
        "/system.slice/containerd.service",
        "/system.slice/kubelet.service",
        "/user.slice/user-1000.slice/session-2.scope",
        "/kubepods",
        "/kubepods/burstable",
        "/kubepods.slice/kubepods-burstable.slice",
        f"/machine.slice/libpod-conmon-{ID}.scope",
        "/docker",
        "/docker/abc",
    ],
)
def test_host(path: str) -> None:
    owner = owner_of(path)
    assert owner is not None
    assert (owner.container_id, owner.pod_uid) == ("", "")


def test_pod_directory_has_no_container() -> None:
    assert owner_of(f"/kubepods/burstable/pod{UID}") == CgroupOwner(pod_uid=UID)
    assert owner_of(f"{SLICES}/kubepods-burstable-pod{UNIT_UID}.slice") == CgroupOwner(pod_uid=UID)


def test_conmon_is_a_process_of_the_host_beside_the_container() -> None:
    conmon = f"{SLICES}/kubepods-burstable-pod{UNIT_UID}.slice/crio-conmon-{ID}.scope"
    assert owner_of(conmon) == HOST


@pytest.mark.parametrize("child", ["init", "init.scope", "a/b/c", "container", "system.slice/x.service"])
def test_children_belong_to_the_container(child: str) -> None:
    nested = CgroupOwner(ID, UID, is_nested=True)
    assert owner_of(f"/kubepods/burstable/pod{UID}/{ID}/{child}") == nested


@pytest.mark.parametrize(
    "prefix",
    [
        f"/docker/{NODE}",
        f"/system.slice/docker-{NODE}.scope",
        f"/machine.slice/libpod-{NODE}.scope/container",
    ],
)
@pytest.mark.parametrize(
    ("inside", "runtime"),
    [
        (f"/kubelet/kubepods/besteffort/pod{UID}/{ID}", ""),
        (f"/kubepods/besteffort/pod{UID}/{ID}", ""),
        (f"{KIND_POD}/cri-containerd-{ID}.scope", "containerd"),
    ],
)
def test_node_in_a_container(prefix: str, inside: str, runtime: str) -> None:
    assert owner_of(prefix + inside) == CgroupOwner(ID, UID, runtime)


def test_node_container_owns_what_is_no_pod() -> None:
    owner = owner_of(f"/docker/{NODE}/system.slice/kubelet.service")
    assert owner == CgroupOwner(NODE, runtime="docker", is_nested=True)
    pods_root = owner_of(f"/docker/{NODE}/kubelet/kubepods/burstable")
    assert pods_root == CgroupOwner(NODE, runtime="docker", is_nested=True)


@pytest.mark.parametrize(
    "own",
    [
        f"/kubepods/burstable/pod{UID}/{ID}",
        f"{SLICES}/kubepods-burstable-pod{UNIT_UID}.slice/cri-containerd-{ID}.scope",
        f"/docker/{NODE}/kubelet/kubepods/burstable/pod{UID}/{ID}",
        f"/system.slice/containerd.service/kubepods-burstable-pod{UNIT_UID}.slice:cri-containerd:{ID}",
    ],
)
@pytest.mark.parametrize(
    "forged",
    [
        f"/kubepods/besteffort/pod{OTHER_UID}/{OTHER}",
        f"/docker/{OTHER}",
        f"/docker/{OTHER}/kubelet/kubepods/burstable/pod{OTHER_UID}/{OTHER}",
        f"/kubelet/kubepods/burstable/pod{OTHER_UID}/{OTHER}",
        f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{'0' * 32}.slice/crio-{OTHER}.scope",
        f"/system.slice/docker-{OTHER}.scope",
    ],
)
def test_names_forged_below_a_container_of_a_pod(own: str, forged: str) -> None:
    owner = owner_of(own + forged)
    assert owner is not None
    assert (owner.container_id, owner.pod_uid, owner.is_nested) == (ID, UID, True)


@pytest.mark.parametrize(
    "own",
    [
        "/user.slice/user-1000.slice/user@1000.service",
        "/user.slice/user-1000.slice/session-2.scope",
        "/system.slice/some.service",
        "/system.slice/containerd.service/x",
    ],
)
@pytest.mark.parametrize(
    "forged",
    [
        f"/kubepods/besteffort/pod{OTHER_UID}/{OTHER}",
        f"/docker/{OTHER}",
        f"/app.slice/docker-{OTHER}.scope",
        f"/kubepods-burstable-pod{'0' * 32}.slice:cri-containerd:{OTHER}",
    ],
)
def test_names_forged_by_a_user_of_the_host(own: str, forged: str) -> None:
    assert owner_of(own + forged) == CgroupOwner(is_nested=True)


def test_systemd_name_given_to_runc_without_systemd() -> None:
    name = f"kubepods-burstable-pod{UNIT_UID}.slice:cri-containerd:{ID}"
    owner = CgroupOwner(ID, UID, "containerd")
    assert owner_of(f"/system.slice/containerd.service/{name}") == owner
    assert owner_of(f"/{name}") == owner


def test_directory_beside_the_containers_of_a_pod() -> None:
    assert owner_of(f"/kubepods/pod{UID}/kata_overhead") == CgroupOwner(pod_uid=UID, is_nested=True)
    cut = f"/kubepods/pod{UID}/{ID[:40]}"
    assert owner_of(cut) == CgroupOwner(pod_uid=UID, is_nested=True)


def test_path_outside_the_readers_namespace_is_undecided() -> None:
    assert owner_of(f"/../../pod{UID}/{ID}") is None
    assert owner_of("/..") is None


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="/\0"), min_size=1, max_size=80)))
def test_whatever_a_container_makes_below_itself_is_its_own(names: list[str]) -> None:
    path = f"/kubepods/burstable/pod{UID}/{ID}/" + "/".join(name for name in names if name != "..")
    owner = owner_of(path)
    assert owner is not None
    assert (owner.container_id, owner.pod_uid) == (ID, UID)


@given(st.text())
def test_any_text_is_an_answer(path: str) -> None:
    owner = owner_of(path)
    assert owner is None or len(owner.container_id) in (0, 64)
