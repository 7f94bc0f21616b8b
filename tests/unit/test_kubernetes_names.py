"""Whose records a tag or a container's name says they are (collector.filters.kubernetes_names)."""

from __future__ import annotations

from pathlib import Path

from tests.kubernetes_filter import ID, LINES, WEB, WEB_TAG, House


def test_tag_that_names_no_pod_passes(tmp_path: Path) -> None:
    house = House(tmp_path, ("Merge_Log", "On"))
    for tag in ("kube.x", "kube.var.log.containers.x", WEB_TAG.replace(ID, ID[:-1])):
        assert house.apply(tag, [("log", '{"a":1}')]) == [("log", '{"a":1}')]
        assert house.fold(tag) is LINES


def test_journal_of_docker(tmp_path: Path) -> None:
    house = House(tmp_path, ("Use_Journal", "On"))
    name = f"k8s_httpd.5ab3_{WEB.name}_shop_{WEB.uid}_0"
    made = house.apply("kube.journal", [("CONTAINER_NAME", name), ("MESSAGE", "x")])
    assert made is not None
    assert made[2][0] == "kubernetes"
    assert made[2][1]["container_hash"] == "5ab3"
    assert made[2][1]["docker_id"] in WEB.containers[0].container_id + WEB.containers[1].container_id
    # One that is no container's stays as it is.
    assert house.apply("kube.journal", [("MESSAGE", "x")]) == [("MESSAGE", "x")]
    assert house.fold("kube.journal") is None


def test_regex_parser_finds_the_names(tmp_path: Path) -> None:
    house = House(tmp_path, ("Regex_Parser", "names"), ("Kube_Tag_Prefix", "kube."))
    made = house.apply("kube.shop." + WEB.name, [])
    assert made is not None
    assert (made[0][1]["pod_name"], "docker_id" in made[0][1]) == (WEB.name, False)
