"""Processes that are within their exit when the probes come: nothing tells of their end any more."""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.map_places import PLACES
from tests.kernel.sandbox import Cgroup, Process, check, libc, mount
from tests.kernel.test_untracked_processes import Table
from tests.kernel.witness import Witness

# include/uapi/linux/fuse.h
OPEN, RELEASE, FLUSH, INIT = 14, 18, 25, 26
REQUEST = struct.Struct("<IIQ24x")
ANSWER = struct.Struct("<IiQ")
ANSWERS = {
    INIT: struct.pack("<IIIIHHI", 7, 19, 0, 0, 1, 1, 4096),
    OPEN: struct.pack("<QII", 0, 0, 0),
    RELEASE: b"",
}
DEADLINE_S = 20.0


class HeldFile:
    """A file system that is one file. Who closes that waits for let_go()."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._device = os.open("/dev/fuse", os.O_RDWR)
        mount("none", str(path), "fuse", data=f"fd={self._device},rootmode=100000,user_id=0,group_id=0")
        self._is_held, self._may_go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def wait_until_held(self) -> None:
        assert self._is_held.wait(DEADLINE_S)

    def let_go(self) -> None:
        self._may_go.set()

    def close(self) -> None:
        self.let_go()
        check(libc.umount2(os.fsencode(self.path), 0))
        self._thread.join()
        os.close(self._device)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 16)
            except OSError:  # unmounted
                return
            _, operation, number = REQUEST.unpack_from(request)
            if operation == FLUSH:
                self._is_held.set()
                self._may_go.wait()
            self._answer(operation, number)

    def _answer(self, operation: int, number: int) -> None:
        answer = ANSWERS.get(operation)
        failed = -errno.ENOSYS if answer is None else 0
        os.write(
            self._device, ANSWER.pack(ANSWER.size + len(answer or b""), failed, number) + (answer or b"")
        )


@pytest.fixture
def held_file(tmp_path: Path) -> Iterator[HeldFile]:
    made = HeldFile(tmp_path / "held")
    yield made
    made.close()


def test_process_that_is_within_its_exit_takes_no_place(held_file: HeldFile, cgroup: Cgroup) -> None:
    """Its end was told before there was somebody to hear it, so nobody would give the place back."""
    process = Process(cgroup, lambda: os.open(held_file.path, os.O_RDONLY) and 0)
    held_file.wait_until_held()
    witness = Witness.attach(["process"])
    table = Table(witness)
    held = [pid for _, pid, start_ns in map(table.head, range(PLACES)) if start_ns]
    held_file.let_go()
    process.wait()
    witness.close()
    assert os.getpid() in held
    assert process.pid not in held
