"""From sock_diag's sockets to connections: what began between two dumps, and what was destroyed with which
counters. One table for each network namespace."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

import msgspec

from probes.cgroup_paths import CgroupPaths
from probes.process_files import ProcessFiles, ProcessGone, processes
from probes.sock_diag import Counters, State, TcpSocket

# About half a KiB each, of all namespaces together.
MAX_SOCKETS = 65536
# Open files looked at in one search for owners: 2 us each.
MAX_DESCRIPTORS = 20_000
_LINK = b"socket:["


class Owner(NamedTuple):
    """A process that has the socket open."""

    pid: int
    start_ns: int
    comm: bytes
    uid: int


class SocketSeen(msgspec.Struct, array_like=True):
    """What happened to a socket. Times are CLOCK_BOOTTIME ns."""

    action: str
    time_ns: int
    net_ns: int
    socket: TcpSocket
    role: str  # client, server, listener, unknown
    owner: Owner | None = None
    cgroup_id: int = 0
    cgroup_path: str = ""
    preexisting: bool = False
    counters: Counters | None = None

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return 1024


class _Known(NamedTuple):
    socket: TcpSocket
    role: str
    owner: Owner | None
    preexisting: bool


FindOwners = Callable[[Collection[TcpSocket]], dict[int, Owner]]


class NamespaceSockets:
    """The TCP sockets of one network namespace.

    `fallback_cgroup` (id and path) is whose a socket is that no dump has shown: the
    pod of the namespace, (0, "") in the host's. `ephemeral` are the ports that
    connect() takes. `is_old`: the namespace was there before the witness, and so what
    the first dump shows is not new.
    """

    def __init__(
        self,
        net_ns: int,
        find_owners: FindOwners,
        fallback_cgroup: tuple[int, str],
        ephemeral: range,
        *,
        is_old: bool,
    ) -> None:
        self.net_ns = net_ns
        self._find_owners = find_owners
        self._fallback = fallback_cgroup
        self._ephemeral = ephemeral
        self._known: dict[int, _Known] = {}
        self._listening: set[int] = set()
        self._is_first_look = is_old
        self._was_overrun = False

    def __len__(self) -> int:
        return len(self._known)

    def overrun(self) -> None:
        """Ends of sockets were lost: what the next dump does not show is gone."""
        self._was_overrun = True

    def dumped(self, found: Iterable[TcpSocket], now_ns: int, room: int) -> tuple[list[SocketSeen], int]:
        """What began since the last dump, and how many more there are than may be remembered.

        What is older than the witness is told by `present`.
        """
        shown = {one.cookie: one for one in found if one.state != State.SYN_SENT}
        if self._was_overrun:
            self._known = {cookie: known for cookie, known in self._known.items() if cookie in shown}
            self._was_overrun = False
        self._listening = {one.local[1] for one in shown.values() if one.state == State.LISTEN}
        new = [one for cookie, one in shown.items() if cookie not in self._known]
        excess = max(0, len(new) - room)
        del new[len(new) - excess :]
        owners = self._find_owners(new)
        begun = []
        for one in new:
            known = _Known(one, self._role(one), owners.get(one.inode), self._is_first_look)
            self._known[one.cookie] = known
            if not self._is_first_look:
                begun.append(self._seen(_beginning(known.role), now_ns, known))
        self._is_first_look = False
        return begun, excess

    def present(self, now_ns: int) -> Iterator[SocketSeen]:
        """What is older than the witness; without what has ended before it is asked for."""
        for cookie, known in list(self._known.items()):
            if known.preexisting and cookie in self._known:
                yield self._seen("listening" if known.role == "listener" else "connected", now_ns, known)

    def destroyed(self, one: TcpSocket, now_ns: int) -> SocketSeen | None:
        """Its end; None for a socket that was never connected."""
        known = self._known.pop(one.cookie, None)
        if known is None and not one.remote[1]:
            return None
        if known is None:
            known = _Known(one, self._role_at_end(one), None, False)
        counters = one.counters if one.counters and one.counters.segments_in else None
        if known.role == "listener":
            return self._seen("unlisten", now_ns, known)
        action = "close" if known.socket is not one or _was_connected(counters) else "connect-failed"
        return self._seen(action, now_ns, known, counters)

    def _seen(self, action: str, now_ns: int, known: _Known, counters: Counters | None = None) -> SocketSeen:
        cgroup_id, path = (known.socket.cgroup_id, "") if known.socket.cgroup_id else self._fallback
        return SocketSeen(
            action,
            now_ns,
            self.net_ns,
            known.socket,
            known.role,
            known.owner,
            cgroup_id,
            path,
            known.preexisting,
            counters,
        )

    def _role(self, one: TcpSocket) -> str:
        if one.state == State.LISTEN:
            return "listener"
        return "server" if one.local[1] in self._listening else "client"

    def _role_at_end(self, one: TcpSocket) -> str:
        """Of a socket that no dump has shown. The kernel counts a client's SYN as a byte acknowledged, and
        either's FIN as another."""
        if one.local[1] in self._listening:
            return "server"
        counters = one.counters
        if counters is not None:
            payload = counters.bytes_sent - counters.bytes_retransmitted
            if counters.bytes_acked == payload + 2:
                return "client"
        return "client" if one.local[1] in self._ephemeral else "unknown"


def _beginning(role: str) -> str:
    return {"listener": "listen", "server": "accept"}.get(role, "connect")


def _was_connected(counters: Counters | None) -> bool:
    """An answer to the SYN gives a round trip time, and a byte acknowledged to who sent it."""
    return counters is not None and bool(counters.rtt_us or counters.bytes_acked or counters.bytes_received)


class Owners:
    """Finds who has a socket open, by /proc/PID/fd: first among the processes of the socket's cgroup."""

    def __init__(self, cgroups: CgroupPaths | None) -> None:
        self._cgroups = cgroups

    def find(self, sockets: Collection[TcpSocket]) -> dict[int, Owner]:
        """By inode number. Those that are not found within MAX_DESCRIPTORS go without."""
        wanted = {one.inode for one in sockets if one.inode}
        found: dict[int, Owner] = {}
        budget = MAX_DESCRIPTORS
        for pid in self._candidates({one.cgroup_id for one in sockets if one.inode}) if wanted else ():
            budget = self._search(pid, wanted, found, budget)
            if budget <= 0 or not wanted:
                break
        return found

    def _candidates(self, cgroup_ids: Collection[int]) -> Iterable[int]:
        """Each once. A process may have moved to another cgroup since it made the socket."""
        seen: set[int] = set()
        for cgroup_id in cgroup_ids:
            path = self._cgroups.path_of(cgroup_id) if self._cgroups else None
            pids = self._cgroups.pids(path) if self._cgroups and path is not None else []
            yield from (pid for pid in pids if pid not in seen)
            seen.update(pids)
        yield from (pid for pid in processes() if pid not in seen)

    @staticmethod
    def _search(pid: int, wanted: set[int], found: dict[int, Owner], budget: int) -> int:
        """What is left of the budget. Takes out of `wanted` what it found."""
        try:
            with ProcessFiles(pid) as files:
                for _, link in files.descriptors():
                    budget -= 1
                    inode = int(link[len(_LINK) : -1]) if link.startswith(_LINK) else 0
                    if inode in wanted:
                        stat, ids = files.stat(), files.credentials()
                        found[inode] = Owner(pid, stat.start_ns, stat.comm, ids.effective_uid if ids else 0)
                        wanted.discard(inode)
        except ProcessGone:
            pass
        return budget
