"""Metadata from files (collector.kubernetes.preload)."""

from __future__ import annotations

import json
from pathlib import Path

from collector.kubernetes.objects import Pod
from tests.kubernetes_filter import ID, House, tag_of


def test_preloaded_files_come_first(tmp_path: Path) -> None:
    house = House(
        tmp_path,
        ("Kube_Meta_Preload_Cache_Dir", str(tmp_path)),
        ("Namespace_Labels", "On"),
        ("Namespace_Annotations", "On"),
    )
    (tmp_path / "a_b.meta").write_text(json.dumps({"metadata": {"uid": "u", "labels": {}}}))
    (tmp_path / "a_e.meta").write_text("{}")
    (tmp_path / "a.namespace_meta").write_text(json.dumps({"metadata": {"labels": {"n": "1"}}}))
    (tmp_path / "a_broken.meta").write_text("{")
    namespace = ("kubernetes_namespace", {"name": "a", "labels": {"n": "1"}})
    tag_fields = {"namespace_name": "a", "container_name": "d", "docker_id": ID}
    made = house.apply(tag_of(Pod("a", "b", ""), "d"), [])
    assert made == [
        ("kubernetes", {"pod_name": "b", "namespace_name": "a", "pod_id": "u", "labels": {}, **tag_fields}),
        namespace,
    ]
    assert house.apply(tag_of(Pod("a", "e", ""), "d"), []) == [
        ("kubernetes", {"pod_name": "e", **tag_fields}),
        namespace,
    ]
    assert house.apply(tag_of(Pod("a", "broken", ""), "d"), []) == [namespace]


def test_only_of_the_namespace(tmp_path: Path) -> None:
    only = ("Namespace_Metadata_Only", "On"), ("Namespace_Labels", "On")
    house = House(tmp_path, ("Kube_Meta_Preload_Cache_Dir", str(tmp_path)), *only)
    (tmp_path / "a_b.meta").write_text(json.dumps({"metadata": {"uid": "u"}}))
    (tmp_path / "a.namespace_meta").write_text(json.dumps({"metadata": {"labels": {"n": "1"}}}))
    assert house.apply(tag_of(Pod("a", "b", ""), "d"), [("log", "x")]) == [
        ("log", "x"),
        ("kubernetes_namespace", {"name": "a", "labels": {"n": "1"}}),
    ]
