"""Whom something was done to: whose process it is, and whether it is told at all."""

from __future__ import annotations

import msgpack
import pytest
from collector._native import lib

from collector.native.containers import ContainerTable, Fragment
from collector.native.event_kinds import Scope
from tests.native.test_events_native import CGROUP, FRAGMENT, new_encoder, tables_with, unpack
from tests.reference import event_records as records
from tests.reference.ring_memory import MemoryRing


@pytest.mark.parametrize(("size_bytes", "is_told"), [(5, True), (lib.PW_TARGET_BYTES, False)])
def test_whose_a_target_is_is_told_with_it(size_bytes: int, is_told: bool) -> None:
    encoder, targets = new_encoder(), ContainerTable(8)
    pairs = msgpack.packb("kubernetes") + msgpack.packb({"pod_name": "n" * size_bytes})
    assert targets.set(77, Fragment(pairs, 1, Scope.CONTAINER))
    encoder.recognise(targets)
    for cgroup_id in (77, 78):
        known = {"target_pid": 3, "target_cgroup_id": cgroup_id, "marks": lib.PW_TARGET_KNOWN}
        (encoded,) = encoder.encode(records.record(lib.PW_PRIVILEGE_KILL, **known), FRAGMENT)
        target = unpack(encoded.process.entries)["podwitness"]["privilege"]["target"]  # type: ignore[index]
        expected_pod = {"pod_name": "n" * size_bytes} if is_told and cgroup_id == 77 else None
        assert (target["cgroup_id"], target.get("kubernetes")) == (cgroup_id, expected_pod)


def signal_record(target_cgroup_id: int, **fields: int) -> bytes:
    known = {"target_pid": 3, "target_cgroup_id": target_cgroup_id, "marks": lib.PW_TARGET_KNOWN}
    return records.record(lib.PW_PRIVILEGE_KILL, cgroup_id=CGROUP, **(known | fields))


def test_a_signal_within_a_container_is_left_out_whatever_its_cgroups() -> None:
    encoder, targets, tables = new_encoder(), ContainerTable(8), tables_with()
    encoder.recognise(targets)
    inside, outside, host, pod, unknown = 77, 78, 79, 80, 81
    for cgroup_id, container in ((CGROUP, 5), (inside, 5), (outside, 6), (host, 0), (pod, 0)):
        assert targets.set(cgroup_id, Fragment(b"", 0, Scope.CONTAINER, container))
    assert tables.process.set(CGROUP, FRAGMENT)
    told = [signal_record(cgroup_id) for cgroup_id in (outside, host, pod, unknown)]
    told += [signal_record(inside, call=45), signal_record(inside, marks=0)]
    ring = MemoryRing(1 << 16)
    for record in (signal_record(inside), *told):
        ring.submit(record)
    assert encoder.drain(ring, tables, 10).process.records == len(told)
    for record, is_told in ((signal_record(inside), 0), *((record, 1) for record in told)):
        (encoded,) = encoder.encode(record, FRAGMENT)
        assert (encoded.process.records, encoded.malformed) == (is_told, 0)
    targets.remove(CGROUP)
    (encoded,) = encoder.encode(signal_record(inside), FRAGMENT)
    assert encoded.process.records == 1
    assert targets.set(CGROUP, Fragment(b"", 0, Scope.HOST))
    (encoded,) = encoder.encode(signal_record(host), FRAGMENT)
    assert encoded.process.records == 1
