"""Facts about containers and pods make the same identities in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.identity import containers as module
from collector.identity.bundles import Bundle
from collector.identity.cgroups import CgroupOwner
from collector.identity.containers import Containers, key_of
from collector.identity.identity import Identity
from collector.identity.paths import LogName
from collector.kubernetes.objects import Pod
from collector.kubernetes.pods import Pods

UID, OTHER_UID = "u-1", "u-2"
SANDBOX, WEB, SIDE = "a0" * 32, "b1" * 32, "c2" * 32
POD_KEY = f"pod {UID}"
BUNDLE = Bundle("containerd", "shop", "web-0", UID, "web", "web:1")
LINK = LogName("shop", "web-0", "web", UID, WEB)


class Seen:
    def __init__(self) -> None:
        self.changes: list[tuple[str, Identity]] = []
        self.containers = Containers("n", Pods(), lambda key, identity: self.changes.append((key, identity)))

    def see(self, container_id: str, order: int = 0, uid: str = UID) -> None:
        self.containers.see(CgroupOwner(container_id, uid), order)

    def __getitem__(self, key: str) -> Identity:
        found = self.containers.identity(key)
        assert found is not None
        return found


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_keys() -> None:
    assert key_of(CgroupOwner(WEB, UID, is_nested=True)) == WEB
    assert key_of(CgroupOwner(pod_uid=UID)) == POD_KEY
    assert key_of(CgroupOwner()) == ""


def test_what_is_unknown_is_none_and_what_is_seen_has_its_ids(seen: Seen) -> None:
    assert seen.containers.identity(WEB) is None
    seen.see(WEB, 1)
    assert seen[WEB] == Identity("n", WEB, pod_uid=UID)
    assert not seen.containers.is_complete(WEB)


def test_each_change_is_told_once(seen: Seen) -> None:
    seen.see(WEB, 1)
    seen.containers.take_bundle(WEB, BUNDLE)
    seen.containers.take_bundle(WEB, BUNDLE)
    seen.containers.take_link(LINK)
    assert [key for key, _ in seen.changes] == [WEB, WEB]
    assert seen.changes[-1][1] == seen[WEB]
    assert seen.containers.is_complete(WEB)


def test_one_container_names_the_pod_of_the_others(seen: Seen) -> None:
    seen.containers.see(CgroupOwner(pod_uid=UID))
    seen.see(SIDE, 2)
    seen.see(WEB, 3)
    seen.containers.take_bundle(WEB, BUNDLE)
    assert (seen[SIDE].pod_name, seen[SIDE].container_name) == ("web-0", "")
    assert seen[POD_KEY].pod_name == "web-0"
    assert seen.containers.is_complete(POD_KEY)


FACTS: tuple[Callable[[Containers], object], ...] = (
    lambda one: one.see(CgroupOwner(pod_uid=UID)),
    lambda one: one.see(CgroupOwner(SANDBOX, UID), 10),
    lambda one: one.see(CgroupOwner(WEB, UID), 11),
    lambda one: one.see(CgroupOwner(SIDE, UID), 12),
    lambda one: one.name_pod(UID, "shop", "web-0", ("web",)),
    lambda one: one.name_pod(UID, "shop", "web-0", ("side", "web")),
)
LATE: tuple[Callable[[Containers], object], ...] = (  # of containers that were seen
    lambda one: one.take_bundle(SANDBOX, Bundle("containerd", "shop", "web-0", UID, is_sandbox=True)),
    lambda one: one.take_bundle(WEB, BUNDLE),
    lambda one: one.take_link(LINK),
    lambda one: one.take_link(LogName("shop", "web-0", "side", UID, SIDE)),
)


@given(st.permutations(FACTS), st.permutations(LATE))
def test_order_of_facts_does_not_matter(
    facts: list[Callable[[Containers], object]], late: list[Callable[[Containers], object]]
) -> None:
    seen = Seen()
    for learn in (*facts, *late):
        learn(seen.containers)
    assert seen[SANDBOX] == Identity("n", SANDBOX, "containerd", "shop", "web-0", UID, is_sandbox=True)
    assert seen[WEB] == Identity("n", WEB, "containerd", "shop", "web-0", UID, "web", "web:1")
    assert seen[SIDE] == Identity("n", SIDE, "", "shop", "web-0", UID, "side")
    assert seen[POD_KEY] == Identity("n", namespace="shop", pod_name="web-0", pod_uid=UID)
    last = dict(seen.changes)
    assert all(last[key] == seen[key] for key in (SANDBOX, WEB, SIDE, POD_KEY))


def test_only_log_of_a_pod_names_its_second_container_not_its_first(seen: Seen) -> None:
    seen.containers.name_pod(UID, "shop", "web-0", ("web",))
    seen.containers.see(CgroupOwner(pod_uid=UID), 1)
    seen.see(SANDBOX, 2)
    seen.see(WEB, 3)
    assert (seen[SANDBOX].container_name, seen[WEB].container_name) == ("", "web")


def test_cgroup_decides_about_the_pod(seen: Seen) -> None:
    seen.see(WEB, 1, OTHER_UID)
    seen.containers.take_bundle(WEB, BUNDLE)
    seen.containers.take_link(LINK)
    assert seen[WEB] == Identity("n", WEB, "containerd", pod_uid=OTHER_UID, image="web:1")
    assert seen.containers.disagreements == 1


def test_link_of_a_container_that_is_seen_in_another_pod_later(seen: Seen) -> None:
    seen.containers.see(CgroupOwner(WEB))
    seen.containers.take_link(LINK)
    assert seen[WEB].pod_name == "web-0"
    seen.see(WEB, 1, OTHER_UID)
    assert (seen[WEB].pod_uid, seen[WEB].pod_name, seen[WEB].container_name) == (OTHER_UID, "", "")


def test_writer_of_a_log(seen: Seen) -> None:
    seen.see(WEB, 1)
    seen.containers.take_bundle(WEB, BUNDLE)
    assert seen.containers.writer(LogName("shop", "web-0", "web", UID)) == WEB
    assert seen.containers.writer(LogName("shop", "web-0", "other", UID)) == ""
    seen.see(SIDE, 2)
    seen.containers.take_bundle(SIDE, BUNDLE)
    assert seen.containers.writer(LogName("shop", "web-0", "web", UID)) == ""
    seen.containers.take_link(LINK)
    assert seen.containers.writer(LogName("shop", "web-0", "web", UID)) == WEB
    assert seen.containers.writer(LogName("shop", "web-0", "web", UID, restart=1)) == ""


def test_forgotten_with_the_last_container(seen: Seen) -> None:
    seen.see(WEB, 1)
    seen.see(SIDE, 2)
    seen.containers.forget(WEB)
    assert (len(seen.containers), seen.containers.pods) == (1, 1)
    seen.containers.forget(SIDE)
    assert (len(seen.containers), seen.containers.pods) == (0, 0)


def test_pods_and_links_are_bounded(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PODS", 3)
    monkeypatch.setattr(module, "MAX_LINKS", 3)
    seen.see(WEB, 1)
    for number in range(10):
        seen.containers.name_pod(f"x-{number}", "shop", "x", ())
        seen.containers.take_link(LogName("shop", "web-0", "web", UID, WEB, restart=number))
    assert seen.containers.pods == 3
    seen.containers.take_bundle(WEB, BUNDLE)
    assert seen[WEB].pod_name == "web-0"
    assert seen.containers.writer(LogName("shop", "web-0", "web", UID, restart=9)) == WEB


LABELS = (("app", "web"),)
TOLD = Bundle("containerd", "shop", "web-0", UID, "web", "web:1", "sha256:1", labels=LABELS)


@given(st.permutations(range(3)))
def test_the_runtimes_answer_adds_to_its_file(order: list[int]) -> None:
    seen = Seen()
    facts = (
        lambda: seen.see(WEB, 1),
        lambda: seen.containers.take_bundle(WEB, BUNDLE),
        lambda: seen.containers.take_told(WEB, TOLD),
    )
    seen.see(WEB, 1)
    for one in order:
        facts[one]()
    known = seen[WEB]
    assert (known.container_name, known.image, known.image_id) == ("web", "web:1", "sha256:1")
    assert known.labels() == known.kubernetes()["labels"] == {"app": "web"}
    assert "labels" not in known.kubernetes(with_labels=False)


def test_the_runtimes_answer_stands_in_for_its_file(seen: Seen) -> None:
    seen.see(WEB, 1)
    seen.containers.take_told(WEB, TOLD)
    assert seen[WEB] == Identity(
        "n", WEB, "containerd", "shop", "web-0", UID, "web", "web:1", "sha256:1", runtime_labels=LABELS
    )
    assert seen.containers.is_complete(WEB)


def test_the_runtimes_answer_of_another_pod_than_the_cgroup_is_not_believed(seen: Seen) -> None:
    seen.see(WEB, 1, OTHER_UID)
    seen.containers.take_told(WEB, TOLD)
    assert (seen[WEB].pod_name, seen[WEB].runtime_labels) == ("", ())
    assert seen[WEB].image_id == "sha256:1"
    assert seen.containers.disagreements == 1


def test_file_and_answer_that_disagree(seen: Seen) -> None:
    seen.see(WEB, 1)
    seen.containers.take_bundle(WEB, replace(BUNDLE, pod_uid=OTHER_UID, pod_name="forged"))
    seen.containers.take_told(WEB, TOLD)
    assert (seen[WEB].pod_name, seen[WEB].pod_uid) == ("web-0", UID)
    assert seen.containers.disagreements == 1


def test_labels_of_the_api_server_are_the_newer_ones() -> None:
    pod = Pod(namespace="shop", name="web-0", uid=UID, labels={"app": "now"})
    both = Identity("n", WEB, pod_name="web-0", pod=pod, runtime_labels=LABELS)
    assert both.labels() == {"app": "now"}
