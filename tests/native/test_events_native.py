"""collector.native.events: ring walk and encoder, each beside its specification in plain Python."""

from __future__ import annotations

import contextlib
import gc
import itertools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from collector._native import ffi, lib
from hypothesis import given
from hypothesis import strategies as st

from collector.native.containers import FRAGMENT_BYTES_MOST, ContainerTable, Fragment
from collector.native.event_kinds import Kind, Scope
from collector.native.events import Drained, DrainEnd, EventEncoder, Ring, Tables
from collector.native.raw_records import split
from collector.native.resolutions import Resolutions
from collector.native.translations import Translations
from tests.reference import event_records as records
from tests.reference import event_text
from tests.reference import events as reference
from tests.reference.event_exec import ANCESTOR_BYTES
from tests.reference.kernel_ring import KernelRing
from tests.reference.ring_memory import BUSY, DISCARDED, MemoryRing

NODE_ID = 0xFEEDFACE00000001
OFFSET_NS = 1_700_000_000_123_456_789
FRAGMENT = Fragment(msgpack.packb("host") + msgpack.packb({"name": "node1"}), 1, Scope.CONTAINER)
CGROUP = 4242
kinds = st.sampled_from(records.SHIPPED)


def new_encoder(variables: tuple[str, ...] = ()) -> EventEncoder:
    encoder = EventEncoder(NODE_ID, variables=variables)
    encoder.set_clock(OFFSET_NS)
    return encoder


VARIABLES = tuple(name.decode() for name in records.VARIABLES)
ENCODER = new_encoder()


def encode(record: bytes, fragment: Fragment = FRAGMENT) -> bytes:
    """The one entry of a well-formed record; nothing if it is not shipped."""
    padded = record + bytes(-len(record) % 8)
    (encoded,) = ENCODER.encode(padded, fragment)
    assert encoded.malformed == 0
    is_shipped = reference.is_shipped(record, fragment.scope)
    assert encoded.process.records + encoded.network.records == is_shipped
    return encoded.process.entries + encoded.network.entries


def expected(record: bytes, fragment: Fragment = FRAGMENT) -> bytes:
    return reference.encode(record, fragment.pairs, fragment.pair_count, fragment.scope, NODE_ID, OFFSET_NS)


def unpack(entry: bytes) -> dict[str, object]:
    _, record = msgpack.unpackb(entry)
    assert isinstance(record, dict)
    return record


# One record


@given(kinds.flatmap(records.filled), st.sampled_from(Scope))
def test_entry_is_that_of_the_specification(record: bytes, scope: Scope) -> None:
    fragment = FRAGMENT._replace(scope=scope)
    assert encode(record, fragment) == expected(record, fragment)


@given(records.filled(lib.PW_EXEC), st.sets(st.sampled_from(records.VARIABLES)))
def test_only_listed_variables_are_told(record: bytes, names: set[bytes]) -> None:
    encoder = new_encoder(tuple(sorted(name.decode() for name in names)))
    (encoded,) = encoder.encode(record + bytes(-len(record) % 8), FRAGMENT)
    parts = (FRAGMENT.pairs, FRAGMENT.pair_count, FRAGMENT.scope, NODE_ID, OFFSET_NS)
    assert encoded.process.entries == reference.encode(record, *parts, tuple(names))


def test_variables_are_told_by_their_whole_names() -> None:
    environment = (
        b"SECRET=1\0SPO_EXEC_REQUEST_UID=42=x\0SPO_EXEC_REQUEST_UID\0SPO_EXEC_REQUEST_UIDS=2\0PATH=/bin\0"
    )
    record = records.exec_record(environment=environment)
    (encoded,) = new_encoder(VARIABLES).encode(record + bytes(-len(record) % 8), FRAGMENT)
    told = unpack(encoded.process.entries)["process"]["env_vars"]  # type: ignore[index]
    assert told == ["SPO_EXEC_REQUEST_UID=42=x", "PATH=/bin"]
    assert b"SECRET" not in encode(record)
    assert "env_vars" not in unpack(encode(record))["process"]  # type: ignore[operator]


