"""Containers of a real runtime are known by cgroup, id and log file, from first process to after the end."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collector.identity.identity import Identity
from collector.identity.table import KEEP_GONE_NS, IdentityTable
from tests.containers.images import BUSYBOX
from tests.containers.node import Container, Node, Pod, cgroup2_root, cgroup_roots
from tests.polling import until

SLEEP = ["/bin/sleep", "100"]


@pytest.fixture
def identities(node: Node) -> IdentityTable:
    return IdentityTable.open("node1", node.root)


def of(pod: Pod, container: Container) -> Identity:
    return Identity(
        "node1", container.id, "containerd", pod.namespace, pod.name, pod.uid, container.name, BUSYBOX
    )


def now_ns() -> int:
    return time.monotonic_ns()


def test_running_container_is_found_by_its_cgroup(pod: Pod, identities: IdentityTable) -> None:
    container = pod.run("web", SLEEP)
    assert identities.by_cgroup(container.cgroup_id, now_ns()) == of(pod, container)
    assert identities.by_container(container.id) == of(pod, container)
    assert identities.by_log_path(container.log_path) == of(pod, container)
    assert identities.by_log_path(container.link_path) == of(pod, container)


@pytest.mark.parametrize("qos", ["besteffort", "burstable", ""])
def test_every_class_of_service(node: Node, identities: IdentityTable, qos: str) -> None:
    pod = node.pod("q", qos=qos)
    try:
        container = pod.run("c", SLEEP)
        assert identities.by_cgroup(container.cgroup_id, now_ns()) == of(pod, container)
    finally:
        pod.remove()


def test_sandbox_is_told_from_containers(pod: Pod, identities: IdentityTable) -> None:
    found = identities.by_cgroup(pod.sandbox_cgroup_id, now_ns())
    assert found is not None
    assert found.is_sandbox
    assert (found.container_id, found.pod_name, found.pod_uid) == (pod.sandbox_id, pod.name, pod.uid)
    assert found.container_name == ""


def test_static_pod_goes_by_the_hash_of_its_manifest(node: Node, identities: IdentityTable) -> None:
    pod = node.pod("etcd-node1", "kube-system", uid=os.urandom(16).hex(), host_network=True)
    try:
        container = pod.run("etcd", SLEEP)
        assert identities.by_cgroup(container.cgroup_id, now_ns()) == of(pod, container)
        assert identities.by_log_path(container.log_path) == of(pod, container)
    finally:
        pod.remove()


def test_scan_finds_all_containers_that_run(pod: Pod, identities: IdentityTable) -> None:
    one, two = pod.run("one", SLEEP), pod.run("two", SLEEP)
    identities.scan()
    lookups = identities.statistics()["lookups"]
    assert identities.by_cgroup(one.cgroup_id, now_ns()) == of(pod, one)
    assert identities.by_cgroup(two.cgroup_id, now_ns()) == of(pod, two)
    assert identities.statistics()["lookups"] == lookups


def test_processes_of_this_test_are_the_hosts(identities: IdentityTable) -> None:
    line = Path("/proc/self/cgroup").read_text().splitlines()[-1]
    directory = cgroup2_root() / line.partition("::")[2].strip("/")
    found = identities.by_cgroup(directory.stat().st_ino, now_ns())
    assert found is not None
    assert found.is_host


def test_exec_is_in_the_containers_own_cgroup(pod: Pod, identities: IdentityTable) -> None:
    container = pod.run("web", SLEEP)
    result = container.exec(["/bin/cat", "/proc/self/cgroup"])
    assert result.exit_code == 0
    path = result.stdout.decode().splitlines()[-1].partition("::")[2]
    assert path == container.cgroup_path
    assert identities.cgroup_made(container.cgroup_id, path, now_ns()) == of(pod, container)


def test_all_names_are_there_as_soon_as_the_cgroup_is(pod: Pod, identities: IdentityTable) -> None:
    """The runtime's file is written before the cgroup is made, so the first exec has its names."""
    directory = cgroup2_root() / pod.cgroup_path[1:]
    known = set(os.listdir(directory))

    def look() -> Identity | None:
        new = next((name for name in os.listdir(directory) if name not in known and len(name) == 64), None)
        return identities.cgroup_made(1, f"{pod.cgroup_path}/{new}", now_ns()) if new else None

    with ThreadPoolExecutor(1) as beside:
        seen = beside.submit(until, look, "the container's cgroup", every_s=0.01)
        container = pod.run("short", ["/bin/sleep", "0.1"])
        assert seen.result() == of(pod, container)


