"""Known calls give exactly the records that they should: arguments, result, and what they changed."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from probes.btf import Btf
from probes.catalog import Dialect, RecordKind
from probes.syscalls import CALLS, compat_numbers, identity, numbers, recipe
from tests.kernel.calls import call, refused
from tests.kernel.event_layout import LAYOUT
from tests.kernel.sandbox import Cgroup, Process, run, unshare
from tests.kernel.witness import Witness

NAMES = {identity(one): one.name for one in CALLS}
IDS = LAYOUT.enums["pw_identity"]
MARKS = LAYOUT.enums["pw_privilege_mark"]
AT_FDCWD = -100
CLONE_NEWUTS, CLONE_NEWUSER = 0x04000000, 0x10000000


@pytest.fixture(scope="module", params=list(Dialect), ids=str)
def calls(request: pytest.FixtureRequest) -> Iterator[Witness]:
    witness = Witness.attach(("syscalls",), dialect=request.param)
    assert {hook.state for hook in witness.probes.hooks} == {"attached"}
    yield witness
    witness.close()


@pytest.fixture
def witness(calls: Witness, cgroup: Cgroup) -> Witness:
    calls.forget()
    return calls


class Seen(SimpleNamespace):
    """A record with what is packed in it taken apart."""

    @classmethod
    def of(cls, event: SimpleNamespace) -> Seen:
        made = cls(**vars(event))
        made.name = NAMES[event.call]
        made.arguments = struct.unpack("=6Q", event.arguments)
        (made.result,) = struct.unpack("=q", struct.pack("=Q", event.result))
        made.before, made.after = (struct.unpack("=16I", one) for one in (event.before, event.after))
        lengths = struct.unpack("=3H", event.text_bytes)
        at, made.texts = 0, []
        for length in lengths:
            made.texts.append(event.tail[at : at + length])
            at += length
        components = event.tail[at : at + event.path_bytes].split(b"\0")[:-1]
        made.path = b"/" + b"/".join(reversed(components)) if components else b""
        assert at + event.path_bytes == len(event.tail)
        return made

    def changed(self) -> dict[str, tuple[int, int]]:
        pairs = zip(self.before, self.after, strict=True)
        names = {place: name for name, place in IDS.items()}
        return {names[at]: pair for at, pair in enumerate(pairs) if pair[0] != pair[1]}


def seen(witness: Witness, cgroup: Cgroup, work: Callable[[], int | None]) -> list[Seen]:
    _, status = run(cgroup, work)
    assert status == 0
    return [Seen.of(event) for event in witness.events(cgroup.id)]


def only(witness: Witness, cgroup: Cgroup, work: Callable[[], int | None]) -> Seen:
    events = seen(witness, cgroup, work)
    assert len(events) == 1, events
    return events[0]


# What the probes are made from


def header_numbers(path: str) -> dict[str, int]:
    text = Path(path).read_text()
    return {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text)}


NEWER_THAN_HEADERS = {"fchmodat2": 452, "setxattrat": 463, "open_tree_attr": 467}


def test_numbers_are_those_of_the_kernels_headers() -> None:
    native = header_numbers("/usr/include/x86_64-linux-gnu/asm/unistd_64.h") | NEWER_THAN_HEADERS
    generic = header_numbers("/usr/include/asm-generic/unistd.h") | NEWER_THAN_HEADERS
    compat = header_numbers("/usr/include/x86_64-linux-gnu/asm/unistd_32.h") | NEWER_THAN_HEADERS
    assert numbers("x86_64") == {native[one.name]: one for one in CALLS}
    assert numbers("aarch64") == {generic[one.name]: one for one in CALLS if one.name in generic}
    named = {compat.get(name, -1): one for one in CALLS for name in (one.name, f"{one.name}32")}
    named.pop(-1, None)
    assert compat_numbers("x86_64") == named
    assert compat_numbers("aarch64") == {}


def test_calls_of_the_header_are_those_of_the_table() -> None:
    kinds = {kind for kind in RecordKind if kind.name.startswith("PRIVILEGE_")}
    told_by_tracepoints = {RecordKind.PRIVILEGE_OOM_KILL, RecordKind.PRIVILEGE_CGROUP_ATTACH}
    assert {one.kind for one in CALLS} == kinds - told_by_tracepoints
    assert all(recipe(one) < 1 << 31 and len(one.texts) <= 3 for one in CALLS)


# Identity


def test_ids_before_and_after(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        os.setresgid(4, 5, 6)
        os.setresuid(1, 2, 0)
        os.setresuid(-1, -1, -1)

    groups, users, again = seen(witness, cgroup, work)
    assert (groups.name, groups.arguments[:3], groups.result) == ("setresgid", (4, 5, 6), 0)
    ids = {"PW_ID_GID": (0, 4), "PW_ID_EGID": (0, 5), "PW_ID_SGID": (0, 6), "PW_ID_FSGID": (0, 5)}
    assert groups.changed() == ids
    assert users.changed() == {"PW_ID_UID": (0, 1), "PW_ID_EUID": (0, 2), "PW_ID_FSUID": (0, 2)}
    assert again.changed() == {}
    assert again.marks & MARKS["PW_BEFORE_KNOWN"]
    effective = [
        struct.unpack("=2Q", one)[0] for one in (users.capabilities_before, users.capabilities_after)
    ]
    assert effective[0] > 0 == effective[1]
    assert (users.uid, users.euid) == (1, 2)


def test_an_attempt_that_fails_is_told_with_its_errno(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> int:
        os.setresuid(1, 1, 1)
        return refused("setuid", 0) != "EPERM"

    _, event = seen(witness, cgroup, work)
    assert (event.name, event.arguments[0], event.result) == ("setuid", 0, -1)
    assert event.changed() == {}


def test_every_thread_has_ids_of_its_own(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        thread = threading.Thread(target=lambda: call("setresuid", 7, 7, 7))
        thread.start()
        thread.join()
        call("setresuid", 8, 8, 8)

    first, second = seen(witness, cgroup, work)
    assert (first.changed()["PW_ID_UID"], second.changed()["PW_ID_UID"]) == ((0, 7), (0, 8))
    assert first.tid != first.pid == second.tid


def test_capabilities_before_and_after(witness: Witness, cgroup: Cgroup) -> None:
    header = struct.pack("=Ii", 0x20080522, 0)
    sets = struct.pack("=6I", 1, 3, 0, 0, 0, 0)

    event = only(witness, cgroup, lambda: call("capset", header, sets))
    assert event.name == "capset"
    assert struct.unpack("=2Q", event.capabilities_after) == (1, 3)
    assert struct.unpack("=2Q", event.capabilities_before)[0] & 1 << 21


def test_namespaces_before_and_after(witness: Witness, cgroup: Cgroup) -> None:
    own = os.stat("/proc/self/ns/uts").st_ino

    def work() -> int:
        old = os.open("/proc/self/ns/uts", os.O_RDONLY)
        unshare(CLONE_NEWUTS)
        return call("setns", old, CLONE_NEWUTS)

    left, back = seen(witness, cgroup, work)
    assert (left.name, left.arguments[0]) == ("unshare", CLONE_NEWUTS)
    ((name, (before, after)),) = left.changed().items()
    assert (name, before) == ("PW_NS_UTS", own)
    assert after != own
    assert (back.name, back.changed()) == ("setns", {"PW_NS_UTS": (after, own)})


def test_a_clone_into_namespaces_that_is_refused(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> int:
        os.setresuid(1, 1, 1)
        return refused("clone", CLONE_NEWUTS | signal.SIGCHLD) != "EPERM"

    event = seen(witness, cgroup, work)[-1]
    assert (event.name, event.result, event.arguments[0] & CLONE_NEWUTS) == ("clone", -1, CLONE_NEWUTS)


# Other processes


def finds_by_number(witness: Witness) -> bool:
    """bpf_task_from_vpid, since 6.14; for programs of raw_tp on no kernel."""
    kernel = Btf.load(Path("/sys/kernel/btf/vmlinux"))
    dialects = {hook.dialect for hook in witness.probes.hooks}
    return Dialect.TP_BTF in dialects and kernel.function("bpf_task_from_vpid") is not None


def test_whom_a_refused_call_was_meant_for(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    victim = Process(other_cgroup, signal.pause)

    def work() -> int:
        os.setresuid(1, 1, 1)
        refusals = [refused("ptrace", 16, victim.pid, 0, 0), refused("kill", victim.pid, 9)]
        call("ptrace", 0, victim.pid, 0, 0)  # PTRACE_TRACEME: whatever the number
        return refusals != ["EPERM"] * 2

    events = seen(witness, cgroup, work)[1:]
    victim.kill()
    victim.wait()
    assert [one.name for one in events] == ["ptrace", "kill", "ptrace"]
    if finds_by_number(witness):
        assert [one.target_pid for one in events] == [victim.pid, victim.pid, 0]
        assert [one.target_cgroup_id for one in events[:2]] == [other_cgroup.id] * 2


def test_ptrace_names_its_target(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    found: list[str] = []
    read, write = os.pipe()

    def work() -> int:
        os.dup2(write, 1)
        return os.waitstatus_to_exitcode(os.spawnv(os.P_WAIT, programs / "traced", ["traced"]) << 8)

    events = seen(witness, cgroup, work)
    os.close(write)
    found.append(os.read(read, 100).decode().strip())
    os.close(read)
    assert [(one.name, one.arguments[0]) for one in events] == [("ptrace", 16), ("ptrace", 5)]
    assert {str(one.target_pid) for one in events} == set(found)
    assert {one.target_comm.rstrip(b"\0") for one in events} == {b"traced"}


def test_taking_a_descriptor_names_whose_it_is(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> int:
        child = os.fork()
        if child == 0:
            signal.pause()
        held = os.pidfd_open(child)
        taken = call("pidfd_getfd", held, 0, 0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return taken < 0 or refused("pidfd_getfd", held, 0, 0) != "ESRCH"

    taken, refused_one = seen(witness, cgroup, work)
    assert {one.kind for one in (taken, refused_one)} == {"PRIVILEGE_PTRACE"}
    assert (taken.name, taken.result > 2, refused_one.name) == ("pidfd_getfd", True, "pidfd_getfd")
    assert taken.marks & MARKS["PW_TARGET_KNOWN"] > refused_one.marks & MARKS["PW_TARGET_KNOWN"]
    assert taken.target_pid > taken.pid
    assert taken.target_cgroup_id == cgroup.id


def test_a_signal_that_is_refused(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> int:
        os.setresuid(1, 1, 1)
        return (refused("kill", 1, 9), refused("tgkill", 1, 1, 15)) != ("EPERM", "EPERM")

    events = seen(witness, cgroup, work)[1:]
    assert [(one.name, one.arguments[0], one.result) for one in events] == [
        ("kill", 1, -1),
        ("tgkill", 1, -1),
    ]


def test_signals_that_are_sent_are_left_to_their_own_tracepoint(witness: Witness, cgroup: Cgroup) -> None:
    assert seen(witness, cgroup, lambda: os.kill(os.getpid(), 0)) == []


def test_memory_of_another_process(witness: Witness, cgroup: Cgroup) -> None:
    target = ctypes.create_string_buffer(b"old", 3)
    source = ctypes.create_string_buffer(b"new", 3)

    def work() -> int:
        here, there = (struct.pack("=QQ", ctypes.addressof(one), 3) for one in (source, target))
        child = os.fork()
        if child == 0:
            signal.pause()
        written = call("process_vm_writev", child, here, 1, there, 1, 0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return written != 3

    event = only(witness, cgroup, work)
    assert (event.name, event.result) == ("process_vm_writev", 3)
    assert event.arguments[0] > event.pid
    if finds_by_number(witness):
        assert (event.target_pid, event.target_cgroup_id) == (event.arguments[0], cgroup.id)


# The kernel


def test_the_kernels_own(witness: Witness, cgroup: Cgroup) -> None:
    """Each with arguments that the kernel refuses; where it has no modules, by ENOSYS."""

    def work() -> None:
        call("bpf", 5, None, 0)
        call("bpf", 1, None, 0)  # a look into a map: not told
        call("perf_event_open", None, -1, 3, -1, 0)
        call("init_module", None, 12, b"debug=1")
        descriptor = os.open("/etc/hostname", os.O_RDONLY)
        call("finit_module", descriptor, b"p=2", 0)
        call("delete_module", b"nothing", 0)
        call("kexec_load", 0, 9999, None, 0)
        call("io_uring_setup", 0, None)
        call("open_by_handle_at", -1, None, 0)
        call("keyctl", 11, 0, None, 0)
        call("add_key", b"user", b"what", None, 0, 0)

    events = seen(witness, cgroup, work)
    assert [one.name for one in events] == [
        *("bpf", "perf_event_open", "init_module", "finit_module", "delete_module", "kexec_load"),
        *("io_uring_setup", "open_by_handle_at", "keyctl", "add_key"),
    ]
    assert all(one.result < 0 for one in events)
    _, _, loaded, by_file, deleted, *_, key = events
    assert (loaded.texts[0], deleted.texts[0], key.texts[:2]) == (b"debug=1", b"nothing", [b"user", b"what"])
    assert (by_file.texts[0], by_file.path) == (b"p=2", b"/etc/hostname")


def test_memfd(witness: Witness, cgroup: Cgroup) -> None:
    event = only(witness, cgroup, lambda: os.close(os.memfd_create("x" * 240, os.MFD_ALLOW_SEALING)))
    assert (event.name, event.texts[0], event.arguments[1]) == ("memfd_create", b"x" * 240, 2)
    assert event.result > 2


# Ways round


def test_calls_of_a_32_bit_program(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    events = seen(witness, cgroup, lambda: os.spawnv(os.P_WAIT, programs / "compat", ["compat"]))
    assert [one.name for one in events] == ["unshare", "setuid"]
    assert all(one.marks & MARKS["PW_PROGRAM_I386"] for one in events)
    assert list(events[0].changed()) == ["PW_NS_UTS"]
    assert (events[1].arguments[0], events[1].changed()["PW_ID_UID"]) == (4242, (0, 4242))


def test_as_many_records_as_calls_from_several_threads(witness: Witness, cgroup: Cgroup) -> None:
    def many() -> None:
        for _ in range(500):
            call("memfd_create", None, 0)

    def work() -> None:
        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(seen(witness, cgroup, work)) == 2000


def test_other_calls_are_not_told(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        for _ in range(100):
            os.getppid()
            os.close(os.open("/etc/hostname", os.O_RDONLY))
        subprocess.run(["/bin/true"], check=True)

    assert seen(witness, cgroup, work) == []


def test_a_call_that_never_returns_leaves_nothing_behind(witness: Witness, cgroup: Cgroup) -> None:
    process = Process(cgroup, signal.pause)
    process.kill()
    process.wait()
    assert witness.events(cgroup.id) == []


assert ctypes.sizeof(ctypes.c_long) == 8  # arguments of calls are handed over as long