def test_a_variable_whose_start_is_cut_is_not_told() -> None:
    fields = {"flags": lib.PW_ENVIRONMENT_CUT, "environment_total_bytes": 20000}
    record = records.exec_record(environment=b"PATH=part of another\0PATH=whole\0", **fields)
    (encoded,) = new_encoder(VARIABLES).encode(record + bytes(-len(record) % 8), FRAGMENT)
    entry = unpack(encoded.process.entries)
    assert entry["process"]["env_vars"] == ["PATH=whole"]  # type: ignore[index]
    assert entry["podwitness"]["cut"] == ["process.env_vars"]  # type: ignore[index]
    assert entry["podwitness"]["exec"]["environment_bytes"] == 20000  # type: ignore[index]


def ended_session(entered_by: int) -> bytes:
    made = bytearray(records.record(lib.PW_SESSION_END, cgroup_id=CGROUP))
    entry = ffi.from_buffer("struct pw_session *", made).task.entry
    entry.tree, entry.entered_by, entry.entry_start_ns = lib.PW_TREE_ENTERED, entered_by, 7
    return bytes(made)


def test_a_session_in_a_cgroup_of_the_hosts_is_left_out() -> None:
    ring, tables = MemoryRing(1 << 16), tables_with()
    tables.process.set(CGROUP, FRAGMENT._replace(scope=Scope.HOST))
    for entered_by in (lib.PW_ENTERED_CGROUP, lib.PW_ENTERED_BOTH, lib.PW_ENTERED_MOUNTS):
        ring.submit(ended_session(entered_by))
    drained = ENCODER.drain(ring, tables, 10)
    assert (drained.process.records, drained.malformed, ring.fill_bytes) == (1, 0, 0)
    session = unpack(drained.process.entries)["podwitness"]["session"]  # type: ignore[index]
    assert session["entered"] == "namespaces"


@pytest.mark.parametrize("tree", [lib.PW_TREE_INIT, lib.PW_TREE_ENTERED])
def test_what_a_runtime_does_before_a_program_is_executed_is_marked(tree: int) -> None:
    made = bytearray(records.record(lib.PW_PRIVILEGE_MOUNT))
    entry = ffi.from_buffer("struct pw_privilege *", made).task.entry
    entry.tree, entry.entered_by = tree, lib.PW_ENTERED_BOTH
    own = unpack(encode(bytes(made)))["podwitness"]
    assert (own["in_init_tree"], own["setup"]) == (tree == lib.PW_TREE_INIT, True)  # type: ignore[index]
    entry.entry_start_ns = 7
    assert "setup" not in unpack(encode(bytes(made)))["podwitness"]  # type: ignore[operator]


def test_capabilities_are_named_where_they_are_asked_for() -> None:
    names = ["CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE", "CAP_63"]
    several = 1 << 13 | 1 << 21 | 1 << 40 | 1 << 63
    held: dict[str, Any] = {"task_cap_effective": several, "task_cap_permitted": 1}
    for kind in (lib.PW_EXEC, lib.PW_STATE_PROCESS, lib.PW_PRIVILEGE_CAPSET):
        process = unpack(encode(records.record(kind, **held)))["process"]
        assert process["thread"] == {"capabilities": {"effective": names, "permitted": ["CAP_CHOWN"]}}  # type: ignore[index]
    same = records.record(lib.PW_EXEC, **(held | {"task_cap_permitted": several}))
    assert unpack(encode(same))["process"]["thread"] == {"capabilities": {"effective": names}}  # type: ignore[index]
    assert "thread" not in unpack(encode(records.record(lib.PW_FORK, **held)))["process"]  # type: ignore[operator]


