"""The store of pods: by name and uid, those that are gone, and its bounds."""

from __future__ import annotations

from msgspec.structs import replace

from collector.kubernetes import pods as module
from collector.kubernetes.objects import CONFIG_HASH, Pod
from collector.kubernetes.pods import KEEP_GONE_S, KEEP_MISSING_S, MAX_BYTES, MAX_PODS, Pods, size_of

WEB = Pod("shop", "web-0", "u-1", "node1", labels={"app": "web"})


def test_a_pod_is_told_once_while_it_says_the_same() -> None:
    pods, told = Pods(), list[Pod]()
    pods.learned.append(told.append)
    pods.take(WEB)
    pods.take(replace(WEB))
    other = replace(WEB, pod_ip="10.0.0.1")
    pods.take(other)
    assert told == [WEB, other]
    assert pods.find("shop", "web-0") is other is pods.by_uid("u-1")
    assert pods.size_bytes == size_of(other)


def test_pod_that_was_made_again_is_another() -> None:
    pods = Pods()
    pods.take(WEB)
    again = replace(WEB, uid="u-2")
    pods.take(again)
    assert pods.find("shop", "web-0") is again
    assert pods.by_uid("u-1") is WEB
    pods.take_gone(WEB, 0.0)
    assert pods.find("shop", "web-0") is WEB  # told last; by its uid each is found


def test_gone_pods_stay_a_while() -> None:
    pods = Pods()
    pods.take(WEB)
    pods.take_gone(WEB, 100.0)
    pods.expire(100.0 + KEEP_GONE_S - 1)
    assert pods.find("shop", "web-0") is WEB
    pods.expire(100.0 + KEEP_GONE_S)
    assert pods.find("shop", "web-0") is None
    assert (len(pods), pods.size_bytes) == (0, 0)


def test_list_tells_which_are_gone() -> None:
    pods = Pods()
    elsewhere = Pod("shop", "db-0", "u-3", "node2")
    for pod in (WEB, elsewhere):
        pods.take(pod)
    pods.end_list((), "node1", 0.0)
    pods.expire(KEEP_GONE_S)
    assert pods.find("shop", "web-0") is None
    assert pods.find("shop", "db-0") is elsewhere


def test_static_pod_by_the_uid_of_its_logs() -> None:
    pods = Pods()
    static = Pod("kube-system", "proxy-node1", "u-4", annotations={CONFIG_HASH: "abc"})
    pods.take(static)
    assert pods.by_uid("abc") is static
    assert pods.by_uid("u-4") is None


def test_missing_ones_are_asked_for_again_later() -> None:
    pods = Pods()
    pods.take_missing("shop", "web-0", 10.0)
    assert pods.is_missing("shop", "web-0", 10.0 + KEEP_MISSING_S - 1)
    assert not pods.is_missing("shop", "web-0", 10.0 + KEEP_MISSING_S)
    pods.take(WEB)
    assert not pods.is_missing("shop", "web-0", 11.0)
    for number in range(module.MAX_MISSING + 5):
        pods.take_missing("shop", str(number), 0.0)
    assert not pods.is_missing("shop", "4", 1.0)
    assert pods.is_missing("shop", "5", 1.0)


def test_number_is_bounded_and_the_gone_go_first() -> None:
    pods = Pods()
    for number in range(MAX_PODS):
        pods.take(Pod("shop", f"web-{number}", f"u-{number}"))
    gone = pods.find("shop", "web-7")
    assert gone is not None
    pods.take_gone(gone, 0.0)
    pods.take(Pod("shop", "new", "u-new"))
    assert (len(pods), pods.evicted) == (MAX_PODS, 1)
    assert pods.find("shop", "web-7") is None
    assert pods.find("shop", "web-0") is not None


def test_bytes_are_bounded() -> None:
    pods = Pods()
    for number in range(200):
        pods.take(Pod("shop", f"web-{number}", f"u-{number}", annotations={"a": "x" * (256 << 10)}))
    assert pods.size_bytes <= MAX_BYTES
    assert pods.find("shop", "web-199") is not None
    assert pods.find("shop", "web-0") is None
    pods.take(Pod("shop", "giant", "g", annotations={"a": "x" * (MAX_BYTES + 1)}))
    assert pods.size_bytes <= MAX_BYTES
