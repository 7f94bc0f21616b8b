"""The sockets of all network namespaces that may be entered: dumped now and then, heard of when they end."""

from __future__ import annotations

import os
import select
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from probes import netns
from probes.cgroup_paths import CgroupPaths
from probes.netlink_exchange import Watch
from probes.netlink_sockets import MAX_SOCKETS, NamespaceSockets, Owners
from probes.outbox import Outbox
from probes.process_files import ProcessFiles, ProcessGone, processes
from probes.sock_diag import DestroyedSockets, SocketDump

MAX_NAMESPACES = 1024
# A round of dumps takes at most this part of the time: a machine with many sockets is looked at less often.
WORK_SHARE = 0.05
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL = range(32768, 61000)
ONLY_OWN = (
    "only podwitness' own connections are seen: SYS_ADMIN and SYS_PTRACE let it enter other network "
    "namespaces; with hostNetwork it sees the node's without"
)


@dataclass(slots=True)
class _Watched:
    table: NamespaceSockets
    dump: SocketDump
    destroyed: DestroyedSockets
    dropped: int = 0

    def close(self) -> None:
        self.dump.close()
        self.destroyed.close()


class Namespaces:
    """Puts into `outbox` what happens, until the channel is closed."""

    def __init__(self, watch: Watch, cgroups: CgroupPaths | None, outbox: Outbox) -> None:
        self._watch = watch
        self._outbox = outbox
        self._cgroups = cgroups
        self._owners = Owners(cgroups)
        self._watched: dict[int, _Watched] = {}
        self._refused: dict[int, str] = {}  # namespace -> why
        self._node, self._own = netns.node(), netns.namespace_of("thread-self")
        self._ephemeral = _ephemeral_ports()
        self._is_first_look = True
        self._hidden = 0  # processes that may not be looked at
        self._by_descriptor: dict[int, _Watched] = {}
        self._poll = select.poll()

    def run(self, channel: socket.socket) -> None:
        """Raises ConnectionError when the channel is closed."""
        self._poll.register(channel, select.POLLIN)
        self.refresh()
        refresh_at = time.monotonic() + self._watch.refresh_s
        while True:
            self._outbox.send()
            wait_s = self._watch.interval_s if self._outbox else refresh_at - time.monotonic()
            for descriptor, _ in self._poll.poll(max(0.0, wait_s) * 1000):
                if descriptor == channel.fileno():
                    self._outbox.finish()
                    return
                self._hear(self._by_descriptor[descriptor])
            started = time.monotonic()
            if started >= refresh_at:
                self.refresh()
                took_s = time.monotonic() - started
                refresh_at = time.monotonic() + max(self._watch.refresh_s, took_s / WORK_SHARE)

    def refresh(self) -> None:
        """Finds new namespaces, and what is new in each."""
        present = self._present()
        for net_ns in [known for known in self._watched if known not in present]:
            self._leave(net_ns)
        self._refused = {net_ns: why for net_ns, why in self._refused.items() if net_ns in present}
        for net_ns, pid in present.items():
            if net_ns not in self._watched:
                self._enter(net_ns, pid)
        for watched in self._watched.values():
            self._look(watched)
        self._is_first_look = False
        self._tell_refused()

    def _present(self) -> dict[int, int]:
        """Namespace -> a process in it, process 1 and the first of each first."""
        found: dict[int, int] = {}
        self._hidden = 0
        for pid in processes():
            try:
                found.setdefault(netns.namespace_of(pid), pid)
            except PermissionError:
                self._hidden += 1
            except OSError:
                continue
        return found or {self._own: os.getpid()}

    def _enter(self, net_ns: int, pid: int) -> None:
        if len(self._watched) >= MAX_NAMESPACES:
            self._refused[net_ns] = f"there are more than {MAX_NAMESPACES}"
            return
        try:
            if net_ns == self._own:
                destroyed, dump = self._open()
            else:
                with netns.inside(pid):
                    destroyed, dump = self._open()
        except OSError as error:
            self._refused[net_ns] = error.strerror or str(error)
            return
        self._refused.pop(net_ns, None)
        fallback = (0, "") if net_ns == self._node else self._cgroup_of(pid)
        table = NamespaceSockets(
            net_ns, self._owners.find, fallback, self._ephemeral, is_old=self._is_first_look
        )
        watched = self._watched[net_ns] = _Watched(table, dump, destroyed)
        self._by_descriptor[destroyed.fileno()] = watched
        self._poll.register(destroyed, select.POLLIN)

    def _open(self) -> tuple[DestroyedSockets, SocketDump]:
        """Ends are heard of before the first dump, so that nothing falls between."""
        destroyed = DestroyedSockets(receive_bytes=self._watch.receive_bytes)
        try:
            return destroyed, SocketDump()
        except OSError:
            destroyed.close()
            raise

    def _cgroup_of(self, pid: int) -> tuple[int, str]:
        if self._cgroups is None:
            return 0, ""
        try:
            with ProcessFiles(pid) as files:
                return self._cgroups.find(files.cgroup() or "/")
        except ProcessGone:
            return 0, ""

    def _leave(self, net_ns: int) -> None:
        """Our sockets in it would keep it alive for ever."""
        watched = self._watched.pop(net_ns)
        self._hear(watched)
        self._count_dropped(watched)
        self._poll.unregister(watched.destroyed)
        del self._by_descriptor[watched.destroyed.fileno()]
        watched.close()

    def _hear(self, watched: _Watched) -> None:
        while (received := watched.destroyed.receive()) is not None:
            ended, was_overrun = received
            if was_overrun:
                watched.table.overrun()
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            seen = (watched.table.destroyed(one, now_ns) for one in ended)
            self._outbox.put(one for one in seen if one is not None)

    def _look(self, watched: _Watched) -> None:
        try:
            found = watched.dump.read()
        except OSError as error:
            self._refused[watched.table.net_ns] = error.strerror or str(error)
            return
        room = MAX_SOCKETS - sum(len(one.table) for one in self._watched.values())
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        begun, excess = watched.table.dumped(found, now_ns, room)
        self._outbox.put(begun)
        if self._is_first_look and self._watch.tells_state:
            self._outbox.put_late(watched.table.present(now_ns))
        self._outbox.lost("any", "table_full", excess)
        self._count_dropped(watched)

    def _count_dropped(self, watched: _Watched) -> None:
        dropped = watched.destroyed.dropped()
        self._outbox.lost("any", "netlink_overrun", dropped - watched.dropped)
        watched.dropped = dropped

    def _tell_refused(self) -> None:
        is_seen = bool(set(self._watched) - ({self._own} - {self._node}))
        said = [] if is_seen else [ONLY_OWN]
        if self._refused:
            reasons = ", ".join(sorted(set(self._refused.values())))
            said.append(f"{len(self._refused)} network namespaces can't be entered ({reasons})")
        if self._hidden:
            said.append(f"{self._hidden} processes hide their network namespace (SYS_PTRACE)")
        self._outbox.part(is_seen, "; ".join(said))


def _ephemeral_ports() -> range:
    try:
        low, high = map(int, _PORTS.read_text().split())
    except (OSError, ValueError):
        return _EPHEMERAL
    return range(low, high + 1)
