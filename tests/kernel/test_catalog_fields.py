"""Real records of every event, encoded as the collector does: they have the fields of collector.catalog."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collector.catalog import EVENTS, Event
from collector.entries import unpack_entries
from collector.inputs.event_plans import constant_pairs, identity_fields, pack_fragment
from collector.inputs.watched_names import read_name, table_of, write_table
from collector.native.containers import ContainerTable, Fragment
from collector.native.event_kinds import Kind, Scope
from collector.native.events import Drained, DrainEnd, EventEncoder, Ring, Tables
from collector.native.flow_table import FlowTable
from collector.native.programs import Programs
from collector.native.raw_records import split
from collector.native.state import without_arguments
from probes.catalog import FLOW_SLOTS, FLOWS, SUBJECTS
from probes.launch import Attached, launch
from tests.kernel.calls import call
from tests.kernel.sandbox import CLONE_NEWNET, CLONE_NEWNS, Cgroup, Process, run
from tests.kernel.test_state_events import READ_BYTES, Waiting
from tests.kernel.witness import KEPT_PROBES, RING_BYTES
from tests.reference import dns_messages as messages
from tests.unit.test_records import POD, is_of_type, leaves

MANY_NS = 3600 * 10**9
CLONE_NEWUTS, CLONE_FS = 0x04000000, 0x200
PTRACE_ATTACH = 16
NOWHERE = b"/nowhere/file"
Record = dict[str, Any]


class Collected:
    """Records by action, of the processes of some cgroups."""

    def __init__(self, probes: Attached, *cgroups: Cgroup) -> None:
        self.by_action: dict[str, list[Record]] = {}
        self._probes = probes
        self._encoder = EventEncoder(1)
        self._programs = Programs()
        self._encoder.recall(self._programs)
        self._tables = Tables(ContainerTable(16), ContainerTable(16))
        self._fragment = of_pod()
        self._cgroups = {cgroup.id for cgroup in cgroups}
        for table in self._tables:
            assert all(table.set(cgroup_id, self._fragment) for cgroup_id in self._cgroups)

    def drain(self) -> None:
        for descriptor in (self._probes.ring_fd, self._probes.flow_ring_fd):
            ring, end = Ring(descriptor, RING_BYTES), DrainEnd.BOUND
            while end is not DrainEnd.EMPTY:
                end = self._keep(self._encoder.drain(ring, self._tables, 1000))
            ring.close()

    def look_back(self) -> None:
        for descriptor in self._probes.walks.values():
            while content := os.read(descriptor, READ_BYTES):
                for kind, cgroup_id, record in split(content):
                    if cgroup_id in self._cgroups:
                        whole = without_arguments(record) if kind == Kind.RUNNING else record
                        (encoded,) = self._encoder.encode(whole, self._fragment)
                        self._unpack(encoded.process.entries + encoded.network.entries)

    def update_flows(self) -> None:
        flows = FlowTable(self._probes.maps[FLOWS], FLOW_SLOTS, MANY_NS, MANY_NS)
        now_ns, end = time.clock_gettime_ns(time.CLOCK_BOOTTIME), DrainEnd.FULL
        while end is DrainEnd.FULL:
            end = self._keep(self._encoder.scan(flows, self._tables, now_ns, is_last=True))
        flows.close()

    def _keep(self, drained: Drained) -> DrainEnd:
        assert drained.malformed == 0
        self._unpack(drained.process.entries + drained.network.entries)
        return drained.end

    def _unpack(self, entries: bytes) -> None:
        for _, pairs in unpack_entries(entries):
            record = dict(pairs)
            self.by_action.setdefault(record["event"]["action"], []).append(record)


def of_pod() -> Fragment:
    fragment, _ = pack_fragment(constant_pairs(identity_fields(POD)), Scope.CONTAINER)
    return fragment


@contextmanager
def attached() -> Iterator[Attached]:
    probes = asyncio.run(launch(SUBJECTS, ring_bytes=RING_BYTES, cache=KEPT_PROBES.name))
    try:
        assert {hook.state for hook in probes.hooks} == {"attached"}
        yield probes
    finally:
        probes.close()


def there_before() -> list[socket.socket]:
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    return [server, client, bound]


def exchange_packets() -> list[socket.socket]:
    """Two packets of one flow, and one to where DNS is expected."""
    here, there = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    there.bind(("127.0.0.1", 0))
    for _ in range(2):
        here.sendto(b"x", there.getsockname())
    here.sendto(messages.query("a.example"), ("127.0.0.1", 53))
    return [here, there]


def close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


def connect() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0],
    ):
        pass
    with socket.socket() as refused:
        refused.connect_ex(("127.0.0.1", 1))


def execute() -> None:
    """In a tree that came in from outside: a session."""
    if os.fork() == 0:
        os.execv("/bin/true", ["true"])
    os.wait()


def into_namespaces() -> None:
    child = call("clone", CLONE_NEWUTS | CLONE_NEWNET | signal.SIGCHLD)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def call_refused() -> None:
    """Each in a way that changes nothing."""
    os.setresuid(-1, -1, -1)
    os.setresgid(-1, -1, -1)
    call("capset", None, None)
    call("ptrace", PTRACE_ATTACH, -1, None, None)
    call("mount", b"what", NOWHERE, b"tmpfs", 0, None)
    call("umount2", NOWHERE, 0)
    call("pivot_root", NOWHERE, NOWHERE)
    call("chroot", NOWHERE)
    call("unshare", 0)
    call("setns", -1, 0)
    call("clone", CLONE_NEWNS | CLONE_FS | signal.SIGCHLD)
    call("bpf", 5, None, 0)
    call("perf_event_open", None, -1, 3, -1, 0)
    call("init_module", None, 12, b"debug=1")
    call("delete_module", b"nothing", 0)
    call("kexec_load", 0, 9999, None, 0)
    call("memfd_create", b"x", -1)
    call("process_vm_writev", -1, None, 0, None, 0, 0)
    call("keyctl", 11, 0, None, 0)
    call("open_by_handle_at", -1, None, 0)
    call("io_uring_setup", 0, None)
    os.setresuid(1, 1, 1)
    call("kill", 1, signal.SIGCONT)


def use_files(folder: Path) -> Callable[[], None]:
    (folder / "secrets").mkdir()
    token = os.fsencode(folder / "secrets" / "token")

    def work() -> None:
        os.close(os.open(token, os.O_WRONLY | os.O_CREAT))
        os.close(os.open(token, os.O_RDONLY))
        os.chmod(token, 0o4700)
        os.chown(token, 0, 0)
        os.mknod(token + b".null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.symlink("/etc/shadow", token + b".symlink")
        call("link", b"/etc/nothing", NOWHERE)
        call("setxattr", token, b"security.capability", b"", 0, 0)
        os.rename(token, token + b".old")
        call("unlink", token)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect_ex(token)

    return work


def everything(probes: Attached, collected: Collected, inside: Cgroup, outside: Cgroup, folder: Path) -> None:
    write_table(probes.maps["watched"], table_of([read_name("secrets/token")]))
    collected.look_back()
    victim = Process(outside, signal.pause)
    for work in (execute, connect, into_namespaces, call_refused, use_files(folder)):
        _, status = run(inside, work)
        assert status == 0
    run(inside, lambda: os.kill(victim.pid, signal.SIGCONT))
    victim.kill()
    victim.wait()
    packets = Waiting(inside, exchange_packets, close)
    collected.drain()
    collected.update_flows()
    packets.end()


def faults(event: Event, record: Record) -> list[str]:
    found = dict(leaves(record))
    fields = {field.name: field for field in event.fields}
    missing = {name for name, field in fields.items() if field.always} - found.keys()
    strange = found.keys() - fields.keys()
    wrong = [
        name for name, value in found.items() if name in fields and not is_of_type(value, fields[name].type)
    ]
    return [f"{event.name}: {what}" for what in (*missing, *strange, *wrong)]


def test_records_of_every_event_have_its_fields(
    cgroup: Cgroup, other_cgroup: Cgroup, memory_cgroup: Path, tmp_path: Path
) -> None:
    before = Waiting(cgroup, there_before, close)

    def fill_memory() -> None:
        (memory_cgroup / "cgroup.procs").write_text("0")
        assert bytearray(64 << 20)

    with attached() as probes:
        collected = Collected(probes, cgroup, other_cgroup)
        everything(probes, collected, cgroup, other_cgroup, tmp_path)
        run(cgroup, fill_memory)
        before.end()
        collected.drain()
    told = collected.by_action
    of_probes = [event for event in EVENTS if event.kind is not None]
    assert {event.action for event in of_probes} - told.keys() == set()
    wrong = [fault for event in of_probes for record in told[event.action] for fault in faults(event, record)]
    assert sorted(set(wrong)) == []
