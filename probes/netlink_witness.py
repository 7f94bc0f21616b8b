"""The child that watches the node by netlink where eBPF can't be used.

`python -m probes.netlink_witness FD`, with FD a socket as netlink_exchange.py describes. A process of its
own: a program that ends in a millisecond is read from /proc in time only by one that does nothing else, and
what this takes of privileges the collector does without. It ends when the channel is closed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time
from contextlib import closing, suppress

from probes import netns
from probes.cgroup_paths import CgroupPaths
from probes.netlink_exchange import MESSAGE_BYTES, Watch, decode_watch
from probes.netlink_namespaces import Namespaces
from probes.netlink_processes import ProcessTable
from probes.outbox import Outbox
from probes.proc_connector import ConnectorUnusable, ProcConnector, ProcessEvent

TICK_S = 1.0  # losses are told within a second
SETTLE_S = 0.02
# Events looked up in /proc together. What is executed meanwhile waits for the rest of them.
BATCH_EVENTS = 64
# Before all ordinary threads, so that /proc is read while the program is there: of 997 runs of /bin/true on a
# machine with more to do than processors the arguments of 975 to 997 were seen, without it of 272 to 503.
# What takes more than its share of a processor goes back among the others, to not make a storm worse.
PRIORITY = os.sched_param(1)
PRIORITY_SHARE = 0.5
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


def boot_offset_ns() -> int:
    """CLOCK_BOOTTIME minus CLOCK_MONOTONIC: the time that the machine was suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()


class ProcessWatch:
    """The proc connector, and what its events mean."""

    def __init__(self, watch: Watch, cgroups: CgroupPaths | None, outbox: Outbox) -> None:
        """Raises ConnectorUnusable."""
        self.connector = open_connector(watch.receive_bytes)
        self._outbox = outbox
        self._table = ProcessTable(cgroups)
        since_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._table.prime()
        if watch.tells_state:
            outbox.put_late(self._table.running(since_ns))
        self._dropped = 0

    @property
    def is_waiting(self) -> bool:
        return self._table.is_waiting

    def work(self) -> None:
        """All that is there now."""
        batch: list[ProcessEvent] = []
        while (received := self.connector.receive()) is not None:
            events, was_overrun = received
            batch += events
            if was_overrun or len(batch) >= BATCH_EVENTS:
                self._outbox.put(self._table.take(batch, boot_offset_ns()))
                batch = []
            if was_overrun:
                self._table.forget()
        self._outbox.put(self._table.take(batch, boot_offset_ns()))
        if self._table.is_waiting:
            self._outbox.put(self._table.settle(time.clock_gettime_ns(time.CLOCK_BOOTTIME)))

    def tick(self) -> None:
        dropped = self.connector.dropped()
        self._outbox.lost("any", "netlink_overrun", dropped - self._dropped)
        self._dropped = dropped

    def close(self) -> None:
        self.connector.close()


def open_connector(receive_bytes: int) -> ProcConnector:
    """In the node's network namespace, if that may be entered. Raises ConnectorUnusable."""
    with suppress(OSError), netns.inside_nodes():
        return ProcConnector(receive_bytes=receive_bytes)
    return ProcConnector(receive_bytes=receive_bytes)


class Priority:
    """Of this thread; as it is where SYS_NICE is lacking."""

    def __init__(self) -> None:
        self._is_high = False
        self._at_s = (time.monotonic(), time.thread_time())
        self.adjust()

    def adjust(self) -> None:
        """By what the thread took of a processor since the last time."""
        elapsed_s, worked_s = time.monotonic() - self._at_s[0], time.thread_time() - self._at_s[1]
        self._at_s = (time.monotonic(), time.thread_time())
        wanted = worked_s <= PRIORITY_SHARE * elapsed_s or elapsed_s < TICK_S / 2
        if wanted != self._is_high:
            policy = os.SCHED_RR if wanted else os.SCHED_OTHER
            with suppress(OSError):
                os.sched_setscheduler(0, policy, PRIORITY if wanted else os.sched_param(0))
            self._is_high = wanted


def watch_processes(watch: Watch, channel: socket.socket, sockets_pid: int | None) -> None:
    """Until the channel is closed. `sockets_pid`: the process that watches sockets."""
    outbox = Outbox("process", watch.queue_bytes, channel)
    try:
        processes = ProcessWatch(watch, paths_of(watch), outbox)
    except ConnectorUnusable as reason:
        outbox.part(False, str(reason))
        outbox.finish()
        return
    outbox.part(True, "")
    with closing(processes):
        _work(processes, watch, channel, outbox, sockets_pid)


def _work(
    processes: ProcessWatch,
    watch: Watch,
    channel: socket.socket,
    outbox: Outbox,
    sockets_pid: int | None,
) -> None:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(processes.connector, select.POLLIN)
    priority = Priority()
    tick_at = send_at = time.monotonic()
    while True:
        until = min(tick_at, send_at) if outbox else tick_at
        wait_s = min(until - time.monotonic(), SETTLE_S if processes.is_waiting else TICK_S)
        ready = dict(poll.poll(max(0.0, wait_s) * 1000))
        processes.work()
        if channel.fileno() in ready:
            processes.tick()
            outbox.finish()
            return
        now = time.monotonic()
        if now >= tick_at:
            tick_at = now + TICK_S
            priority.adjust()
            processes.tick()
            if sockets_pid is not None and os.waitpid(sockets_pid, os.WNOHANG)[0]:
                raise ChildProcessError("the process that watches sockets has ended")
        if now >= send_at and outbox:
            outbox.send()
            send_at = time.monotonic() + watch.interval_s


def watch_sockets(watch: Watch, channel: socket.socket) -> None:
    """Until the channel is closed."""
    outbox = Outbox("network", watch.queue_bytes, channel)
    Namespaces(watch, paths_of(watch), outbox).run(channel)


def paths_of(watch: Watch) -> CgroupPaths | None:
    return CgroupPaths(watch.cgroups_at, watch.own_cgroup) if watch.cgroups_at else None


def run(watch: Watch, channel: socket.socket) -> None:
    """Sockets are watched by a process of their own: looking through a dump takes milliseconds, in which
    short processes would come and go."""
    sockets_pid = None
    if set(watch.subjects) >= {"process", "network"}:
        sockets_pid = os.fork()
    if sockets_pid == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if sockets_pid == 0 or "process" not in watch.subjects:
        watch_sockets(watch, channel)
    else:
        try:
            watch_processes(watch, channel, sockets_pid)
        finally:
            _wait_for(sockets_pid)


def _wait_for(sockets_pid: int | None) -> None:
    """It ends with this process, whether or not it has sent what it has."""
    with suppress(ChildProcessError):
        if sockets_pid is not None:
            os.waitpid(sockets_pid, 0)


def main(channel: socket.socket) -> int:
    content = channel.recv(MESSAGE_BYTES)
    if content:
        with suppress(ConnectionError):
            run(decode_watch(content), channel)
    return 0


if __name__ == "__main__":
    sys.exit(main(socket.socket(fileno=int(sys.argv[1]))))
