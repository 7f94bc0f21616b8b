"""Calls of mounts and files: what is told of them, and which are."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.catalog import Dialect
from tests.kernel.calls import call
from tests.kernel.sandbox import Cgroup, mount, private_mounts
from tests.kernel.test_syscalls import AT_FDCWD, MARKS, only, seen
from tests.kernel.witness import Witness

FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE = 1, 6, 7
MOVE_MOUNT_F_EMPTY_PATH = 4


@pytest.fixture(scope="module", params=list(Dialect), ids=str)
def calls(request: pytest.FixtureRequest) -> Iterator[Witness]:
    witness = Witness.attach(("syscalls",), dialect=request.param)
    yield witness
    witness.close()


@pytest.fixture
def witness(calls: Witness, cgroup: Cgroup) -> Witness:
    calls.forget()
    return calls


# Places


def test_mounts_with_what_and_where(witness: Witness, cgroup: Cgroup, tmp_path: Path) -> None:
    (tmp_path / "new" / "old").mkdir(parents=True)

    def work() -> int:
        private_mounts()
        mount("what", f"{tmp_path}/new", "tmpfs", 2)
        os.chdir(tmp_path)
        result = call("umount2", b"new", 2)
        os.chroot("/")
        return result

    unshared, private, mounted, unmounted, rooted = seen(witness, cgroup, work)
    assert [one.kind for one in (unshared, private)] == ["PRIVILEGE_UNSHARE", "PRIVILEGE_MOUNT"]
    assert mounted.texts == [b"what", os.fsencode(tmp_path / "new"), b"tmpfs"]
    assert (mounted.arguments[3], mounted.path, mounted.result) == (2, b"", 0)
    assert (unmounted.texts[0], unmounted.path) == (b"new", os.fsencode(tmp_path))
    assert (rooted.name, rooted.texts[0]) == ("chroot", b"/")


def test_a_mount_in_steps_tells_source_and_place_and_no_options(
    witness: Witness, cgroup: Cgroup, tmp_path: Path
) -> None:
    place = os.fsencode(tmp_path)

    def work() -> int:
        private_mounts()
        made = call("fsopen", b"tmpfs", 0)
        call("fsconfig", made, FSCONFIG_SET_STRING, b"source", b"/dev/what", 0)
        call("fsconfig", made, FSCONFIG_SET_STRING, b"sourced", b"secret", 0)
        call("fsconfig", made, FSCONFIG_SET_STRING, b"size", b"1m", 0)
        call("fsconfig", made, FSCONFIG_CMD_CREATE, None, None, 0)
        mounted = call("fsmount", made, 0, 0)
        call("move_mount", mounted, b"", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH)
        picked = call("fspick", AT_FDCWD, place, 0)
        call("open_tree_attr", AT_FDCWD, place, 1, bytes(32), 32)
        return call("fsconfig", picked, FSCONFIG_CMD_RECONFIGURE, None, None, 0)

    _, _, *events = seen(witness, cgroup, work)
    assert {event.kind for event in events} == {"PRIVILEGE_MOUNT"}
    assert [(event.name, *filter(None, event.texts)) for event in events] == [
        ("fsopen", b"tmpfs"),
        ("fsconfig", b"/dev/what"),
        ("fsmount",),
        ("move_mount", place),
        ("fspick", place),
        ("open_tree_attr", place),
        ("fsconfig",),
    ]
    assert events[-1].arguments[:2] == (events[-3].result, FSCONFIG_CMD_RECONFIGURE)


def test_pivot_root_that_is_refused(witness: Witness, cgroup: Cgroup) -> None:
    event = only(witness, cgroup, lambda: call("pivot_root", b"/tmp", b"/tmp") >= 0)
    assert (event.name, event.texts[:2]) == ("pivot_root", [b"/tmp", b"/tmp"])


# Files


def test_set_id_modes_that_a_file_is_made_with(witness: Witness, cgroup: Cgroup, tmp_path: Path) -> None:
    one, other, made = (os.fsencode(tmp_path / name) for name in ("one", "other", "made"))
    flags = os.O_CREAT | os.O_WRONLY

    def work() -> None:
        os.umask(0)
        os.open(one, flags, 0o755)
        os.open(one, flags, 0o4755)  # is there already: the mode counts for nothing
        os.open(other, flags, 0o4755)
        call("creat", made + b"1", 0o2711)
        call("openat2", AT_FDCWD, made + b"2", struct.pack("=3Q", flags, 0o6700, 0), 24)
        os.open(tmp_path, os.O_TMPFILE | os.O_RDWR, 0o4700)
        os.mknod(made + b"3", 0o755)
        os.mknod(made + b"4", 0o4755)

    events = seen(witness, cgroup, work)
    assert {event.kind for event in events[:-1]} == {"PRIVILEGE_CHMOD"}
    assert {event.marks & MARKS["PW_MADE_SET_ID"] for event in events[:-1]} == {MARKS["PW_MADE_SET_ID"]}
    assert [(event.name, event.arguments[5] & 0o7777, event.texts[0]) for event in events[:-1]] == [
        ("openat", 0o4755, other),
        ("creat", 0o2711, made + b"1"),
        ("openat2", 0o6700, made + b"2"),
        ("openat", 0o4700, os.fsencode(tmp_path)),
    ]
    assert events[0].path == other
    mode = events[-1].arguments[2 if events[-1].name == "mknodat" else 1]
    assert (events[-1].kind, mode & 0o7777) == ("PRIVILEGE_MKNOD", 0o4755)


def test_only_set_id_modes_are_told(witness: Witness, cgroup: Cgroup, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    def work() -> None:
        os.chmod(file, 0o755)
        os.chmod(file, 0o4755)
        descriptor = os.open(file, os.O_RDONLY)
        os.fchmod(descriptor, 0o2711)
        os.chdir(tmp_path)
        os.chmod("file", 0o6700)

    first, second, third = seen(witness, cgroup, work)
    assert (first.texts[0], first.path) == (os.fsencode(file), b"")
    assert (second.name, second.path, second.arguments[1]) == ("fchmod", os.fsencode(file), 0o2711)
    assert (third.texts[0], third.path) == (b"file", os.fsencode(tmp_path))


def test_capabilities_of_files_are_told_and_no_other_attribute(
    witness: Witness, cgroup: Cgroup, tmp_path: Path
) -> None:
    name, file = b"security.capability", tmp_path / "file"
    file.touch()
    path = os.fsencode(file)
    wanted = 1 << 7 | 1 << 38  # CAP_SETUID, CAP_PERFMON
    value = struct.pack("<5I", 0x02000001, wanted & 0xFFFFFFFF, 0, wanted >> 32, 0)
    held = ctypes.create_string_buffer(value, len(value))

    def work() -> None:
        os.setxattr(file, "user.security.capability", value)
        call("setxattr", path, b"security.capabilityx", value, len(value), 0)
        call("setxattr", path, name, value, len(value), 0)
        call("setxattr", path, name, None, 0, 0)
        call("lsetxattr", b"nothing", name, value, len(value), 0)
        descriptor = os.open(file, os.O_RDONLY)
        call("fsetxattr", descriptor, name, value, len(value), 0)
        folder = os.open(tmp_path, os.O_RDONLY)
        arguments = struct.pack("=QII", ctypes.addressof(held), len(value), 0)
        call("setxattrat", folder, b"file", 0, name, arguments, len(arguments))

    first, empty, absent, by_descriptor, below = seen(witness, cgroup, work)
    assert {one.kind for one in (first, empty, absent, by_descriptor, below)} == {"PRIVILEGE_SETXATTR"}
    assert os.getxattr(file, name) == value
    assert [one.arguments[5] for one in (first, empty, absent, by_descriptor)] == [wanted, 0, wanted, wanted]
    assert [one.result for one in (first, absent, by_descriptor)] == [0, -2, 0]
    assert (first.texts[0], by_descriptor.path) == (path, path)
    assert (below.name, below.texts[0], below.path) == ("setxattrat", b"file", os.fsencode(tmp_path))
    assert (below.arguments[5], below.result) == (wanted, 0)


def test_owners_devices_and_links(witness: Witness, cgroup: Cgroup, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)

    def work() -> None:
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=folder)
        os.mkfifo(tmp_path / "fifo")
        os.chown(tmp_path / "null", 12, -1)
        os.symlink("elsewhere", tmp_path / "plain")
        os.symlink("/proc/self/fd", tmp_path / "runtime")
        os.symlink("/etc/shadow", tmp_path / "secret")
        os.symlink("../../../../../etc", tmp_path / "up")
        call("link", b"/etc/nothing", b"y")

    events = seen(witness, cgroup, work)
    os.close(folder)
    assert [one.kind for one in events] == [
        *("PRIVILEGE_MKNOD", "PRIVILEGE_CHOWN", "PRIVILEGE_SYMLINK", "PRIVILEGE_SYMLINK", "PRIVILEGE_LINK"),
    ]
    device, owner, secret, up, link = events
    assert (device.texts[0], device.path) == (b"null", os.fsencode(tmp_path))
    assert device.arguments[3] == os.makedev(1, 3)
    assert owner.arguments[1:3] == (12, 2**32 - 1) or owner.arguments[1:3] == (12, 2**64 - 1)
    assert secret.texts[:2] == [b"/etc/shadow", os.fsencode(tmp_path / "secret")]
    assert up.texts[0] == b"../../../../../etc"
    assert (link.texts[:2], link.result) == ([b"/etc/nothing", b"y"], -2)


def test_texts_that_are_long_or_not_there(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        call("chroot", b"/" + b"a" * 300)
        call("chroot", None)
        call("chroot", b"/" + b"b" * 254)

    long, none, whole = seen(witness, cgroup, work)
    assert (len(long.texts[0]), bool(long.marks & MARKS["PW_TEXT_CUT"])) == (255, True)
    assert (none.texts[0], none.result) == (b"", -14)
    assert (len(whole.texts[0]), bool(whole.marks & MARKS["PW_TEXT_CUT"])) == (255, False)
