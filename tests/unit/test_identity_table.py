"""All sources make one identity, in whatever order they speak; nothing grows without bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.identity import table as module
from collector.identity.bundles import Bundles
from collector.identity.identity import Identity
from collector.identity.log_directories import LogDirectories
from collector.identity.table import KEEP_GONE_NS, IdentityTable
from tests.unit.node_files import HASH, POD_LOGS, POD_PATH, SANDBOX, SECOND, SIDE, UID, WEB, Node, in_full


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_full_identity_as_soon_as_the_cgroup_is_made(node: Node) -> None:
    node.bundle(SANDBOX)
    node.bundle(WEB, "web")
    sandbox = node.table.cgroup_made(10, f"{POD_PATH}/{SANDBOX}", 0)
    web = node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    assert sandbox.is_sandbox
    assert (sandbox.pod_name, sandbox.container_name) == ("web-0", "")
    assert web == in_full(WEB, "web")
    assert node.table.by_cgroup(11, 0) is web
    assert node.table.by_container(WEB) is web
    assert node.changes == []


def test_pods_own_cgroup_gets_the_names_once_a_container_has_them(node: Node) -> None:
    pod = node.table.cgroup_made(9, POD_PATH, 0)
    assert (pod.pod_uid, pod.pod_name, pod.container_id) == (UID, "", "")
    node.bundle(SANDBOX)
    node.table.cgroup_made(10, f"{POD_PATH}/{SANDBOX}", 0)
    known = node.table.by_cgroup(9, 0)
    assert known == Identity("node1", namespace="shop", pod_name="web-0", pod_uid=UID)
    assert node.changes == [(9, known)]


def test_children_of_a_container_have_its_identity(node: Node) -> None:
    node.bundle(WEB, "web")
    web = node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    assert node.table.cgroup_made(12, f"{POD_PATH}/{WEB}/init", 0) is web
    assert node.table.cgroup_made(13, f"{POD_PATH}/{WEB}/kubepods/pod{HASH}/{SIDE}", 0) is web


def test_host(node: Node) -> None:
    host = node.table.cgroup_made(5, "/system.slice/containerd.service", 0)
    assert host == Identity("node1")
    assert host.is_host
    assert node.table.by_cgroup(5, 0) is host


def test_bundle_that_comes_late(node: Node) -> None:
    early = node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    assert (early.container_id, early.pod_uid, early.pod_name) == (WEB, UID, "")
    node.bundle(WEB, "web")
    node.table.expire(SECOND)
    assert node.table.by_cgroup(11, SECOND) == in_full(WEB, "web")
    assert node.changes == [(11, in_full(WEB, "web"))]
    assert node.table.statistics()["incomplete"] == 0


def test_retries_end(node: Node) -> None:
    node.table.cgroup_made(11, f"/k8s.io/{WEB}", 0)
    for second in range(1, 60):
        node.table.expire(second * SECOND)
    assert node.table.statistics()["incomplete"] == 0


def test_names_are_looked_for_a_bounded_number_at_a_time(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_DUE", 2)
    for number in range(5):
        node.table.cgroup_made(number + 1, f"{POD_PATH}/{number:064x}", 0)
        node.bundle(f"{number:064x}", "web")
    left = []
    for second in range(1, 4):
        node.table.expire(second * SECOND)
        left.append(node.table.statistics()["incomplete"])
    assert left == [3, 1, 0]


def test_pod_is_named_by_its_log_directory_without_any_bundle(node: Node) -> None:
    node.table.cgroup_made(10, f"{POD_PATH}/{SANDBOX}", 0)
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    node.log("web")
    node.table.expire(SECOND)
    sandbox, web = node.table.by_cgroup(10, 0), node.table.by_cgroup(11, 0)
    assert sandbox is not None
    assert web is not None
    assert (sandbox.pod_name, sandbox.container_name) == ("web-0", "")
    assert (web.namespace, web.pod_name, web.container_name) == ("shop", "web-0", "web")


def test_two_log_directories_name_no_container_but_links_do(node: Node) -> None:
    node.table.cgroup_made(10, f"{POD_PATH}/{SANDBOX}", 0)
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    node.table.cgroup_made(12, f"{POD_PATH}/{SIDE}", 0)
    node.log("side")
    target = node.log("web")
    node.table.expire(SECOND)
    unnamed = node.table.by_cgroup(11, 0)
    assert unnamed is not None
    assert (unnamed.pod_name, unnamed.container_name) == ("web-0", "")
    node.link("web", WEB, target)
    node.table.expire(2 * SECOND)
    named = node.table.by_cgroup(11, 0)
    assert named is not None
    assert named.container_name == "web"


def test_static_pod_is_joined_by_its_hash(node: Node) -> None:
    node.bundle(WEB, "s", uid=HASH, pod="static-web-node1")
    identity = node.table.cgroup_made(11, f"/kubepods/besteffort/pod{HASH}/{WEB}", 0)
    assert (identity.pod_uid, identity.pod_name) == (HASH, "static-web-node1")
    path = node.log("s", pod=f"shop_static-web-node1_{HASH}")
    assert node.table.by_log_path(path) is identity


def test_bundle_of_another_pod_than_the_cgroup_is_not_believed(node: Node) -> None:
    node.bundle(WEB, "etcd", uid=HASH, pod="etcd-node1")
    identity = node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    assert (identity.pod_uid, identity.pod_name, identity.container_name) == (UID, "", "")
    assert node.table.statistics()["disagreements"] == 1


def test_labels_of_a_docker_image_do_not_make_a_pod(node: Node) -> None:
    labels = {
        "io.kubernetes.pod.name": "etcd-node1",
        "io.kubernetes.pod.namespace": "kube-system",
        "io.kubernetes.pod.uid": UID,
        "io.kubernetes.container.name": "etcd",
    }
    node.docker(WEB, labels)
    forged = node.table.cgroup_made(11, f"/docker/{WEB}", 0)
    assert (forged.runtime, forged.pod_name, forged.pod_uid, forged.image) == ("docker", "", "", "db:1")
    node.docker(SIDE, labels)
    assert node.table.by_container(SIDE) == Identity(
        "node1", SIDE, "docker", image="db:1", image_id="sha256:1"
    )
    real = node.table.cgroup_made(12, f"{POD_PATH}/{SIDE}", 0)
    assert (real.pod_name, real.container_name) == ("etcd-node1", "etcd")


def test_unreadable_bundle_is_counted(node: Node) -> None:
    node.write(f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{WEB}/config.json", "{")
    assert node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0).pod_uid == UID
    assert node.table.statistics()["bundles_unreadable"] == 1


# ---- lookups


def test_unknown_cgroup_is_looked_up_once(node: Node) -> None:
    node.tree.paths[11] = f"{POD_PATH}/{WEB}"
    node.bundle(WEB, "web")
    assert node.table.by_cgroup(11, 0) == in_full(WEB, "web")
    assert node.table.by_cgroup(11, 0) == in_full(WEB, "web")
    assert node.tree.asked == 1


def test_missing_cgroup_is_believed_missing_for_a_moment(node: Node) -> None:
    assert node.table.by_cgroup(11, 0) is None
    assert node.table.by_cgroup(11, SECOND // 20) is None
    assert node.tree.asked == 1
    node.tree.paths[11] = f"{POD_PATH}/{WEB}"
    assert node.table.by_cgroup(11, SECOND) is not None


def test_missing_cgroup_is_known_once_it_is_made(node: Node) -> None:
    assert node.table.by_cgroup(11, 0) is None
    made = node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    assert node.table.by_cgroup(11, 0) is made


def test_kernel_that_opens_no_cgroup_by_id_is_scanned_at_a_bounded_rate(node: Node) -> None:
    node.tree.opens_by_id = False
    node.tree.paths[11] = f"{POD_PATH}/{WEB}"
    assert node.table.by_cgroup(11, 0) is not None
    for missing in range(100, 200):
        assert node.table.by_cgroup(missing, SECOND // 2) is None
    assert node.tree.walked == 1
    assert node.table.by_cgroup(300, 3 * SECOND) is None
    assert node.tree.walked == 2


def test_cgroup_zero_is_nobodys(node: Node) -> None:
    assert node.table.by_cgroup(0, 0) is None
    assert node.tree.asked == 0


def test_scan_finds_what_runs_and_what_is_gone(node: Node) -> None:
    node.bundle(WEB, "web")
    node.tree.paths |= {9: POD_PATH, 11: f"{POD_PATH}/{WEB}", 20: "/system.slice"}
    node.table.scan()
    assert node.table.by_cgroup(11, 0) == in_full(WEB, "web")
    host = node.table.by_cgroup(20, 0)
    assert host is not None
    assert host.is_host
    assert node.tree.asked == 0
    del node.tree.paths[11]
    node.table.scan()
    assert node.table.statistics()["cgroups_gone"] == 1
    assert node.table.by_cgroup(11, 0) == in_full(WEB, "web")


# ---- log paths


def test_log_path_of_a_running_container(node: Node) -> None:
    node.bundle(WEB, "web")
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    assert node.table.by_log_path(node.log("web")) == in_full(WEB, "web")


def test_log_path_before_anything_else_is_known(node: Node) -> None:
    path = node.log("web")
    assert node.table.by_log_path(path) == Identity(
        "node1", namespace="shop", pod_name="web-0", pod_uid=UID, container_name="web"
    )


def test_link_gives_id_and_uid(node: Node) -> None:
    link = node.link("web", WEB, node.log("web"))
    found = node.table.by_log_path(link)
    assert found is not None
    assert (found.container_id, found.pod_uid, found.container_name) == (WEB, UID, "web")
    node.bundle(WEB, "web")
    assert node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0) == in_full(WEB, "web")
    assert node.table.by_log_path(link) == in_full(WEB, "web")


def test_link_as_the_kubelet_writes_it_below_a_mounted_root(node: Node) -> None:
    node.log("web")
    link = node.link("web", WEB, f"/var/log/pods/{POD_LOGS}/web/0.log")
    found = node.table.by_log_path(link)
    assert found is not None
    assert (found.container_id, found.pod_uid) == (WEB, UID)


def test_restarts_have_their_own_ids(node: Node) -> None:
    node.bundle(WEB, "web")
    node.bundle(SIDE, "web")
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    node.table.cgroup_made(12, f"{POD_PATH}/{SIDE}", 0)
    first, second = node.log("web", 0), node.log("web", 1)
    undecided = node.table.by_log_path(second)
    assert undecided is not None
    assert (undecided.container_id, undecided.container_name) == ("", "web")
    node.link("web", WEB, first)
    node.link("web", SIDE, second)
    assert node.table.by_log_path(first) == in_full(WEB, "web")
    assert node.table.by_log_path(second) == in_full(SIDE, "web")


def test_rotated_file_belongs_to_the_same_container(node: Node) -> None:
    node.bundle(WEB, "web")
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    node.link("web", WEB, node.log("web"))
    rotated = str(node.root / f"var/log/pods/{POD_LOGS}/web/0.log.20261124-001431.gz")
    assert node.table.by_log_path(rotated) == in_full(WEB, "web")


def test_dockers_own_file(node: Node) -> None:
    node.docker(WEB, {})
    found = node.table.by_log_path(f"/var/lib/docker/containers/{WEB}/{WEB}-json.log")
    assert found is not None
    assert (found.container_id, found.container_name, found.runtime) == (WEB, "db", "docker")


@pytest.mark.parametrize(
    "path", ["/var/log/syslog", "/etc/passwd", f"/tmp/pods/{POD_LOGS}/web/0.log", "/var/log/containers/x.log"]
)
def test_other_files_are_nobodys(node: Node, path: str) -> None:
    assert node.table.by_log_path(path) is None


def test_unknown_container(node: Node) -> None:
    assert node.table.by_container(WEB) is None
    assert node.table.by_container("../../etc") is None


# ---- time and bounds


def test_gone_container_is_remembered_for_five_minutes(node: Node) -> None:
    node.bundle(WEB, "web")
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    node.table.cgroup_made(12, f"{POD_PATH}/{WEB}/init", 0)
    node.remove_bundle(WEB)
    node.table.cgroup_gone(12, SECOND)
    node.table.cgroup_gone(11, SECOND)
    node.table.expire(KEEP_GONE_NS)
    assert node.table.by_cgroup(11, KEEP_GONE_NS) == in_full(WEB, "web")
    assert node.table.by_cgroup(12, KEEP_GONE_NS) == in_full(WEB, "web")
    assert node.table.by_container(WEB) == in_full(WEB, "web")
    node.table.expire(SECOND + KEEP_GONE_NS)
    assert node.table.by_cgroup(11, SECOND + KEEP_GONE_NS) is None
    assert node.table.by_container(WEB) is None
    statistics = node.table.statistics()
    assert (statistics["cgroups"], statistics["containers"], statistics["pods"]) == (0, 0, 0)


def test_gone_twice_is_gone_once(node: Node) -> None:
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    node.table.cgroup_gone(11, SECOND)
    node.table.cgroup_gone(11, 100 * SECOND)
    node.table.cgroup_gone(77, SECOND)
    node.table.expire(SECOND + KEEP_GONE_NS)
    assert node.table.statistics()["cgroups"] == 0


def test_cgroups_made_by_a_container_push_out_no_other_container(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "MAX_NESTED", 8)
    bounded = IdentityTable("node1", Bundles(str(tmp_path)), LogDirectories(str(tmp_path)), None)
    node.bundle(SIDE, "side")
    side = bounded.cgroup_made(12, f"{POD_PATH}/{SIDE}", 0)
    bounded.cgroup_gone(12, 0)
    web = bounded.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    for child in range(100, 200):
        bounded.cgroup_made(child, f"{POD_PATH}/{WEB}/{child}", 0)
        bounded.cgroup_gone(child, 0)
    assert bounded.by_cgroup(12, 0) is side
    assert bounded.by_cgroup(11, 0) is web
    assert bounded.by_cgroup(199, 0) is web
    assert bounded.statistics()["cgroups"] == 10


def test_full_table_forgets_the_longest_gone_first(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "MAX_CGROUPS", 4)
    bounded = IdentityTable("node1", Bundles(str(tmp_path)), LogDirectories(str(tmp_path)), None)
    for number in range(1, 5):
        bounded.cgroup_made(number, f"{POD_PATH}/{number:064x}", 0)
    bounded.cgroup_gone(3, SECOND)
    bounded.cgroup_gone(2, 2 * SECOND)
    bounded.cgroup_made(5, f"{POD_PATH}/{5:064x}", 3 * SECOND)
    assert [number for number in range(1, 6) if bounded.by_cgroup(number, 0)] == [1, 2, 4, 5]
    bounded.cgroup_made(6, f"{POD_PATH}/{6:064x}", 3 * SECOND)
    bounded.cgroup_made(7, f"{POD_PATH}/{7:064x}", 3 * SECOND)
    assert [number for number in range(1, 8) if bounded.by_cgroup(number, 0)] == [4, 5, 6, 7]
    assert bounded.statistics()["containers"] == 4
    assert bounded.statistics()["evicted"] == 3


def test_containers_asked_for_by_id_are_bounded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOOSE", 3)
    for number in range(5):
        node.bundle(f"{number:064x}", "web")
        assert node.table.by_container(f"{number:064x}") is not None
    assert node.table.statistics()["containers"] == 3


def test_reused_id_has_its_new_owner(node: Node) -> None:
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    node.table.cgroup_gone(11, 0)
    other = node.table.cgroup_made(11, f"{POD_PATH}/{SIDE}", 0)
    assert other.container_id == SIDE
    assert node.table.by_cgroup(11, 0) is other
    assert node.table.by_container(WEB) is None
    host = node.table.cgroup_made(11, "/system.slice", 0)
    assert host.is_host
    assert node.table.statistics()["containers"] == 0
