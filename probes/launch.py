"""The collector's side of the probes: starts the loader, takes over the descriptors.

Holds no BCC. The probes live as long as somebody holds their descriptors: they end when the collector does.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import platform
import socket
import struct
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from probes.catalog import (
    KINDS,
    SUBJECTS,
    Dialect,
    Hook,
    RecordKind,
    RingSizes,
    kernel_version,
)
from probes.choice import Event, hooks_for, made_kinds
from probes.exchange import (
    COMPILED,
    LIBRARIES,
    NO_TRACEPOINT,
    Answer,
    HookResult,
    Origin,
    ProbeError,
    Request,
)
from probes.starter import Command, Loader, Starter, start_child

__all__ = ["Attached", "HookReport", "ProbeError", "launch", "loader_command"]

# Compiling takes three seconds of CPU at most; a container that is held to a twentieth of one needs the rest.
TIMEOUT_S = 60.0
STDERR_BYTES = 16 << 10
STDERR_SHOWN_CHARACTERS = 500
NOTHING_ATTACHED = "No probe is attached; logs are not affected."
PACKAGE_PARENT = Path(__file__).resolve().parent.parent

NO_CONSTANTS: Mapping[str, int] = {}
MAPS_FOR_THE_COLLECTOR = ("ring", "flow_ring", "lost", "rates", "limits")

State = Literal["attached", "lesser", "absent", "failed"]


class HookReport(NamedTuple):
    """What became of one hook."""

    subject: str
    hook: str  # the tracepoint
    kinds: tuple[RecordKind, ...]
    # lesser: attached, but in the dearer dialect. absent: this kernel is too old and it only adds to records,
    # so that nothing is wrong with the node.
    state: State
    reason: str  # why it is not attached, or lesser; the kernel's words
    consequence: str
    dialect: Dialect | None

    @property
    def is_attached(self) -> bool:
        return self.state in ("attached", "lesser")


@dataclass(slots=True)
class Attached:
    """The probes, running. The descriptors hold them: close() ends them."""

    ring_fd: int  # BPF_MAP_TYPE_RINGBUF of struct pw_* records; pollable
    flow_ring_fd: int  # the same, of kinds that are flows
    lost_fd: int  # BPF_MAP_TYPE_ARRAY of u64[KINDS] by kind, which can be mapped
    rates_fd: int  # the same of one struct pw_rates (limits.h); no cgroup has a limit until it is written
    limits_fd: int  # the same of struct pw_limit_slot[LIMIT_SLOTS + 1]
    links: dict[str, int]  # by tracepoint
    programs: dict[str, int]  # by tracepoint
    maps: dict[str, int]  # the others, which only the probes use
    hooks: tuple[HookReport, ...]
    origin: Origin = COMPILED
    tracking_fd: int = -1  # a netlink socket of probes.conntrack; -1: there is none
    # Descriptors by name of hook, to be read once: records of what was there before (struct pw_*, one after
    # the other, each padded to 8 bytes). A read of 64 KiB gives whole records.
    walks: dict[str, int] = field(default_factory=dict)
    attached_ns: int = 0  # CLOCK_BOOTTIME: what begins from then on is in the rings
    link_ids: dict[str, str] = field(init=False)  # as the kernel numbers them

    def __post_init__(self) -> None:
        self.link_ids = {name: _link_id(descriptor) for name, descriptor in self.links.items()}

    def lost(self) -> tuple[int, ...]:
        """Records that did not fit in the ring, by kind; at 0 (PW_UNTRACKED), no kind, how often the
        table of live processes had no room. Takes no capability."""
        with mmap.mmap(self.lost_fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as counts:
            return struct.unpack_from(f"={KINDS}Q", counts)

    def missed(self) -> dict[str, int]:
        """Times that a program was not run, by tracepoint.

        The kernel does not start one in an interrupt that finds it running on the same CPU. It counts this
        since Linux 5.12.
        """
        return {name: _recursion_misses(descriptor) for name, descriptor in self.programs.items()}

    def gone(self) -> tuple[str, ...]:
        """Tracepoints whose probe somebody has detached. Their descriptors are forgotten: what has these
        numbers now is not ours to close."""
        for name, descriptor in list(self.links.items()):
            if _link_id(descriptor) != self.link_ids[name]:
                del self.links[name]
        return tuple(name for name in self.link_ids if name not in self.links)

    def detach(self) -> None:
        """Ends the probes; what they have put into the ring can still be read."""
        while self.links:
            os.close(self.links.popitem()[1])

    def close(self) -> None:
        """Detaches the probes. May be called again."""
        self.detach()
        for held in (self.programs, self.maps, self.walks):
            while held:
                os.close(held.popitem()[1])
        for name in (*MAPS_FOR_THE_COLLECTOR, "tracking"):
            if (descriptor := getattr(self, f"{name}_fd")) >= 0:
                os.close(descriptor)
            setattr(self, f"{name}_fd", -1)


def _recursion_misses(program: int) -> int:
    return int(_descriptor_fact(program, "recursion_misses") or 0)


def _link_id(descriptor: int) -> str:
    """Nothing for what is no link (any more)."""
    try:
        return _descriptor_fact(descriptor, "link_id")
    except FileNotFoundError:
        return ""


def _descriptor_fact(descriptor: int, name: str) -> str:
    """What the kernel says of a descriptor, without a capability; "" where it does not."""
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().split("\n"):
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return ""


async def launch(
    subjects: Collection[str],
    *,
    ring_bytes: int,
    flow_ring_bytes: int = 0,
    dialect: Dialect | None = None,
    without: Sequence[str] = (),
    constants: Mapping[str, int] = NO_CONSTANTS,
    off: Collection[Event] = (),
    timeout_s: float = TIMEOUT_S,
    starter: Starter | None = None,
    cache: str = "",
) -> Attached:
    """Attaches the probes of `subjects` (of catalog.SUBJECTS).

    `ring_bytes`: a power of two and a multiple of the page size; `flow_ring_bytes` as well, 0 for the same.
    `dialect` forces one; `without` lets the kernel look as if it lacked these macros of the made headers: so
    what older kernels run is tried on a new one. `constants`: of the probes, by name without PW_, in place of
    their defaults. `off`: events of these subjects that no record is made of. `cache`: folder of compiled
    probes, "" for none; a starter knows its own. Raises ProbeError when nothing can be attached; single hooks
    that fail are in the result.
    """
    sizes = RingSizes(ring_bytes, flow_ring_bytes or ring_bytes)
    check_arguments(subjects, sizes)
    request = Request(
        tuple(subjects), sizes, dialect, tuple(without), tuple(constants.items()), tuple(sorted(off))
    )
    answer = Answer()
    try:
        async with asyncio.timeout(timeout_s):
            said, status = await _ask_child(request, answer, starter, cache)
        return attached(answer, said, status, hooks_for(subjects, off), off)
    except TimeoutError as error:
        raise ProbeError(
            f"The loader of the probes was not done after {timeout_s:g} s.",
            NOTHING_ATTACHED,
            "Give the container more CPU: compiling takes about three seconds of one.",
        ) from error
    finally:
        answer.close()


def check_arguments(subjects: Collection[str], sizes: RingSizes) -> None:
    """Raises ProbeError."""
    unknown = sorted(set(subjects) - set(SUBJECTS))
    if unknown or not subjects:
        raise ProbeError(
            f"There are no probes for {', '.join(unknown) or 'nothing'}.",
            NOTHING_ATTACHED,
            f"Name some of {', '.join(SUBJECTS)}.",
        )
    for ring_bytes in sizes:
        if ring_bytes >= mmap.PAGESIZE and not ring_bytes & (ring_bytes - 1):
            continue
        raise ProbeError(
            f"A ring of {ring_bytes} bytes can't be made.",
            NOTHING_ATTACHED,
            f"Use a power of two from {mmap.PAGESIZE} on; 8388608 holds about ten seconds of heavy load.",
        )


async def _ask_child(
    request: Request, answer: Answer, starter: Starter | None, cache: str
) -> tuple[bytes, int]:
    """(the end of what the child said, its status). The child is gone afterwards, whatever happens."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.setblocking(False)
        with theirs:
            child = await (starter.start(theirs) if starter else start_child(loader_command(cache), theirs))
        try:
            stderr = asyncio.ensure_future(_tail(child))
            with suppress(ConnectionError):  # it has ended before it read that; its words tell why
                await asyncio.get_running_loop().sock_sendall(ours, request.encode())
                while await _readable(ours) and answer.receive(ours):
                    pass
            return await stderr, await child.wait()
        finally:
            await _end(child)


