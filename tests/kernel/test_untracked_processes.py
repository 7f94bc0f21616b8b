"""The table of live processes, when it is full."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path

from probes import bpf
from tests.kernel.event_layout import LAYOUT
from tests.kernel.sandbox import Cgroup, run
from tests.kernel.witness import Witness

MAP_UPDATE_ELEM = 2
UNTRACKED = LAYOUT.constants["PW_UNTRACKED"]
STATE_BYTES = 344  # struct process_state


def test_processes_beyond_the_table_of_live_ones_are_told_and_counted(cgroup: Cgroup, programs: Path) -> None:
    """It is filled with numbers that no process has."""
    witness = Witness.attach(["process"])
    table = witness.probes.maps["processes"]
    state = ctypes.create_string_buffer(STATE_BYTES)
    filled = 0
    with suppress(OSError):
        for number in range(16384):
            key = ctypes.c_uint32(0x8000_0000 + number)
            where = (ctypes.addressof(key), ctypes.addressof(state))
            bpf.bpf(MAP_UPDATE_ELEM, struct.pack("<I4xQQQ", table, *where, 0))
            filled += 1
    before = witness.probes.lost()[UNTRACKED]

    def work() -> None:
        for _ in range(17):
            os.waitpid(os.posix_spawn(programs / "nothing", ["nothing"], {}), 0)

    run(cgroup, work)
    counts = witness.counts(cgroup.id)
    assert (counts["FORK"], counts["EXEC"], counts["EXIT"]) == (17, 17, 18)
    assert filled < 16384  # processes of this machine are in it, too
    # A slot that a process left may have gone to one of these; others on the machine count, too.
    assert witness.probes.lost()[UNTRACKED] - before >= 10
    witness.close()