def test_what_an_encoder_points_to_lives_as_long_as_it() -> None:
    """What its maker does not keep would be freed, and read all the same."""
    encoder = new_encoder()
    told: list[tuple[Callable[[Any], None], Callable[[], Any]]] = [
        (encoder.learn, lambda: Resolutions(1)),
        (encoder.know, Translations),
        (encoder.recognise, lambda: ContainerTable(8)),
    ]
    kept = []
    for tell, make in told:
        made = make()
        kept.append(weakref.ref(made))
        tell(made)
        del made
    gc.collect()
    assert all(reference() is not None for reference in kept)
    del encoder, told, tell
    gc.collect()
    assert all(reference() is None for reference in kept)


@given(kinds.flatmap(records.filled), st.integers(0, 40))
def test_any_number_of_constant_pairs_follows_the_records_own(record: bytes, count: int) -> None:
    pairs = b"".join(msgpack.packb(f"k{n}") + msgpack.packb(n) for n in range(count))
    fragment = Fragment(pairs, count, Scope.POD)
    entry = encode(record, fragment)
    assert entry == expected(record, fragment)
    assert list(unpack(entry))[-count or 99 :] == [f"k{n}" for n in range(count)]


@given(st.binary(max_size=200) | records.hostile_text)
def test_text_can_be_turned_back_into_its_bytes(raw: bytes) -> None:
    raw = raw[:256].replace(b"\0", b"")
    written = unpack(encode(records.exec_record(filename=raw)))["podwitness"]["exec"]["filename"]  # type: ignore[index]
    assert event_text.text(raw) == written
    pieces = written.split("\\x")
    back = pieces[0].encode() + b"".join(bytes([int(one[:2], 16)]) + one[2:].encode() for one in pieces[1:])
    assert back == raw


@pytest.mark.parametrize("kind", records.SHIPPED)
def test_a_record_of_nothing_but_zeros_is_encoded(kind: int) -> None:
    record = records.record(kind)
    assert encode(record) == expected(record)


def test_longest_record_with_longest_fragment_fits_one_output() -> None:
    fill = FRAGMENT_BYTES_MOST - 4 - 1
    pairs = b"\xa1k" + b"\xda" + (fill - 1 - 0).to_bytes(2, "big") + b"v" * (fill - 1)
    fragment = Fragment(pairs, 1, Scope.POD)
    assert FRAGMENT_BYTES_MOST - 2 <= len(pairs) <= FRAGMENT_BYTES_MOST
    args, name = b"\xff" * 4096, b"\xff" * 256
    environment = (b"PATH=" + b"\xff" * 16378 + b"\0")[: lib.PW_ENVIRONMENT_BYTES]
    lineage = b"\xff" * (lib.PW_ANCESTORS * ANCESTOR_BYTES)
    record = records.exec_record(args, args, args, name, name, environment, lineage, task_start_ns=2**64 - 1)
    (encoded,) = new_encoder(VARIABLES).encode(record + bytes(-len(record) % 8), fragment)
    facts = (fragment.pairs, fragment.pair_count, fragment.scope, NODE_ID, OFFSET_NS)
    assert encoded.process.entries == reference.encode(record, *facts, records.VARIABLES)


@pytest.mark.parametrize("argument", [b"", b"\xff", b"a", b"\xff" * 32, b"\\x"])
def test_as_many_arguments_as_there_can_be(argument: bytes) -> None:
    args = ((argument + b"\0") * 4096)[:4096]
    record = records.exec_record(args, argc=4096)
    assert encode(record) == expected(record)


@given(records.truncated())
def test_records_that_lie_are_left_out_and_counted(record: bytes) -> None:
    ring = MemoryRing(1 << 16)
    tables = Tables(ContainerTable(4), ContainerTable(4))
    assert ring.submit(record)
    drained = ENCODER.drain(ring, tables, 10)
    is_good = reference.is_well_formed(record)
    assert drained.malformed == (not is_good)
    assert ring.fill_bytes == 0
    if is_good:
        assert sum(drained.events.values()) == 1


