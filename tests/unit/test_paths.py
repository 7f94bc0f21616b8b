"""A log path names its container, and only names that Kubernetes admits count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.identity.paths import (
    LogName,
    read_container_link,
    read_pod_directory,
    read_pod_log,
    read_tag,
)

UID = "7b47325f-7086-444a-87e3-fb3a30fd855b"
ID = "13cdfb4a12a5278da19acfa2eca5abca0f87f564a41be8d6ee75170063e41c51"
DIRECTORY = f"/var/log/pods/shop_web-5c8c56666c-8w7j8_{UID}"
LINK = f"web-5c8c56666c-8w7j8_shop_ticker-{ID}.log"


def name(restart: int = 0, *, rotated: bool = False, compressed: bool = False) -> LogName:
    return LogName(
        "shop",
        "web-5c8c56666c-8w7j8",
        "ticker",
        pod_uid=UID,
        restart=restart,
        is_rotated=rotated,
        is_compressed=compressed,
    )


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("0.log", name()),
        ("17.log", name(17)),
        ("0.log.20261124-001431", name(rotated=True)),
        ("0.log.20261124-001431.gz", name(rotated=True, compressed=True)),
        ("0.log.20261124-001431.tmp", name(rotated=True)),
        ("0.log.tmp", name(rotated=True)),
        ("0.log.1", name(rotated=True)),
    ],
)
def test_pod_log(file: str, expected: LogName) -> None:
    assert read_pod_log(f"{DIRECTORY}/ticker/{file}") == expected


def test_static_pod_goes_by_its_hash() -> None:
    found = read_pod_log(
        "/var/log/pods/kube-system_static-web-node1_3f029f2357c07f6d347ffa1e082f4d7a/s/0.log"
    )
    assert found == LogName(
        "kube-system", "static-web-node1", "s", pod_uid="3f029f2357c07f6d347ffa1e082f4d7a"
    )


def test_other_root() -> None:
    found = read_pod_log(f"/host{DIRECTORY}/ticker/0.log", pods="/host/var/log/pods")
    assert found == name()
    assert read_pod_log(f"/host{DIRECTORY}/ticker/0.log") is None


@pytest.mark.parametrize(
    "path",
    [
        "/var/log/pods",
        DIRECTORY,
        f"{DIRECTORY}/ticker",
        f"{DIRECTORY}/ticker/x.log",
        f"{DIRECTORY}/ticker/0.log.evil",
        f"{DIRECTORY}/ticker/a/0.log",
        f"{DIRECTORY}/../ticker/0.log",
        f"{DIRECTORY}/Ticker/0.log",
        f"{DIRECTORY}/-x/0.log",
        f"/var/log/pods/a_b_c_{UID}/x/0.log",
        f"/var/log/pods/a_b/x_{UID}/x/0.log",
        f"/var/log/pods/shop_{'a' * 254}_{UID}/x/0.log",
        f"/var/log/pods/{'a' * 64}_b_{UID}/x/0.log",
        f"/var/log/pods/shop_b_{UID}/{'x' * 64}/0.log",
        f"/var/log/pods/shop_b\n_{UID}/x/0.log",
        f"/var/log/pods/shop_b_{UID}\n/x/0.log",
        f"/var/log/pods/shop_b_{UID}/x/0.log\n",
        "/var/log/pods/shop_b_/x/0.log",
        f"/var/lib/kubelet/pods/u/volumes/x/kube-system_etcd_{UID}/etcd/0.log",
    ],
)
def test_hostile_or_foreign_paths_are_nobodys(path: str) -> None:
    assert read_pod_log(path) is None


def test_link() -> None:
    found = read_container_link(LINK)
    assert found == LogName("shop", "web-5c8c56666c-8w7j8", "ticker", container_id=ID)


def test_link_cut_at_255_bytes_is_not_guessed() -> None:
    cut = f"{'p' * 180}_shop_ticker-{ID}"[:251] + ".log"
    assert len(cut) == 255
    assert read_container_link(cut) is None


def test_container_name_with_dashes_keeps_them() -> None:
    found = read_container_link(f"p_n_a-b-c-{ID}.log")
    assert found is not None
    assert found.container_name == "a-b-c"


def test_tag_skips_the_prefix_by_its_length() -> None:
    length = len("kube.var.log.containers.")
    assert read_tag(f"kube.var.log.containers.{LINK}", length) == read_container_link(LINK)
    assert read_tag(f"rewr.var.log.containers.{LINK}", length) == read_container_link(LINK)
    assert read_tag(f"kube.{LINK}", length) is None
    assert read_tag("kube", length) is None


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), st.uuids())
def test_names_that_kubernetes_admits_come_back(label: str, uid: object) -> None:
    assert read_pod_directory(f"{label}_{label}.{label}_{uid}") == (label, f"{label}.{label}", str(uid))


@given(st.text())
def test_any_text_is_an_answer(text: str) -> None:
    assert read_pod_directory(text) is None or text.count("_") == 2
    assert read_container_link(text) is None or text.endswith(".log")
