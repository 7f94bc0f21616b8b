"""collector.cri.inventory: from lists and events to what is known of a container."""

from __future__ import annotations

import pytest

from collector.cri import inventory, messages
from collector.cri.inventory import KEEP_GONE_S, Inventory
from collector.identity.bundles import Bundle
from tests import cri_runtime
from tests.containers import protobuf as pb

PODS, CONTAINERS, IMAGES = (cri_runtime.golden(name) for name in ("pods", "ps", "images"))
POD, CONTAINER = PODS[0], CONTAINERS[0]
UID = "7b47325f-7086-444a-87e3-fb3a30fd855b"
LABELS = (("app", "web"), ("pod-template-hash", "5c8c56666c"), ("tier", "front"))
BUSYBOX, BUSYBOX_ID = "docker.io/library/busybox:1.35", IMAGES[0]["id"]
TICKER = Bundle(
    "containerd", "shop", "web-5c8c56666c-8w7j8", UID, "ticker", BUSYBOX, BUSYBOX_ID, labels=LABELS
)


def empty() -> Inventory:
    subject = Inventory()
    subject.set_runtime("containerd")
    return subject


def take_list(
    subject: Inventory, sandboxes: list[bytes], containers: list[bytes], now_s: float = 0.0
) -> None:
    subject.begin_list()
    for one in sandboxes:
        subject.sandbox_listed(one)
    for one in containers:
        subject.container_listed(one)
    subject.end_list(now_s)


def take_images(subject: Inventory) -> None:
    subject.begin_images()
    for one in IMAGES:
        subject.image_listed(cri_runtime.image(one))
    subject.end_images()


def filled() -> Inventory:
    subject = empty()
    take_list(subject, list(map(cri_runtime.sandbox, PODS)), list(map(cri_runtime.container, CONTAINERS)))
    take_images(subject)
    return subject


def test_a_real_nodes_containers() -> None:
    subject = filled()
    assert subject.bundle(CONTAINER["id"]) == TICKER
    assert subject.bundle(POD["id"]) == Bundle(
        "containerd", "shop", "web-5c8c56666c-8w7j8", UID, is_sandbox=True, labels=LABELS
    )
    assert subject.bundle("0" * 64) is None
    known = [subject.bundle(one["id"]) for one in CONTAINERS]
    assert all(one and one.pod_name and one.container_name and one.image and one.image_id for one in known)
    assert set(subject.take_news()) == {one["id"] for one in (*PODS, *CONTAINERS)}
    assert subject.take_news() == []


def test_images_are_asked_for_once() -> None:
    subject = empty()
    take_list(subject, [], [cri_runtime.container(CONTAINER)])
    assert subject.lacks_images()
    subject.begin_images()
    subject.end_images()  # it was removed while its container runs
    assert not subject.lacks_images()
    found = subject.bundle(CONTAINER["id"])
    assert found is not None
    assert (found.image, found.image_id) == ("", BUSYBOX_ID)


def test_digest_of_the_repository_is_the_image_id_as_the_api_has_it() -> None:
    subject = empty()
    take_list(subject, [], [cri_runtime.container(CONTAINER)])
    subject.begin_images()
    digest = "docker.io/library/busybox@sha256:" + "1" * 64
    subject.image_listed(pb.text(1, BUSYBOX_ID) + pb.texts(2, [BUSYBOX]) + pb.texts(3, [digest]))
    subject.end_images()
    found = subject.bundle(CONTAINER["id"])
    assert found is not None
    assert (found.image, found.image_id) == (BUSYBOX, digest)


def test_names_of_a_container_whose_sandbox_is_not_there() -> None:
    subject = empty()
    take_list(subject, [], [cri_runtime.container(CONTAINER)])
    found = subject.bundle(CONTAINER["id"])
    assert found is not None
    assert (found.namespace, found.pod_name, found.pod_uid) == ("shop", "web-5c8c56666c-8w7j8", UID)


def test_what_is_known_is_not_read_again() -> None:
    subject = filled()
    subject.take_news()
    take_list(subject, [pb.text(1, one["id"]) + b"\x0f" for one in PODS], [], 1.0)
    assert subject.take_news() == []


def test_what_is_gone_stays_known_for_minutes() -> None:
    subject = filled()
    take_list(subject, list(map(cri_runtime.sandbox, PODS)), [], 10.0)
    assert subject.bundle(CONTAINER["id"]) == TICKER
    take_list(subject, list(map(cri_runtime.sandbox, PODS)), [], 10.0 + KEEP_GONE_S)
    assert subject.bundle(CONTAINER["id"]) is None
    assert subject.bundle(POD["id"]) is not None


def test_events() -> None:
    subject = empty()
    status = cri_runtime.container_status(CONTAINER, BUSYBOX)
    begun = cri_runtime.event(CONTAINER["id"], messages.CREATED, cri_runtime.sandbox(POD, 7), (status,))
    subject.take_event(messages.event(begun), 0.0)
    assert subject.take_news() == [POD["id"], CONTAINER["id"]]
    assert subject.bundle(CONTAINER["id"]) == TICKER
    subject.take_event(messages.event(begun), 1.0)
    assert subject.take_news() == []
    removed = messages.event(cri_runtime.event(CONTAINER["id"], messages.DELETED))
    subject.take_event(removed, 2.0)
    assert subject.bundle(CONTAINER["id"]) == TICKER
    subject.take_event(removed, 2.0 + KEEP_GONE_S)
    assert subject.bundle(CONTAINER["id"]) is None


def test_names_that_kubernetes_does_not_admit_are_left_out() -> None:
    told = {**POD, "metadata": {**POD["metadata"], "name": "../../etc"}}
    subject = empty()
    take_list(subject, [cri_runtime.sandbox(told)], [cri_runtime.container(CONTAINER)])
    found = subject.bundle(CONTAINER["id"])
    assert found is not None
    assert (found.pod_name, found.pod_uid, found.labels) == ("", "", ())


def test_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_BYTES", 100_000)
    subject = empty()
    for one in range(1000):
        subject.sandbox_listed(pb.text(1, f"{one:064x}") + pb.mapping(5, {"key": "v" * 500}))
    assert (len(subject), subject.refused) == (78, 1000 - 78)
    # What is gone gives way.
    take_list(subject, [], [], 1.0)
    subject.sandbox_listed(cri_runtime.sandbox(POD))
    assert POD["id"] in subject
    assert subject.refused == 1000 - 78


@pytest.mark.parametrize(("told", "runtime"), [("cri-o", "cri-o"), ("containerd", "containerd"), ("x", "")])
def test_runtime(told: str, runtime: str) -> None:
    subject = Inventory()
    subject.set_runtime(told)
    assert subject.runtime == runtime