@given(st.lists(records.truncated() | kinds.flatmap(records.filled), max_size=5), st.binary(max_size=40))
def test_raw_records_never_read_past_their_end(parts: list[bytes], garbage: bytes) -> None:
    data = b"".join(part + bytes(-len(part) % 8) for part in parts) + garbage
    with contextlib.suppress(ValueError):  # a length that reaches past the end
        list(ENCODER.encode(data, FRAGMENT))


# The ring


def drain_all(ring: Ring, tables: Tables, max_records: int = 1000) -> list[Drained]:
    drains = []
    while True:
        drains.append(ENCODER.drain(ring, tables, max_records))
        if drains[-1].end is DrainEnd.EMPTY:
            return drains


def tables_with(*cgroups: int) -> Tables:
    tables = Tables(ContainerTable(64), ContainerTable(64))
    for cgroup in cgroups:
        assert tables.process.set(cgroup, FRAGMENT)
        assert tables.network.set(cgroup, FRAGMENT)
    return tables


def fork(number: int, cgroup: int = CGROUP) -> bytes:
    return records.record(lib.PW_FORK, task_pid=number, cgroup_id=cgroup)


def test_records_come_out_in_order_split_by_subject_around_the_ring_end() -> None:
    ring, tables = MemoryRing(4096), tables_with(CGROUP)
    seen_process, seen_network = b"", b""
    sent = [
        records.record(kind, cgroup_id=CGROUP, time_ns=time_ns)
        for time_ns, kind in enumerate(itertools.islice(itertools.cycle(records.SHIPPED), 300))
    ]
    for number, record in enumerate(sent):
        assert ring.submit(record)
        if number % 7 == 0:
            for drained in drain_all(ring, tables):
                seen_process += drained.process.entries
                seen_network += drained.network.entries
    for drained in drain_all(ring, tables):
        seen_process += drained.process.entries
        seen_network += drained.network.entries
    processes = [one for one in sent if not lib.pw_kind_is_flow(one[0])]
    networks = [one for one in sent if lib.pw_kind_is_flow(one[0])]
    assert seen_process == b"".join(map(expected, processes))
    assert seen_network == b"".join(map(expected, networks))


def test_drain_stops_at_its_bound_and_goes_on_there() -> None:
    ring, tables = MemoryRing(1 << 16), tables_with(CGROUP)
    for number in range(10):
        ring.submit(fork(number + 1))
    first = ENCODER.drain(ring, tables, 4)
    assert (first.end, first.process.records, first.events) == (DrainEnd.BOUND, 4, {Kind.FORK: 4})
    second = ENCODER.drain(ring, tables, 100)
    assert (second.end, second.process.records) == (DrainEnd.EMPTY, 6)


def test_a_record_being_written_holds_what_is_behind_it() -> None:
    ring, tables = MemoryRing(4096), tables_with(CGROUP)
    ring.submit(fork(1))
    busy_at = ring.producer
    ring.submit(fork(2), BUSY)
    ring.submit(fork(3))
    drained = ENCODER.drain(ring, tables, 100)
    assert (drained.end, drained.process.records, ring.consumer) == (DrainEnd.EMPTY, 1, busy_at)
    ring.commit(busy_at, len(fork(2)))
    assert ENCODER.drain(ring, tables, 100).process.records == 2


def test_discarded_records_are_passed_over() -> None:
    ring, tables = MemoryRing(4096), tables_with(CGROUP)
    ring.submit(fork(1), DISCARDED)
    ring.submit(fork(2))
    drained = ENCODER.drain(ring, tables, 100)
    assert (drained.process.records, drained.malformed, ring.fill_bytes) == (1, 0, 0)


