"""collector.netlink_fields: the table beside the records that collector.inputs.netlink_records makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from collector.inputs.netlink_records import Clock, network_record, process_record
from collector.netlink_fields import EVERY, FIELDS, IMAGE, NETWORK, PROCESS, page
from collector.records import EVENT_FIELDS, TOP_LEVEL_KEYS
from probes.netlink_processes import Ending, Image, Parent, Process, Seen
from probes.netlink_sockets import Owner, SocketSeen
from probes.process_files import Arguments, Binary, Credentials
from probes.sock_diag import Counters, TcpSocket

CLOCK = Clock(1, 10**18)
RICH = Process(
    10,
    20,
    b"name",
    Parent(1, 2, b"parent"),
    Credentials(1, 2, 3, 4, 5, 6),
    1000,
    (("mnt", 1), ("pid", 2), ("net", 3), ("user", 4)),
    "/a",
    5,
)
IMAGES = (
    Image(Arguments(b"a\0" * 2048, 5000, 2500), Binary(b"/bin/a", 1, 2, 0o4755, True, False), b"/"),
    Image(Arguments(b"a\0", 2, 1), Binary(b"/memfd:a", 1, 2, 0o755, False, True), b"/"),
    Image(None, None, None),
)
COUNTERS = Counters(1, 2, 3, 4, 5, 6, 7, 8)
TCP = TcpSocket(1, 1, (b"\x7f\0\0\1", 80), (b"\x7f\0\0\1", 5000), 9, 0, 37, 5, None)


def process_samples(action: str) -> Iterator[dict[str, Any]]:
    """Records that together have all that the kind can have, and the poorest."""
    poor = Process(10, parent=Parent(1)) if action == "fork" else Process(10)
    tid = 11 if action.startswith("change") else 10
    if action == "exit":
        for process, ending in (
            (RICH, Ending(7 << 8, 1, 2, 3)),
            (RICH, Ending(0x80 | 11, 1, 2, 3)),
            (poor, Ending(None, None, None, 0)),
        ):
            yield dict(process_record(Seen(action, 1, process, 10, ending=ending), "host", CLOCK))
        return
    for image in IMAGES if action in IMAGE else (None,):
        unread = "gone" if action in ("exec", "fork") and (image is None or image.arguments is None) else ""
        yield dict(process_record(Seen(action, 1, RICH, tid, image, unread=unread), "host", CLOCK))
    yield dict(process_record(Seen(action, 1, poor, 10), "host", CLOCK))


def network_samples(action: str) -> Iterator[dict[str, Any]]:
    role = "listener" if action in ("listen", "unlisten", "listening") else "client"
    counters = COUNTERS if action == "close" else None
    if action == "connect-failed":
        counters = Counters(0, 3, 1, 1, 0, 0, 0, 0)
    owner = Owner(1, 2, b"x", 3)
    rich = SocketSeen(action, 1, 2, TCP, role, owner, 4, "/p", True, counters)
    poor = SocketSeen(action, 1, 2, TCP, role if role == "listener" else "unknown")
    for seen in (rich, poor):
        yield dict(network_record(seen, "pod", CLOCK))


def leaves(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("action", EVERY)
def test_the_table_has_every_field_of_a_kind_and_no_other(action: str) -> None:
    samples = process_samples(action) if action in PROCESS else network_samples(action)
    found = [{name for name, _ in leaves(sample)} for sample in samples]
    always = {field.name for field in FIELDS if action in field.always}
    assert set.union(*found) == always | {field.name for field in FIELDS if action in field.mostly}
    assert set.intersection(*found) == always


def test_types_are_those_of_the_same_fields_with_ebpf() -> None:
    types = {field.name: field.type for field in EVENT_FIELDS}
    types |= dict.fromkeys(("podwitness.unread", "network.community_id"), "keyword")
    for action in EVERY:
        for sample in process_samples(action) if action in PROCESS else network_samples(action):
            for name, value in leaves(sample):
                wanted = {"long": int, "boolean": bool}.get(types[name], str)
                if types[name].endswith("[]"):
                    assert all(isinstance(one, str) for one in value), name
                else:
                    assert type(value) is wanted, name


def test_no_kind_says_two_things_of_a_field() -> None:
    seen = [(field.name, kind) for field in FIELDS for kind in (*field.always, *field.mostly)]
    assert len(seen) == len(set(seen))
    assert set(EVERY) == {*PROCESS, *NETWORK}


def test_filters_are_folded_as_with_ebpf() -> None:
    """Top-level keys are those that a filter may not touch without seeing the records."""
    assert {field.name.partition(".")[0] for field in FIELDS} <= TOP_LEVEL_KEYS | {"source"}


def test_page_names_every_field() -> None:
    shown = page()
    assert all(f"| `{field.name}` |" in shown for field in FIELDS)
