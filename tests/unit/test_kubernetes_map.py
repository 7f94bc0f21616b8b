"""The maps of collector.filters.kubernetes_map: Fluent Bit's bytes, and what `Compat safe` has beside."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from msgspec.structs import replace

from collector.identity.identity import Identity
from collector.kubernetes.objects import CONFIG_HASH, Pod
from collector.packing import pack
from collector.plan import Field, Merge, Op
from tests.api_server import recorded
from tests.kubernetes_filter import ID, LINES, PODS, WEB, WEB_TAG, House, tag_of

SAFE = ("Compat", "safe")


def test_map_is_fluent_bits_byte_for_byte(tmp_path: Path) -> None:
    status = next(
        one
        for item in recorded("pods")
        if item["metadata"]["name"] == WEB.name
        for one in item["status"]["containerStatuses"]
        if one["name"] == "httpd"
    )
    expected = {
        "pod_name": "web-5c8c56666c-8w7j8",
        "namespace_name": "shop",
        "pod_id": "7b47325f-7086-444a-87e3-fb3a30fd855b",
        "labels": {"app": "web", "pod-template-hash": "5c8c56666c", "tier": "front"},
        "annotations": {"team": "payments"},
        "host": "node1",
        "pod_ip": WEB.pod_ip,
        "container_name": "httpd",
        "docker_id": ID,
        "container_hash": status["imageID"],
        "container_image": status["image"],
    }
    assert WEB.pod_ip
    house = House(tmp_path)
    made = house.apply(WEB_TAG, [("log", "x")])
    assert made is not None
    assert pack(dict(made)) == pack({"log": "x", "kubernetes": expected})
    assert house.fold(WEB_TAG) == LINES.then(Field(Op.APPEND, "kubernetes", made[1][1]))


def test_what_was_not_asked_for_is_left_out(tmp_path: Path) -> None:
    off = (("Labels", "Off"), ("Annotations", "Off"), ("Owner_References", "On"))
    made = House(tmp_path, *off).apply(WEB_TAG, [])
    assert made is not None
    assert list(made[0][1]) == [
        "pod_name", "namespace_name", "pod_id", "ownerReferences", "host", "pod_ip", "container_name",
        "docker_id", "container_hash", "container_image",
    ]  # fmt: skip
    item = next(item for item in recorded("pods") if item["metadata"]["name"] == WEB.name)
    assert made[0][1]["ownerReferences"] == item["metadata"]["ownerReferences"]


def test_without_metadata_there_is_no_map_and_logs_are_merged(tmp_path: Path) -> None:
    house = House(tmp_path, ("Merge_Log", "On"))
    tag = tag_of(Pod("shop", "unknown", "u"), "web")
    assert house.apply(tag, [("log", '{"a":1}')]) == [("log", '{"a":1}'), ("a", 1)]
    assert house.fold(tag) == LINES.then(Merge())
    assert house.misses("pod") == 2


def test_ephemeral_containers_and_unknown_ones_have_no_image(tmp_path: Path) -> None:
    ephemeral = replace(WEB.containers[0], name="debug", is_ephemeral=True)
    house = House(tmp_path)
    house.take(replace(WEB, containers=(*WEB.containers, ephemeral)))
    for container in ("debug", "other"):
        made = house.apply(tag_of(WEB, container), [])
        assert made is not None
        assert "container_image" not in made[0][1]
        assert made[0][1]["docker_id"] == ID
    assert (house.misses("container"), house.misses("pod")) == (1, 0)


def test_static_pod_by_its_path(tmp_path: Path) -> None:
    static = PODS["static-web-node1"]
    identity = Identity("node1", ID, "containerd", "kube-system", static.name, static.log_uid, "s")
    made = House(tmp_path).apply(tag_of(static, "s"), [], identity)
    assert made is not None
    assert made[0][1]["pod_id"] == static.uid != static.log_uid
    assert made[0][1]["annotations"][CONFIG_HASH] == static.log_uid


def test_logs_of_a_pod_that_was_made_again_have_their_own_metadata(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.take(replace(WEB, uid="new", labels={"is": "new"}))
    old = Identity("node1", ID, "containerd", "shop", WEB.name, WEB.uid, "httpd")
    made = house.apply(WEB_TAG, [], old)
    assert made is not None
    assert made[0][1]["pod_id"] == WEB.uid
    made = house.apply(WEB_TAG, [], dataclasses.replace(old, pod_uid="new"))
    assert made is not None
    assert made[0][1]["labels"] == {"is": "new"}


def test_only_the_tag_and_dummy(tmp_path: Path) -> None:
    made = House(tmp_path, ("Use_Tag_For_Meta", "On")).apply(tag_of(Pod("a", "b", "c"), "d"), [])
    assert made == [
        ("kubernetes", {"pod_name": "b", "namespace_name": "a", "container_name": "d", "docker_id": ID})
    ]
    made = House(tmp_path, ("Dummy_Meta", "On")).apply("kube.x", [])
    assert made is not None
    assert list(made[0][1]) == ["dummy"]
    time.strptime(made[0][1]["dummy"], "%a %b %d %H:%M:%S %Y")


def test_safe_has_the_workload_and_the_image_id(tmp_path: Path) -> None:
    made = House(tmp_path, SAFE).apply(WEB_TAG, [])
    assert made is not None
    assert list(made[0][1]) == [
        "pod_name", "namespace_name", "pod_id", "labels", "annotations", "workload", "host", "pod_ip",
        "container_name", "docker_id", "container_hash", "container_image", "container_image_id",
    ]  # fmt: skip
    assert made[0][1]["workload"] == {"kind": "Deployment", "name": "web"}


def test_safe_knows_the_pod_without_the_api(tmp_path: Path) -> None:
    house = House(tmp_path, SAFE)
    identity = Identity("node1", ID, "containerd", "shop", "unknown", "u-1", "web", "web:1", "sha256:ab")
    made = house.apply("kube.anything", [("log", "x")], identity)
    assert made == [
        ("log", "x"),
        ("kubernetes", {**identity.kubernetes(), "container_image_id": "sha256:ab"}),
    ]
    by_tag = house.apply(tag_of(Pod("shop", "unknown", ""), "web"), [])
    assert by_tag is not None
    assert by_tag[0][1]["pod_name"] == "unknown"
    assert house.misses("pod") == 2


def test_safe_looks_into_ephemeral_containers(tmp_path: Path) -> None:
    ephemeral = replace(WEB.containers[0], name="debug", is_ephemeral=True)
    house = House(tmp_path, SAFE)
    house.take(replace(WEB, containers=(ephemeral,)))
    made = house.apply(tag_of(WEB, "debug"), [])
    assert made is not None
    assert made[0][1]["container_image"] == ephemeral.image