def test_records_of_unknown_cgroups_are_handed_back_as_they_are() -> None:
    ring, tables = MemoryRing(1 << 16), tables_with(CGROUP)
    sent = [fork(1, 7), records.exec_record(b"sh\0", cgroup_id=8), fork(2, 7)]
    for one in sent:
        ring.submit(one)
    drained = ENCODER.drain(ring, tables, 100)
    back = list(split(drained.unknown))
    assert [(one.kind, one.cgroup_id) for one in back] == [
        (Kind.FORK, 7),
        (Kind.EXEC, 8),
        (Kind.FORK, 7),
    ]
    assert [one.bytes_padded[: len(raw)] for one, raw in zip(back, sent, strict=True)] == sent
    encoded = b"".join(part.process.entries for part in ENCODER.encode(drained.unknown, FRAGMENT))
    assert encoded == b"".join(map(expected, sent))


def test_a_control_record_ends_the_drain_before_later_records_are_encoded() -> None:
    ring, tables = MemoryRing(1 << 16), tables_with()
    path = "/kubepods/pod1/ä".encode()
    ring.submit(records.cgroup_record(lib.PW_CGROUP_MKDIR, path, cgroup_id=99, level=3, time_ns=5))
    ring.submit(fork(1, 99))
    drained = ENCODER.drain(ring, tables, 100)
    assert drained.end is DrainEnd.CONTROL
    assert drained.process.records == 0
    assert drained.change == (True, 99, 5, 3, path.decode())
    tables.process.set(99, FRAGMENT)
    assert ENCODER.drain(ring, tables, 100).process.records == 1


def test_drain_stops_when_an_output_is_full_and_loses_nothing() -> None:
    ring, tables = MemoryRing(1 << 20), tables_with(CGROUP)
    record = records.exec_record(b"\xff" * 4000, cgroup_id=CGROUP)
    sent = 0
    while ring.submit(record):
        sent += 1
    small = EventEncoder(NODE_ID, output_bytes=lib.PW_EVENT_OUTPUT_BYTES)
    ends, seen = [], 0
    while ring.fill_bytes:
        drained = small.drain(ring, tables, 10_000)
        ends.append(drained.end)
        seen += drained.process.records
    assert seen == sent
    assert DrainEnd.FULL in ends


def test_a_full_raw_buffer_stops_the_drain() -> None:
    ring, tables = MemoryRing(1 << 20), tables_with()
    record = records.exec_record(b"a" * 4000, cgroup_id=1)
    while ring.submit(record):
        pass
    small = EventEncoder(NODE_ID, output_bytes=lib.PW_EVENT_OUTPUT_BYTES)
    drained = small.drain(ring, tables, 10_000)
    assert drained.end is DrainEnd.FULL
    assert len(drained.unknown) <= lib.PW_EVENT_OUTPUT_BYTES
    assert ring.fill_bytes > 0


@given(st.binary(min_size=64, max_size=256), st.integers(0, 2**40), st.integers(0, 2**13))
def test_a_ring_full_of_garbage_is_walked_within_its_bounds(noise: bytes, consumer: int, filled: int) -> None:
    ring = MemoryRing(4096)
    ring.write(0, (noise * 64)[:4096])
    ring.set_positions(consumer & ~7, (consumer & ~7) + (filled & ~7))
    for _ in range(600):
        drained = ENCODER.drain(ring, tables_with(), 1000)
        if drained.end is DrainEnd.EMPTY:
            break
    assert ring.consumer <= ring.producer


@pytest.mark.parametrize("length", [0x3FFFFFFF, 4096, 1000])
def test_an_absurd_length_skips_to_the_producer_and_is_counted(length: int) -> None:
    ring, tables = MemoryRing(4096), tables_with(CGROUP)
    ring.submit(fork(1))
    at = ring.producer
    ring.submit(fork(2))
    ring.commit(at, length)
    drained = ENCODER.drain(ring, tables, 100)
    assert (drained.process.records, drained.corrupt_bytes) == (1, ring.producer - at)
    ring.submit(fork(3))
    assert ENCODER.drain(ring, tables, 100).process.records == 1


