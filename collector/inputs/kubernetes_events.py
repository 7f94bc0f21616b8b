"""`[INPUT] Name kubernetes_events`: events of the cluster, as Fluent Bit's in_kubernetes_events tells them.

A list first, in pages; then a watch from the list's version on. The version up to
which the outputs have everything is kept in DB: a restart goes on from there, and
where the server has forgotten it (410 Gone) reads the list again and leaves out what
it had. In the API an event lives for an hour; what came and went meanwhile is gone.

Every agent that has this input tells all events: it is for one of the cluster, not
for each node.
"""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from collector.accessor import Accessor, read
from collector.config.kinds import Kind
from collector.config.schema import boolean, choice, integer, key, seconds, text
from collector.delivery.chunk import FileKey, Position, chunk_id
from collector.delivery.database import JOURNAL_HELP, LOCKING_HELP, SYNC_HELP, DatabaseModes
from collector.delivery.positions import JOURNAL_DEVICE
from collector.delivery.retry import Backoff
from collector.entries import pack_entry
from collector.inputs.cluster_events import (
    Event,
    is_newer,
    read_change,
    read_page,
    read_time_ns,
    time_ns_of,
    version_of,
)
from collector.inputs.made_chunks import chunks, filtered
from collector.inputs.under_way import UnderWay
from collector.kubernetes.access import SILENCE_S, ServerSettings
from collector.kubernetes.api import Api, read_url
from collector.kubernetes.list_watch import ListWatch, Resource, is_older, last_version
from collector.kubernetes.objects import Change, Page
from collector.kubernetes.outage import Outage
from collector.service.stalls import Stall

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Tells the events of the Kubernetes API. For one agent of the cluster: every one tells all of them."

PAGE = 500  # events of 1 to 2 KiB
LONGEST_WAIT_S = 60.0
# So long the watch may be silent before it is begun anew; all other waits are shorter.
QUIET_S = SILENCE_S

# Versions of a list that is not read to its end, some 80 bytes each; what is older than the last of them may
# be told again when the list begins anew.
TOLD = 50_000
_MEANING = "It is asked again; events older than an hour are gone by then."


@dataclass(frozen=True, slots=True)
class Settings(ServerSettings):
    """Keys of [INPUT] Name kubernetes_events."""

    kube_request_limit: int = key(
        "Kube_Request_Limit", integer(0), default="0", help="Events in a page of the list; 0: 500."
    )
    kube_retention_time_s: float = key(
        "Kube_Retention_Time", seconds, default="1h", help="Older events are left out."
    )
    kube_namespace: str = key("Kube_Namespace", text, default="", help="Events of this namespace only.")
    timestamp_key: Accessor | None = key(  # noqa: RUF009 - a field, not a shared default
        "Timestamp_Key",
        Kind("$key", read),
        default=None,
        help="Where an event's time is taken from first, such as `$eventTime`; else it is the first there is "
        "of lastTimestamp, firstTimestamp and metadata.creationTimestamp.",
    )
    interval_s: int = key(
        "Interval_Sec", integer(0), default="0", help="After what time it is connected again."
    )
    interval_ns: int = key("Interval_NSec", integer(0), default="500000000", help="And so many nanoseconds.")
    db: str = key("DB", text, default="", help="Where the place is kept over a restart; empty: it is not.")
    db_sync: str = key(
        "DB.Sync",
        choice("extra", "full", "normal", "off"),
        default="normal",
        help=SYNC_HELP,
    )
    db_locking: bool = key("DB.Locking", boolean, default="Off", help=LOCKING_HELP)
    db_journal_mode: str = key(
        "DB.journal_mode",
        choice("delete", "truncate", "persist", "memory", "wal", "off"),
        default="wal",
        help=JOURNAL_HELP,
    )

    @property
    def db_modes(self) -> DatabaseModes:
        return DatabaseModes(self.db_sync, self.db_journal_mode, self.db_locking)

    @property
    def backoff(self) -> Backoff:
        return Backoff(min(self.interval_s + self.interval_ns / 1e9, LONGEST_WAIT_S), LONGEST_WAIT_S)

    @property
    def path(self) -> str:
        """Of the list and the watch."""
        if not self.kube_namespace:
            return "/api/v1/events"
        return f"/api/v1/namespaces/{urllib.parse.quote(self.kube_namespace, safe='')}/events"


