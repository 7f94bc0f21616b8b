"""collector.native.state: arguments put into a record that came without."""

from __future__ import annotations

from collector._native import ffi, lib

from collector.native.state import born, with_arguments, without_arguments
from tests.reference import event_records as records
from tests.reference import events as reference
from tests.reference.event_exec import exec_parts

RECORD = records.exec_record(
    exe=b"nginx\0sbin\0", cwd=b"tmp\0", kind=lib.PW_STATE_PROCESS, task_pid=7, task_start_ns=70, cgroup_id=3
)


def padded(record: bytes) -> bytes:
    return record + bytes(-len(record) % 8)


def test_who_it_is() -> None:
    assert born(padded(RECORD)) == (70, 7)


def test_arguments_come_before_the_paths() -> None:
    made = with_arguments(padded(RECORD), b"nginx\0-g\0", 9, 2)
    assert len(made) % 8 == 0
    assert reference.is_well_formed(made)
    found = ffi.from_buffer("struct pw_exec *", made)
    assert (found.argc, found.args_total_bytes, found.head.flags) == (2, 9, 0)
    assert exec_parts(made)[:3] == (b"nginx\0-g\0", b"nginx\0sbin\0", b"tmp\0")


def test_more_than_is_kept_is_cut_and_said() -> None:
    made = with_arguments(padded(RECORD), b"x" * 5000, 60000, 3)
    assert reference.is_well_formed(made)
    found = ffi.from_buffer("struct pw_exec *", made)
    assert (found.args_bytes, found.args_total_bytes, found.argc) == (lib.PW_ARGS_BYTES, 60000, 3)
    assert found.head.flags & lib.PW_ARGS_CUT


def test_what_can_not_be_read_is_said() -> None:
    made = without_arguments(padded(RECORD))
    assert reference.is_well_formed(made)
    assert ffi.from_buffer("struct pw_exec *", made).head.flags == lib.PW_ARGS_UNREADABLE