def test_a_producer_further_ahead_than_the_ring_is_not_followed() -> None:
    ring, tables = MemoryRing(4096), tables_with(CGROUP)
    ring.submit(fork(1))
    ring.set_positions(0, 4096 + 8)
    drained = ENCODER.drain(ring, tables, 100)
    assert (drained.process.records, drained.corrupt_bytes, ring.consumer) == (0, 4096 + 8, 4096 + 8)


def test_each_subject_has_pairs_of_its_own() -> None:
    ring, tables = MemoryRing(1 << 16), tables_with()
    other = Fragment(msgpack.packb("team") + msgpack.packb("a"), 1, Scope.POD)
    tables.process.set(1, FRAGMENT)
    tables.network.set(1, other)
    sent = [fork(7, 1), records.record(lib.PW_TCP_ACCEPT, cgroup_id=1)]
    for one in sent:
        ring.submit(one)
    drained = ENCODER.drain(ring, tables, 10)
    assert drained.process.entries == expected(sent[0])
    assert drained.network.entries == expected(sent[1], other)


# The kernel's own ring and map


def test_records_written_by_a_program_in_the_kernel() -> None:
    with KernelRing(1 << 16) as kernel:
        ring, tables = Ring(kernel.ring_fd, 1 << 16), tables_with(CGROUP)
        sent = [fork(number + 1) for number in range(20)]
        for _ in range(40):  # several times around
            for record in sent:
                assert kernel.submit(record)
            assert ring.fill_bytes == sum(len(record) + 8 for record in sent)
            drained = ENCODER.drain(ring, tables, 1000)
            assert drained.process.entries == b"".join(map(expected, sent))
        ring.close()


def long_exec(number: int) -> bytes:
    """11 KiB: never at the same place of a window again."""
    return records.exec_record(environment=bytes([number % 256]) * 10_000, cgroup_id=CGROUP)


def mapped_bytes() -> int:
    """Of maps of the kernel's, by this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if "bpf-map" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in spans)


def drained_entries(ring: Ring, tables: Tables) -> bytes:
    return b"".join(drained.process.entries for drained in drain_all(ring, tables))


def test_a_part_of_a_large_ring_is_mapped_at_a_time() -> None:
    with KernelRing(1 << 20) as kernel:
        before = mapped_bytes()
        ring, tables = Ring(kernel.ring_fd, 1 << 20), tables_with(CGROUP)
        for turn in range(5):  # several times around
            sent = [long_exec(turn * 60 + number) for number in range(60)]
            assert all(map(kernel.submit, sent))
            assert drained_entries(ring, tables) == b"".join(map(expected, sent))
            assert mapped_bytes() - before < 300 << 10
        ring.close()
        assert mapped_bytes() == before


def test_what_was_drained_before_a_part_can_not_be_mapped_is_given_first() -> None:
    with KernelRing(1 << 20) as kernel, open("/dev/null", "rb") as no_map:
        ring, tables = Ring(kernel.ring_fd, 1 << 20), tables_with(CGROUP)
        sent = [long_exec(number) for number in range(60)]
        assert all(map(kernel.submit, sent))
        its_own, ring._ring.fd = ring._ring.fd, no_map.fileno()
        entries = ENCODER.drain(ring, tables, 1000).process.entries
        with pytest.raises(OSError, match="drain"):
            ENCODER.drain(ring, tables, 1000)
        ring._ring.fd = its_own
        assert entries
        assert entries + drained_entries(ring, tables) == b"".join(map(expected, sent))
        ring.close()


def test_what_is_no_map_is_told_by_the_systems_own_error() -> None:
    with pytest.raises(OSError, match="mmap of the ring buffer"):
        Ring(-1, 4096)