class KubernetesEvents:
    """The running input. `_version` is the one up to which all was handed over; "" before the first list."""

    def __init__(self, settings: Settings, context: InputContext, api: Api) -> None:
        self._settings = settings
        self._context = context
        self._api = api
        self._positions = context.positions(settings.db or None, settings.db_modes)
        self._key = FileKey(JOURNAL_DEVICE, int.from_bytes(chunk_id(context.name)[:8], "little"))
        known = self._positions.load(self._key)
        self._version = known.cursor if known is not None else ""
        self._since = ""  # of the list that is being read: what is not newer was told before
        self._told: dict[str, None] = {}  # versions of the list that is not read to its end
        self._handing = asyncio.Lock()
        self._taking = UnderWay(context.name, "part of the events")
        self._list_watch = ListWatch(
            api,
            Resource(
                "events",
                settings.path,
                "",
                settings.kube_request_limit or PAGE,
                read_page,
                read_change,
                has_bookmarks=False,
            ),
            self,
            version=self._version,
            outage=Outage(
                f"the API server at {api.url}", _MEANING, settings.backoff, self._report, context.log
            ),
            count=self._count,
            log=context.log,
        )

    def stalls(self, now_s: float) -> Iterable[Stall]:
        """Events that the outputs have no room for; else, whether nobody follows the API server."""
        yield from (waiting := list(self._taking.stalls(now_s)))
        turned_s = self._list_watch.turned_s
        if turned_s is not None and not waiting:
            age_s = max(0.0, now_s - turned_s - QUIET_S)
            yield Stall(self._context.name, "the API server's events are not followed", age_s, True)

    async def run(self, stop: asyncio.Event) -> None:
        working = asyncio.create_task(self._list_watch.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            async with self._handing:  # all or nothing of what was read
                working.cancel()
        finally:
            for one in (working, stopping):
                one.cancel()
            await asyncio.wait((working, stopping))
        if not working.cancelled():
            working.result()

    def begin_list(self) -> None:
        self._since = self._version

    async def take_page(self, page: Page[Event], version: str) -> None:
        """The place moves with the last page only: the list is in the order of names, so that of a part
        nothing can be said."""
        if is_older(page.version, self._since):
            # The server's store was restored from a backup: what it has now was told of nowhere.
            self._context.log.warning(
                "the API server's events are of version %s, which is before %s: all are told",
                page.version,
                self._since,
            )
            self._since = self._version = ""
        await self._hand_over(self._news(page), version)
        if version:
            self._told.clear()

    def _news(self, page: Page[Event]) -> list[Event]:
        """What was told neither before nor of this list, which may have failed halfway."""
        since = self._since
        news = [one for one in page.objects if not since or is_newer(version_of(one), since)]
        news = [one for one in news if version_of(one) not in self._told]
        self._told.update(dict.fromkeys(filter(None, map(version_of, news))))
        for version in list(islice(self._told, max(0, len(self._told) - TOLD))):
            del self._told[version]
        return news

    async def take_changes(self, changes: Sequence[Change[Event]]) -> None:
        news = [one.object for one in changes if one.object is not None]
        await self._hand_over(news, last_version(changes))

    def take_unreadable(self, reason: Exception) -> None:
        self._context.log.warning("the API server sent an event that can't be read: %s", reason)

    async def _hand_over(self, events: Iterable[Event], version: str) -> None:
        """`version` is the place behind them; "" and what is older: it stays."""
        async with self._handing:
            await self._submit(events, version)

    async def _submit(self, events: Iterable[Event], version: str) -> None:
        context, now_ns = self._context, time.time_ns()
        before, after = self._version, self._version
        if version and (not before or is_newer(version, before)):
            after = version
        packed = b"".join(self._packed(one, now_ns) for one in events)
        parts = filtered(context, context.plugin.tag, packed) if packed else []
        for chunk in chunks(
            context.name,
            parts,
            (context.name, before, after, packed),
            before=self._position(before),
            after=self._position(after),
            # Without a database nobody knows where to go on; with one the server forgets in an hour.
            vanishing=_always,
            gone=_never if self._settings.db else None,
        ):
            with self._taking.offered():
                await context.intake.submit(chunk)
        self._version = after

    def _packed(self, event: Event, now_ns: int) -> bytes:
        time_ns = time_ns_of(event, now_ns)
        pairs = list(event.items())
        if time_ns < now_ns - int(self._settings.kube_retention_time_s * 1e9):
            return b""
        own = self._settings.timestamp_key
        own_ns = read_time_ns(own.value(pairs)) if own else None
        try:
            return pack_entry(time_ns if own_ns is None else own_ns, pairs)
        except (ValueError, OverflowError) as reason:
            self._count("watch", "unreadable")
            self.take_unreadable(reason)
            return b""

    def _position(self, version: str) -> Position | None:
        if not version:
            return None
        offset = int(version) if version.isdecimal() else 0
        return Position(self._key, "kubernetes_events", offset & (1 << 63) - 1, cursor=version)

    def _count(self, request: str, result: str) -> None:
        self._context.metrics.add("podwitness_kubernetes_requests_total", self._context.name, request, result)

    def _report(self, ok: bool, reason: str) -> None:
        self._context.report(self._context.name, ok, reason)


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def make(settings: Settings, context: InputContext) -> Input:
    """Raises PositionsUnusable."""
    api = settings.access().api(read_url(settings.kube_url), context.log)
    return KubernetesEvents(settings, context, api)
