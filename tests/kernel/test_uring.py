"""What io_uring does to files: told as the calls that it does it in place of, when it is asked for."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.inputs.watched_names import read_name, table_of, write_table
from probes.catalog import Dialect, RecordKind
from tests.kernel.event_layout import LAYOUT
from tests.kernel.sandbox import Cgroup
from tests.kernel.test_connection_ways import Uring
from tests.kernel.test_syscalls import Seen, seen
from tests.kernel.witness import Witness

CONNECT, OPENAT, OPENAT2, RENAMEAT, UNLINKAT, SYMLINKAT, LINKAT = 16, 18, 28, 35, 36, 38, 39  # IORING_OP_
AT_FDCWD = -100
MARKS = LAYOUT.enums["pw_privilege_mark"]
BY_IO_URING = MARKS["PW_BY_IO_URING"]


@pytest.fixture(scope="module", params=list(Dialect), ids=str)
def calls(request: pytest.FixtureRequest) -> Iterator[Witness]:
    witness = Witness.attach(("syscalls",), dialect=request.param)
    write_table(
        witness.probes.maps["watched"], table_of(map(read_name, ("secrets/token", "run/api.sock", "vault/*")))
    )
    yield witness
    witness.close()


@pytest.fixture
def witness(calls: Witness, cgroup: Cgroup) -> Witness:
    calls.forget()
    return calls


class FileRing(Uring):
    """Texts are kept as long as the ring is."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[ctypes.Array[ctypes.c_char]] = []

    def text(self, path: Path | str | bytes) -> int:
        kept = ctypes.create_string_buffer(os.fsencode(path))
        self._texts.append(kept)
        return ctypes.addressof(kept)

    def open(self, path: Path | str, flags: int, mode: int = 0, folder: int = AT_FDCWD) -> None:
        self.do(OPENAT, folder, self.text(path), mode, 0, flags)

    def change(self, operation: int, old: Path | str, new: Path | str) -> None:
        self.do(operation, AT_FDCWD, self.text(old), AT_FDCWD, self.text(new))


def requested(witness: Witness, cgroup: Cgroup, work: object) -> list[Seen]:
    """What was asked for by io_uring; each has no result, and the process's own identity."""
    events = [one for one in seen(witness, cgroup, work) if one.marks & BY_IO_URING]  # type: ignore[arg-type]
    assert all(one.result == 0 and one.pid > 1 and one.comm for one in events)
    return events


def told(events: list[Seen]) -> list[tuple[str, str, list[str]]]:
    return [
        (one.kind.removeprefix("PRIVILEGE_"), one.name, [os.fsdecode(text) for text in one.texts if text])
        for one in events
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("secrets/token", "secrets/other"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def test_watched_files_are_told_and_no_others(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    token, other = files / "secrets" / "token", files / "secrets" / "other"
    place = files / "run"
    place.mkdir()

    def work() -> None:
        ring = FileRing()
        ring.open(token, os.O_RDONLY)
        ring.open(other, os.O_RDONLY)
        ring.open(token, os.O_WRONLY | os.O_APPEND)
        ring.open(token, os.O_PATH)
        how = ring.text(struct.pack("=3Q", os.O_RDWR, 0, 0))
        ring.do(OPENAT2, AT_FDCWD, ring.text(token), 24, how)
        ring.change(RENAMEAT, token, files / "elsewhere")
        ring.change(RENAMEAT, files / "elsewhere", token)
        ring.change(RENAMEAT, other, files / "another")
        ring.do(UNLINKAT, AT_FDCWD, ring.text(token), 0, 0)
        ring.do(UNLINKAT, AT_FDCWD, ring.text(files / "another"), 0, 0)
        address = ring.text(struct.pack("=H", socket.AF_UNIX) + os.fsencode(place / "api.sock"))
        with socket.socket(socket.AF_UNIX) as client:
            ring.do(CONNECT, client.fileno(), address, 0, 110)
        ring.close()

    events = requested(witness, cgroup, work)
    assert told(events) == [
        ("FILE_READ", "openat", [str(token)]),
        ("FILE_WRITE", "openat", [str(token)]),
        ("FILE_WRITE", "openat", [str(token)]),
        ("FILE_RENAME", "renameat", [str(token), str(files / "elsewhere")]),
        ("FILE_RENAME", "renameat", [str(files / "elsewhere"), str(token)]),
        ("FILE_DELETE", "unlinkat", [str(token)]),
        ("FILE_CONNECT", "connect", [str(place / "api.sock")]),
    ]
    assert events[1].arguments[2] & 0xFFF == os.O_WRONLY | os.O_APPEND
    assert not token.exists()


def test_relative_names_start_in_their_folder(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    def work() -> None:
        ring = FileRing()
        folder = os.open(files / "secrets", os.O_PATH)
        ring.open("token", os.O_RDONLY, folder=folder)
        os.chdir(files / "secrets")
        ring.open("token", os.O_RDONLY)
        ring.open("nothing", os.O_RDONLY)
        ring.close()

    events = requested(witness, cgroup, work)
    assert told(events) == [("FILE_READ", "openat", ["token"])] * 2
    assert [os.fsdecode(one.path) for one in events] == [str(files / "secrets")] * 2


def test_links_and_set_id_modes(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    def work() -> None:
        ring = FileRing()
        ring.change(LINKAT, files / "secrets" / "token", files / "linked")
        ring.do(SYMLINKAT, AT_FDCWD, ring.text("/etc/shadow"), 0, ring.text(files / "points"))
        ring.do(SYMLINKAT, AT_FDCWD, ring.text("other"), 0, ring.text(files / "harmless"))
        ring.open(files / "made", os.O_CREAT | os.O_WRONLY, 0o4755)
        ring.open(files / "plain", os.O_CREAT | os.O_WRONLY, 0o755)
        ring.close()

    events = requested(witness, cgroup, work)
    assert told(events) == [
        ("LINK", "linkat", [str(files / "secrets" / "token"), str(files / "linked")]),
        ("SYMLINK", "symlinkat", ["/etc/shadow", str(files / "points")]),
        ("CHMOD", "openat", [str(files / "made")]),
    ]
    assert (events[-1].arguments[5], events[-1].marks & MARKS["PW_MADE_SET_ID"]) == (
        0o4755,
        MARKS["PW_MADE_SET_ID"],
    )


def test_where_no_event_of_files_is_asked_for_requests_are_not_looked_at() -> None:
    left = RecordKind.PRIVILEGE_BPF
    calls = [kind for kind in RecordKind if kind.name.startswith("PRIVILEGE_") and kind is not left]
    witness = Witness.attach(("syscalls",), off=[("syscalls", kind) for kind in calls])
    assert set(witness.probes.links) == {"sys_exit"}
    witness.close()
