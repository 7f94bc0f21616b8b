"""Names out of DNS: given to later connections of the same pod, and to no others."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from collector._native import lib
from hypothesis import given
from hypothesis import strategies as st

from collector.native.containers import ContainerTable, Fragment
from collector.native.event_kinds import Kind, Scope
from collector.native.events import Drained, EventEncoder, Ring, Tables
from collector.native.resolutions import Resolutions
from tests.reference import dns_messages as messages
from tests.reference import event_records as records
from tests.reference.kernel_ring import KernelRing

HOST, POD, OTHER_POD = 1, 2, 3  # network namespaces
CGROUP = 7
SERVER = bytes([10, 96, 0, 10])
ADDRESS = bytes([10, 0, 0, 9])
AT_THE_QUESTION = messages.pointer(messages.QUESTION_AT)
SECOND = 10**9
RING_BYTES = 1 << 18
Record = dict[str, Any]


class Rig:
    def __init__(self) -> None:
        self.kernel = KernelRing(RING_BYTES)
        self.ring = Ring(self.kernel.ring_fd, RING_BYTES)
        self.names = Resolutions(HOST)
        self.encoder = EventEncoder(1)
        self.encoder.learn(self.names)
        self.tables = Tables(ContainerTable(), ContainerTable())
        for cgroup in (CGROUP, CGROUP + 1):
            self.tables.network.set(cgroup, Fragment(b"", 0, Scope.HOST))

    def drain(self, *sent: bytes) -> Drained:
        for record in sent:
            assert self.kernel.submit(record)
        return self.encoder.drain(self.ring, self.tables, 10000)

    def records(self, *sent: bytes) -> list[Record]:
        return unpacked(self.drain(*sent).network.entries)

    def find(self, address: bytes, now_s: float = 1, net_ns: int = POD, cgroup: int = CGROUP) -> str | None:
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        return self.names.find(net_ns, cgroup, family, address, int(now_s * SECOND))

    def close(self) -> None:
        self.ring.close()
        self.kernel.close()


def unpacked(entries: bytes) -> list[Record]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(entries)
    return [record for _, record in unpacker]


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def packet(payload: bytes, *, ingress: bool, time_s: float = 1, total: int = 0, **members: Any) -> bytes:
    fields = {
        "time_ns": int(time_s * SECOND),
        "cgroup_id": CGROUP,
        "net_ns": POD,
        "socket_id": 5,
        "family": 2,
        "local_port": 40000,
        "remote_port": 53,
        "protocol": 17,
        "is_ingress": ingress,
        "payload_bytes": len(payload),
        "payload_total_bytes": total or len(payload),
        "remote_address": SERVER.ljust(16, b"\0"),
    }
    return records.record(lib.PW_DNS, content=payload, **{**fields, **members})


def connect(address: bytes, **members: Any) -> bytes:
    fields = {"time_ns": 2 * SECOND, "cgroup_id": CGROUP, "net_ns": POD, "role": lib.PW_CLIENT}
    ends = {"family": 2 if len(address) == 4 else 10, "remote_address": address.ljust(16, b"\0")}
    return records.record(lib.PW_TCP_CONNECT, **{**fields, **ends, **members})


def resolved(address: bytes = ADDRESS, ttl_s: int = 30) -> bytes:
    kind = messages.A if len(address) == 4 else messages.AAAA
    return messages.resource(AT_THE_QUESTION, kind, address, ttl_s)


def asked_and_answered(
    name: str = "db.example.org", address: bytes = ADDRESS, **members: Any
) -> tuple[bytes, bytes]:
    asked = packet(messages.query(name), ingress=False, **members)
    told = packet(messages.answer(name, [resolved(address)]), ingress=True, time_s=1.25, **members)
    return asked, told


def test_latency_and_name(rig: Rig) -> None:
    asked, told, connected = rig.records(*asked_and_answered(), connect(ADDRESS))
    assert "duration" not in asked["event"]
    assert told["event"]["duration"] == SECOND // 4
    assert (asked["dns"]["type"], told["dns"]["type"]) == ("query", "answer")
    assert told["dns"]["resolved_ip"] == ["10.0.0.9"]
    assert asked["source"] == told["source"]
    assert (asked["network"]["direction"], told["network"]["direction"]) == ("egress", "egress")
    assert connected["destination"]["domain"] == "db.example.org"


def test_flows_get_the_name_too(rig: Rig) -> None:
    address: Record = {
        "family": 2,
        "remote_address": ADDRESS.ljust(16, b"\0"),
        "net_ns": POD,
        "cgroup_id": CGROUP,
    }
    flow = records.record(lib.PW_FLOW_START, protocol=17, time_ns=2 * SECOND, **address)
    turned = records.record(lib.PW_FLOW_START, protocol=17, time_ns=2 * SECOND, is_ingress=1, **address)
    *_, began, served = rig.records(*asked_and_answered(), flow, turned)
    assert began["destination"]["domain"] == "db.example.org"
    assert "domain" not in served["source"] | served["destination"]


def test_letters_are_small_and_a_chain_counts_for_what_was_asked(rig: Rig) -> None:
    chain = messages.resource(AT_THE_QUESTION, messages.CNAME, messages.name("lb.cloud.example"))
    last = messages.resource(messages.name("lb.cloud.example"), messages.A, ADDRESS)
    asked = packet(messages.query("Db.eXample.org"), ingress=False)
    rig.drain(asked, packet(messages.answer("dB.example.org", [chain, last]), ingress=True))
    assert rig.find(ADDRESS) == "db.example.org"


def test_containers_of_a_pod_share_names_and_other_pods_do_not(rig: Rig) -> None:
    rig.drain(*asked_and_answered())
    assert rig.find(ADDRESS, cgroup=CGROUP + 1) == "db.example.org"
    assert rig.find(ADDRESS, net_ns=OTHER_POD) is None


def test_in_the_hosts_network_a_name_is_the_containers(rig: Rig) -> None:
    rig.drain(*asked_and_answered(net_ns=HOST))
    assert rig.find(ADDRESS, net_ns=HOST) == "db.example.org"
    assert rig.find(ADDRESS, net_ns=HOST, cgroup=CGROUP + 1) is None
    assert rig.find(ADDRESS, net_ns=CGROUP) is None


@pytest.mark.parametrize(("ttl_s", "lasts_s"), [(0, 5), (30, 30), (2**32 - 1, 3600)])
def test_ttl(rig: Rig, ttl_s: int, lasts_s: int) -> None:
    answer = messages.answer("a.b", [resolved(ttl_s=ttl_s)])
    rig.drain(packet(messages.query("a.b"), ingress=False), packet(answer, ingress=True))
    assert rig.find(ADDRESS, 1 + lasts_s - 0.1) == "a.b"
    assert rig.find(ADDRESS, 1 + lasts_s + 0.1) is None


def test_ipv6_and_mapped(rig: Rig) -> None:
    six = socket.inet_pton(socket.AF_INET6, "2001:db8::9")
    mapped = bytes(10) + b"\xff\xff" + ADDRESS
    resolutions = (*asked_and_answered("six.example", six), *asked_and_answered())
    *_, first, second = rig.records(
        *resolutions, connect(six, local_address=six), connect(mapped, local_address=mapped)
    )
    assert first["destination"]["domain"] == "six.example"
    assert second["destination"] == {"ip": "10.0.0.9", "port": 0, "domain": "db.example.org"}


SPOILT: dict[str, Record] = {
    "another socket": {"socket_id": 6},
    "another server": {"remote_address": bytes([10, 96, 0, 11]).ljust(16, b"\0")},
    "another port": {"remote_port": 5353},
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_an_answer_that_was_not_asked_for_names_nothing(rig: Rig, spoilt: str) -> None:
    told = packet(messages.answer("db.example.org", [resolved()]), ingress=True, **SPOILT[spoilt])
    _, answer = rig.records(packet(messages.query("db.example.org"), ingress=False), told)
    assert "duration" not in answer["event"]
    assert rig.find(ADDRESS) is None


@pytest.mark.parametrize("name", ["other.example.org", "db.example.or"])
def test_nor_does_one_to_another_question(rig: Rig, name: str) -> None:
    asked = packet(messages.query("db.example.org"), ingress=False)
    rig.drain(asked, packet(messages.answer(name, [resolved()]), ingress=True))
    assert rig.find(ADDRESS) is None


def test_nor_does_a_failure_or_the_answer_of_our_own_server(rig: Rig) -> None:
    failed = messages.answer("a.b", [resolved()], code=3)
    rig.drain(packet(messages.query("a.b"), ingress=False), packet(failed, ingress=True))
    assert rig.find(ADDRESS) is None
    ours = {"local_port": 53, "remote_port": 40000}
    asked = packet(messages.query("a.b"), ingress=True, **ours)
    told = packet(messages.answer("a.b", [resolved()]), ingress=False, time_s=2, **ours)
    _, served = rig.records(asked, told)
    assert served["event"]["duration"] == SECOND
    assert served["network"]["direction"] == "ingress"
    assert served["destination"]["port"] == 53
    assert rig.find(ADDRESS) is None


def test_the_newest_name_counts(rig: Rig) -> None:
    rig.drain(*asked_and_answered("one.example"), *asked_and_answered("two.example"))
    assert rig.find(ADDRESS) == "two.example"


def test_table_is_bounded_and_keeps_what_lasts_longest(rig: Rig) -> None:
    count = 3 * lib.PW_RESOLVED_NAMES
    for number in range(count):
        name, address = f"n{number}.example", struct.pack("!I", number + 1)
        told = messages.answer(name, [resolved(address, 3000 if number < 100 else 30)])
        rig.drain(packet(messages.query(name), ingress=False), packet(told, ingress=True))
    found = {number: rig.find(struct.pack("!I", number + 1)) for number in range(count)}
    kept = {number: name for number, name in found.items() if name}
    assert kept == {number: f"n{number}.example" for number in kept}
    assert lib.PW_RESOLVED_NAMES * 3 // 4 < len(kept) <= lib.PW_RESOLVED_NAMES
    assert sum(number < 100 for number in kept) > 95


def framed(*payloads: bytes) -> bytes:
    """As over TCP."""
    return b"".join(struct.pack("!H", len(one)) + one for one in payloads)


def segments(stream: bytes, sizes: list[int], *, ingress: bool, start: int = 2**32 - 20) -> list[bytes]:
    """The stream cut at these sizes, the rest in one piece; the sequence number runs over."""
    made, at = [], 0
    for size in [*sizes, len(stream)]:
        if part := stream[at : at + size]:
            made.append(packet(part, ingress=ingress, sequence=(start + at) % 2**32, protocol=6))
        at += size
    return made


QUERIES = [messages.query("a.example", number=1), messages.query("b.example", number=2)]


@given(st.lists(st.integers(1, 40), max_size=8))
def test_messages_over_segments(sizes: list[int]) -> None:
    rig = Rig()
    asked = rig.records(*segments(framed(*QUERIES), sizes, ingress=False))
    first, second = (
        messages.answer(f"{one}.example", [resolved()], number=number) for number, one in enumerate("ab", 1)
    )
    told = rig.records(*segments(framed(first, second), sizes, ingress=True, start=77))
    assert [one["dns"]["question"]["name"] for one in asked] == ["a.example", "b.example"]
    assert [one["dns"]["question"]["name"] for one in told] == ["a.example", "b.example"]
    assert {one["network"]["transport"] for one in (*asked, *told)} == {"tcp"}
    assert rig.find(ADDRESS) == "b.example"
    rig.close()


def test_what_is_sent_again_counts_once(rig: Rig) -> None:
    parts = segments(framed(*QUERIES), [10, 20], ingress=False)
    again = [parts[0], parts[0], parts[1], parts[0], parts[1], *parts[2:], parts[1]]
    assert len(rig.records(*again)) == 2


def test_a_gap_ends_a_stream(rig: Rig) -> None:
    first, second, third = segments(framed(*QUERIES), [10, 20], ingress=False)
    assert rig.records(first, third, second) == []
    assert rig.names.unread == (0, 1)


def test_a_message_longer_than_what_is_kept(rig: Rig) -> None:
    """What is over the bound is left out, and what follows the message is read on."""
    long = messages.answer("a.example", [messages.resource(AT_THE_QUESTION, messages.TXT, b"\1x" * 1500)])
    parts = segments(framed(long, QUERIES[1]), [1000, 1000, 1000], ingress=True)
    first, second = rig.records(*parts)
    assert first["podwitness"]["dns"] == {"cut_bytes": len(long) - lib.PW_DNS_BYTES}
    assert first["dns"]["answers_count"] == 1
    assert second["dns"]["question"]["name"] == "b.example"


def test_a_segment_that_is_cut(rig: Rig) -> None:
    """Ends the stream, unless what is missing would not have been kept."""
    stream = framed(messages.answer("a.example", [resolved()]) + bytes(3000))
    first = packet(stream[:1500], ingress=True, sequence=0, protocol=6)
    rest = packet(stream[1500:2060], ingress=True, sequence=1500, protocol=6, total=len(stream) - 1500)
    after = packet(framed(QUERIES[0]), ingress=True, sequence=len(stream), protocol=6)
    assert len(rig.records(first, rest, after)) == 2
    lost = packet(framed(QUERIES[0])[:10], ingress=True, sequence=0, protocol=6, total=40, socket_id=9)
    after = packet(framed(QUERIES[0]), ingress=True, sequence=40, protocol=6, socket_id=9)
    assert rig.records(lost, after) == []
    assert rig.names.unread.streams == 1


def test_malformed_packets_are_kept_raw(rig: Rig) -> None:
    (record,) = rig.records(packet(b"GET / HTTP/1.0\r\n", ingress=False))
    assert record["podwitness"]["dns"] == {"malformed": True, "payload": "GET / HTTP/1.0\r\n"}
    assert record["event"]["outcome"] == "failure"
    assert "dns" not in record
    assert rig.names.unread == (1, 0)


def test_a_stream_whose_place_is_needed_within_a_message_is_lost(rig: Rig) -> None:
    """Between messages nothing is: it begins anew."""
    for number in range(lib.PW_DNS_STREAMS + 3):
        rest = framed(QUERIES[0])[:20] if number == 1 else framed(QUERIES[0])
        where = {"sequence": 0, "protocol": 6, "socket_id": number + 1, "time_ns": number + 1}
        rig.drain(packet(rest, ingress=False, **where))
    assert rig.names.unread == (0, 1)


def test_dns_is_counted(rig: Rig) -> None:
    assert rig.drain(*asked_and_answered()).events == {Kind.DNS: 2}


def test_records_of_cgroups_not_known_yet_keep_their_latency(rig: Rig) -> None:
    unknown = rig.drain(*asked_and_answered(cgroup_id=99)).unknown
    (encoded,) = rig.encoder.encode(unknown, Fragment(b"", 0, Scope.POD))
    durations = [record["event"].get("duration") for record in unpacked(encoded.network.entries)]
    assert durations == [None, SECOND // 4]
