"""probes.bpf against the running kernel."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from probes import bpf
from probes.catalog import MapType

# r0 = 0; exit
HARMLESS = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
# exit, with nothing in r0
REFUSED = struct.pack("<BBhi", 0x95, 0, 0, 0)


def program_id(descriptor: int) -> int:
    with open(f"/proc/self/fdinfo/{descriptor}") as info:
        (found,) = (int(line.split()[1]) for line in info if line.startswith("prog_id:"))
    return found


def test_map_has_what_was_asked_for() -> None:
    made = bpf.map_create(MapType.ARRAY.value, "pw_test", 4, 8, 7, bpf.MAP_FLAG_MMAPABLE)
    with open(f"/proc/self/fdinfo/{made}") as info:
        fields = dict(line.split(":", 1) for line in info)
    assert (int(fields["key_size"]), int(fields["value_size"]), int(fields["max_entries"])) == (4, 8, 7)
    assert bpf.map_lookup(made, struct.pack("I", 3), 8) == bytes(8)
    os.close(made)


def test_refused_map_is_an_oserror_with_the_kernels_errno() -> None:
    with pytest.raises(OSError, match="Invalid argument") as refused:
        bpf.map_create(MapType.RINGBUF.value, "pw_test", 0, 0, 5000)
    assert refused.value.errno == errno.EINVAL


def test_program_is_listed_until_it_is_closed() -> None:
    program = bpf.program_load("pw_test", bpf.PROG_TYPE_RAW_TRACEPOINT, HARMLESS)
    found = program_id(program)
    assert found in set(bpf.program_ids())
    os.close(program)


def test_verifier_says_why() -> None:
    with pytest.raises(bpf.VerifierError) as refused:
        bpf.program_load("pw_test", bpf.PROG_TYPE_RAW_TRACEPOINT, REFUSED)
    assert "R0 !read_ok" in refused.value.log


def test_tracepoint_that_there_is_not() -> None:
    program = bpf.program_load("pw_test", bpf.PROG_TYPE_RAW_TRACEPOINT, HARMLESS)
    with pytest.raises(FileNotFoundError):
        bpf.raw_tracepoint_open(program, "no_such_tracepoint")
    os.close(program)
