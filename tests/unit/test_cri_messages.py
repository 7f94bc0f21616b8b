"""collector.cri.messages, of what a real node's runtime said."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from collector.cri import messages
from collector.cri.messages import Container, Image, Sandbox
from tests import cri_runtime
from tests.containers import protobuf as pb

POD, CONTAINER = cri_runtime.golden("pods")[0], cri_runtime.golden("ps")[0]
LABELS = (("app", "web"), ("pod-template-hash", "5c8c56666c"), ("tier", "front"))
SANDBOX = Sandbox(POD["id"], "shop", "web-5c8c56666c-8w7j8", "7b47325f-7086-444a-87e3-fb3a30fd855b", LABELS)


def test_sandbox_of_a_list_and_of_an_event() -> None:
    assert messages.sandbox(cri_runtime.sandbox(POD)) == SANDBOX
    assert messages.sandbox(cri_runtime.sandbox(POD, 7), labels_field=7) == SANDBOX


def test_container() -> None:
    image_id = CONTAINER["imageRef"]
    found = messages.container(cri_runtime.container(CONTAINER))
    assert found == Container(CONTAINER["id"], POD["id"], "ticker", image_id, image_id, found.labels)
    assert dict(found.labels) == {
        f"io.kubernetes.pod.{key}": CONTAINER["labels"][f"io.kubernetes.pod.{key}"]
        for key in ("name", "namespace", "uid")
    }


def test_the_image_that_was_asked_for() -> None:
    """CRI since Kubernetes 1.29: ImageSpec.user_specified_image."""
    asked = pb.message(4, pb.text(1, "sha256:" + "0" * 64) + pb.text(18, "busybox:1.35"))
    assert messages.container(pb.text(1, "c") + asked).image == "busybox:1.35"


def test_image() -> None:
    told = cri_runtime.golden("images")[0]
    assert messages.image(cri_runtime.image(told)) == Image(told["id"], told["repoTags"][0], told["id"])
    digests = pb.text(1, "id") + pb.texts(3, ["a@sha256:1", "b@sha256:1"])
    assert messages.image(digests) == Image("id", "a@sha256:1", "a@sha256:1")


def test_event() -> None:
    status = cri_runtime.container_status(CONTAINER, "docker.io/library/busybox:1.35")
    sent = cri_runtime.event(CONTAINER["id"], messages.STARTED, cri_runtime.sandbox(POD, 7), (status,))
    found = messages.event(sent)
    assert (found.container_id, found.kind, found.sandbox) == (CONTAINER["id"], messages.STARTED, SANDBOX)
    (container,) = found.containers
    assert (container.id, container.name) == (CONTAINER["id"], "ticker")
    assert container.image == "docker.io/library/busybox:1.35"
    assert messages.event(pb.text(1, "a")).kind == messages.CREATED


def test_id_is_read_without_the_rest() -> None:
    assert messages.id_of(cri_runtime.container(CONTAINER)) == CONTAINER["id"]
    assert messages.id_of(pb.text(1, "a") + b"\x0f") == "a"
    assert [messages.id_of(one) for one in (b"", 5, pb.text(2, "a"))] == ["", "", ""]


def test_texts_that_nobody_admits_are_as_none() -> None:
    assert messages.container(pb.message(1, b"\xff")).id == ""
    assert messages.container(pb.text(1, "a" * 513)).id == ""
    many = b"".join(pb.mapping(5, {f"key{one}": "v", f"long{one}": "v" * 513}) for one in range(1000))
    labels = messages.sandbox(pb.text(1, "a") + many).labels
    assert len(labels) == 256
    assert ("long0", "") in labels


def test_version() -> None:
    assert messages.version(dict(pb_fields(cri_runtime.VERSION))) == ("containerd", "1.7.24")


def pb_fields(message: bytes) -> list[tuple[int, int | bytes]]:
    return [(field, values[-1]) for field, values in pb.read(message).items()]


@given(st.binary(max_size=80))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    for read in (messages.sandbox, messages.container, messages.image, messages.event, messages.id_of):
        with contextlib.suppress(ValueError):
            read(data)
