"""From what a drain gave to chunks: unknown cgroups, filters that must see records, batches by tag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.delivery.chunk import Chunk
from collector.native.event_kinds import Kind
from collector.native.events import Drained, Entries, EventEncoder
from collector.native.raw_records import RawRecord, split

if TYPE_CHECKING:
    from collector.filters.chain import FilterChain
    from collector.inputs.event_containers import ContainerPlans, EventContainers
    from collector.inputs.event_pending import Parked, Pending
    from collector.inputs.event_plans import SubjectPlan
    from collector.service.metrics import Metrics

# A chunk is handed over when it has this size, or when the ring is empty. One call of the encoder gives up to
# a MiB more. Receivers' limits for one message start at some megabytes.
CHUNK_BYTES = 512 << 10


@dataclass(slots=True)
class Batch:
    """Entries of one tag that are not handed over yet."""

    tag: str
    pieces: list[Entries] = field(default_factory=list)
    size_bytes: int = 0

    def add(self, entries: Entries) -> None:
        if entries.records:
            self.pieces.append(entries)
            self.size_bytes += len(entries.entries)

    def take(self) -> Iterator[Entries]:
        """All of it, in parts that end once they have CHUNK_BYTES."""
        part: list[Entries] = []
        part_bytes = 0
        pieces, self.pieces, self.size_bytes = self.pieces, [], 0
        for piece in pieces:
            part.append(piece)
            part_bytes += len(piece.entries)
            if part_bytes >= CHUNK_BYTES:
                yield _join(part)
                part, part_bytes = [], 0
        if part:
            yield _join(part)


def _join(part: list[Entries]) -> Entries:
    return Entries(b"".join(piece.entries for piece in part), sum(piece.records for piece in part))


class EventFlow:
    """Takes drains, gives chunks. Times are CLOCK_BOOTTIME ns."""

    def __init__(
        self,
        encoder: EventEncoder,
        containers: EventContainers,
        pending: Pending,
        chain: FilterChain,
        tags: Mapping[str, str],
        metrics: Metrics,
    ) -> None:
        self._encoder = encoder
        self._containers = containers
        self._pending = pending
        self._chain = chain
        self._metrics = metrics
        self._others: dict[str, Batch] = {}
        self._batches = {subject: Batch(tag) for subject, tag in tags.items()}

    def take(self, drained: Drained, now_ns: int) -> None:
        """One drain's records. A change of cgroups is noted before the next drain encodes."""
        self._count(drained)
        self._batches["process"].add(drained.process)
        self._batches["network"].add(drained.network)
        if drained.change is not None:
            self._containers.note(drained.change, now_ns)
        for record in split(drained.unknown):
            self.add(record, now_ns)
        if self._pending:
            self.settle(now_ns)

    def add(self, record: RawRecord, now_ns: int) -> None:
        """A record that is not encoded; settle() must follow."""
        self._pending.add(record.cgroup_id, Kind(record.kind).subject, record.bytes_padded, now_ns)

    def add_entries(self, subject: str, entries: Entries) -> None:
        self._batches[subject].add(entries)

    @property
    def gathered_bytes(self) -> int:
        """Not handed over yet."""
        return sum(batch.size_bytes for batch in self._batches.values())

    def settle(self, now_ns: int, *, all_now: bool = False) -> None:
        """Encodes records whose cgroup is known by now, and as unresolved those that waited long enough."""
        for cgroup_id in self._pending.cgroups():
            plans = self._containers.plans(cgroup_id, now_ns)
            if plans is not None:
                self._encode(cgroup_id, plans)
        for cgroup_id in self._pending.cgroups() if all_now else self._pending.due(now_ns):
            records = self._encode(cgroup_id, self._containers.give_up(cgroup_id, now_ns))
            self._metrics.add("podwitness_kernel_events_unresolved_total", by=records)
        self._metrics.set("podwitness_kernel_pending_bytes", to=self._pending.size_bytes)

    def chunks(self, make: Callable[[str, Entries], Chunk], *, least_bytes: int = 0) -> Iterator[Chunk]:
        """What has gathered, of each tag that has at least `least_bytes`."""
        for batch in self._batches.values():
            if batch.size_bytes >= least_bytes:
                yield from (make(batch.tag, part) for part in batch.take())
        others, self._others = self._others, {}
        for batch in others.values():
            yield from (make(batch.tag, part) for part in batch.take())

    def _encode(self, cgroup_id: int, plans: ContainerPlans) -> int:
        parked = self._pending.take(cgroup_id)
        assert parked is not None
        self._encode_subject(b"".join(parked.process), plans.process, "process")
        self._encode_subject(b"".join(parked.network), plans.network, "network")
        return _count_records(parked)

    def _encode_subject(self, records: bytes, plan: SubjectPlan, subject: str) -> None:
        batch = self._batches[subject]
        for encoded in self._encoder.encode(records, plan.fragment):
            entries = encoded.process if subject == "process" else encoded.network
            if not plan.rest:
                batch.add(entries)
                continue
            for part in self._chain.apply(plan.rest, batch.tag, entries.entries, plan.identity):
                self._batch_of(part.tag, batch).add(Entries(bytes(part.entries), part.records))

    def _batch_of(self, tag: str, own: Batch) -> Batch:
        """Records of a tag that a filter made are gathered apart, of few tags at a time."""
        if tag == own.tag:
            return own
        return self._others.setdefault(tag, Batch(tag))

    def _count(self, drained: Drained) -> None:
        for kind, count in drained.exempt.items():
            self._metrics.add("podwitness_kernel_events_exempt_total", kind.label, by=count)
        for kind, count in drained.events.items():
            self._metrics.add("podwitness_kernel_events_total", kind.label, by=count)


def _count_records(parked: Parked) -> int:
    return len(parked.process) + len(parked.network)