def loader_command(cache: str = "") -> Command:
    """-P keeps the current directory from the head of the child's path: it finds this package where it is
    here. -S leaves out what site does, a tenth of a start without the compiler; where BCC may be is told by
    LIBRARIES: wherever this process would look, which is also in an egg that a .pth file names.

    The folder of compiled probes is part of the command, not of the request: who may only ask the starter has
    no say in where code for the kernel is read.
    """
    path = os.pathsep.join(filter(None, (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH"))))
    installed = filter(os.path.isabs, sys.path)  # not "", which is the current directory
    arguments = (sys.executable, "-P", "-S", "-m", "probes.loader", *filter(None, (cache,)))
    return Command(arguments, {**os.environ, "PYTHONPATH": path, LIBRARIES: os.pathsep.join(installed)})


def witness_command() -> Command:
    """Of the netlink witness, as the loader's: found where this package is."""
    path = os.pathsep.join(filter(None, (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH"))))
    arguments = (sys.executable, "-P", "-m", "probes.netlink_witness")
    return Command(arguments, {**os.environ, "PYTHONPATH": path})


async def _tail(child: Loader) -> bytes:
    """The last STDERR_BYTES, read to the end so that the child never waits for us."""
    assert child.stderr is not None
    kept = b""
    while said := await child.stderr.read(STDERR_BYTES):
        kept = (kept + said)[-STDERR_BYTES:]
    return kept


async def _end(child: Loader) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.kill()
        await asyncio.shield(child.wait())


async def _readable(channel: socket.socket) -> bool:
    """asyncio has no call that receives descriptors."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(channel, ready.set)
    try:
        return await ready.wait()
    finally:
        loop.remove_reader(channel)


def attached(
    answer: Answer, said: bytes, status: int, hooks: Sequence[Hook], off: Collection[Event] = ()
) -> Attached:
    """Takes the descriptors out of `answer`, or raises ProbeError."""
    if answer.error:
        raise answer.error
    if not answer.results:
        tail = said.decode(errors="replace").strip()[-STDERR_SHOWN_CHARACTERS:]
        raise ProbeError(
            f"The loader of the probes ended with status {status}, without an answer: {tail or 'silent'}.",
            NOTHING_ATTACHED,
            "Status -9 is the out-of-memory killer as a rule: compiling takes 180 MiB for a moment.",
        )
    reports = tuple(
        hook_report(hook, answer.results[hook.tracepoint], off=off)
        for hook in hooks
        if hook.tracepoint in answer.results
    )
    if not any(report.is_attached for report in reports):
        raise ProbeError(
            f"None of the probes could be attached: {reports[0].reason}.",
            NOTHING_ATTACHED,
            "Run privileged, or with the capabilities BPF and PERFMON, on Linux 5.8 or newer.",
        )
    maps, links, programs, walks = (answer.take(kind) for kind in ("map", "link", "program", "walk"))
    ours = {f"{name}_fd": maps.pop(name) for name in MAPS_FOR_THE_COLLECTOR}
    ours["tracking_fd"] = answer.take("tracking").get("conntrack", -1)
    return Attached(
        links=links,
        programs=programs,
        maps=maps,
        hooks=reports,
        origin=answer.origin,
        walks=walks,
        attached_ns=answer.attached_ns,
        **ours,
    )


def hook_report(hook: Hook, result: HookResult, release: str = "", off: Collection[Event] = ()) -> HookReport:
    """`release` of the kernel; that which runs when empty."""
    state: State = "attached"
    consequence = ""
    reason = "; ".join(result.reasons)
    if result.dialect is None:
        state, consequence = "failed", hook.without
        is_too_old = not hook.kinds and kernel_version(release or platform.release()) < hook.since
        if is_too_old or (hook.is_of_option and NO_TRACEPOINT in reason):
            state = "absent"
    elif result.reasons:
        state, consequence = "lesser", "It costs the workload about twice as much."
    kinds = made_kinds(hook, off)
    return HookReport(hook.subject, hook.tracepoint, kinds, state, reason, consequence, result.dialect)