def test_container_that_lives_a_tenth_of_a_second_is_known_after_its_end(
    pod: Pod, identities: IdentityTable
) -> None:
    container = pod.run("short", ["/bin/sleep", "0.1"])
    cgroup_id = container.cgroup_id
    identities.cgroup_made(cgroup_id, container.cgroup_path, now_ns())
    assert container.wait() == 0
    until(lambda: not (cgroup2_root() / container.cgroup_path[1:]).exists(), "end of the cgroup")
    identities.cgroup_gone(cgroup_id, now_ns())
    identities.expire(now_ns())
    assert identities.by_cgroup(cgroup_id, now_ns()) == of(pod, container)


def test_removed_container_is_known_for_a_while(pod: Pod, identities: IdentityTable) -> None:
    container = pod.run("web", SLEEP)
    cgroup_id, expected = container.cgroup_id, of(pod, container)
    identities.cgroup_made(cgroup_id, container.cgroup_path, now_ns())
    container.remove()
    gone_ns = now_ns()
    identities.cgroup_gone(cgroup_id, gone_ns)
    identities.expire(gone_ns + KEEP_GONE_NS - 1)
    assert identities.by_cgroup(cgroup_id, now_ns()) == expected
    assert identities.by_container(container.id) == expected
    identities.expire(gone_ns + KEEP_GONE_NS)
    assert identities.by_cgroup(cgroup_id, now_ns()) is None
    assert identities.by_container(container.id) is None


def test_each_start_of_a_container_has_its_own_log(pod: Pod, identities: IdentityTable) -> None:
    first = pod.run("web", ["/bin/true"])
    first.wait()
    second = pod.run("web", SLEEP, restart=1)
    found = [identities.by_log_path(path) for path in (first.log_path, second.log_path)]
    assert [one.container_id for one in found if one] == [first.id, second.id]


def test_privileged_container_cannot_name_another_pod(node: Node, identities: IdentityTable) -> None:
    """With the cgroup file system mounted it makes a tree of pods below its own cgroup."""
    pod = node.pod("evil", privileged=True)
    try:
        mounts = {"/cgroup": str(cgroup2_root())}
        container = pod.run("c", SLEEP, mounts=mounts)
        forged = f"/cgroup{container.cgroup_path}/kubepods/besteffort/pod{'0' * 32}/{'a' * 64}"
        assert container.exec(["/bin/mkdir", "-p", forged]).exit_code == 0
        moved = container.exec(["/bin/sh", "-c", f"echo $$ > {forged}/cgroup.procs; cat /proc/self/cgroup"])
        assert moved.stdout.decode().rstrip().endswith("a" * 64)
        forged_id = (cgroup2_root() / forged.removeprefix("/cgroup/")).stat().st_ino
        assert identities.by_cgroup(forged_id, now_ns()) == of(pod, container)
    finally:
        pod.remove()


def test_cgroup_that_ended_before_it_was_asked_for_is_unknown(pod: Pod, identities: IdentityTable) -> None:
    container = pod.run("web", SLEEP)
    removed_id = container.cgroup_id
    assert identities.by_cgroup(removed_id, now_ns()) is not None
    container.stop(0)
    until(lambda: not (cgroup2_root() / container.cgroup_path[1:]).exists(), "end of the cgroup")
    fresh = IdentityTable.open("node1")
    assert fresh.by_cgroup(removed_id, now_ns()) is None


def test_node_leaves_nothing_behind() -> None:
    root = Path(tempfile.mkdtemp(prefix="pw-", dir="/tmp"))
    with Node(root, "node2") as other:
        pod = other.pod("left", "behind")
        container = pod.run("web", SLEEP)
        process = Path(f"/proc/{container.pid}")
        assert process.exists()
        cgroups = [one / pod.cgroup_path[1:] for one in cgroup_roots()]
        assert any(one.exists() for one in cgroups)
    assert not root.exists()
    assert not process.exists()
    assert not any(one.exists() for one in cgroups)
    assert str(root) not in Path("/proc/self/mountinfo").read_text()
