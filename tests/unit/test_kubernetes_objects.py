"""Objects of the API as recorded from a real server, and what is no object."""

from __future__ import annotations

import json

import pytest

from collector.kubernetes.objects import (
    Change,
    UnreadableObject,
    failure_of,
    read_change,
    read_list,
    read_metadata,
    read_pod,
)
from tests.api_server import EXPIRED, GOLDEN, recorded


def test_recorded_list() -> None:
    page = read_list((GOLDEN / "pods.json").read_bytes())
    assert (page.version, page.rest, len(page.objects)) == ("659", "", 10)
    web = next(one for one in page.objects if one.name == "web-5c8c56666c-8w7j8")
    assert (web.namespace, web.node, web.uid) == ("shop", "node1", "7b47325f-7086-444a-87e3-fb3a30fd855b")
    assert list((web.labels or {}).items()) == [
        ("app", "web"), ("pod-template-hash", "5c8c56666c"), ("tier", "front"),
    ]  # fmt: skip
    assert web.annotations == {"team": "payments"}
    assert web.owners
    assert web.owners[0]["kind"] == "ReplicaSet"
    assert {one.name for one in web.containers} >= {"httpd", "ticker"}
    assert web.log_uid == web.uid


def test_static_pod_is_known_by_its_hash() -> None:
    page = read_list((GOLDEN / "pods.json").read_bytes())
    static = next(one for one in page.objects if one.name == "static-web-node1")
    assert static.log_uid == "3f029f2357c07f6d347ffa1e082f4d7a" != static.uid


def test_recorded_watch() -> None:
    changes = [read_change(line) for line in (GOLDEN / "watch.jsonl").read_bytes().splitlines()]
    kinds = {one.kind for one in changes}
    assert kinds == {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}
    assert all(one.version.isdecimal() for one in changes)
    assert all((one.object is None) == (one.kind == "BOOKMARK") for one in changes)


def test_version_that_is_too_old() -> None:
    assert read_change(EXPIRED) == Change("ERROR", code=410, message="too old resource version: 1 (1231)")


def test_namespaces_and_owners() -> None:
    shop = next(one for one in recorded("namespaces") if one["metadata"]["name"] == "shop")
    assert read_metadata(json.dumps(shop).encode()).labels == shop["metadata"]["labels"]
    job = next(one for one in recorded("workloads") if one["kind"] == "Job")
    assert read_metadata(json.dumps(job).encode()).name == "once"


def test_object_without_anything_is_a_pod_without_anything() -> None:
    pod = read_pod(b"{}")
    assert (pod.name, pod.labels, pod.containers) == ("", None, ())


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"metadata": 1}', b"\xff", b'{"metadata":' * 3000, b'{"items": {}}']
)
def test_what_is_no_object(text: bytes) -> None:
    for read in (read_pod, read_list, read_change, read_metadata):
        if text == b'{"items": {}}' and read in (read_pod,):
            continue
        with pytest.raises(UnreadableObject):
            read(text)


def test_sentence_of_a_status() -> None:
    assert failure_of(b'{"message":"pods is forbidden"}') == "pods is forbidden"
    assert failure_of(b"<html>") == ""
