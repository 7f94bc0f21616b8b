"""The filters of a configuration, in their order, as inputs use them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from collector.delivery.chunk import Packed
from collector.entries import count
from collector.identity.identity import Identity
from collector.plan import EventPlan, LogPlan
from collector.plugin import AnyFilter, LogSource
from collector.record import Record, packed, records_of

Rest = tuple[AnyFilter, ...]
"""Filters that have to see the records of a stream."""


class Tagged(NamedTuple):
    """Entries of one tag."""

    tag: str
    entries: Packed
    records: int


class _Stretch(NamedTuple):
    """Records on their way: their tag, the filters before them, and those that may not see them again."""

    tag: str
    records: list[Record]
    rest: Rest
    emitters: frozenset[int]  # ids of filters


class Counts(NamedTuple):
    """What a filter made of a portion. `before`: filters that had seen what it dropped; `passed` are records
    that went on to the end, of so many bytes."""

    dropped: int = 0
    added: int = 0
    emitted: int = 0
    before: Rest = ()
    passed: int = 0
    passed_bytes: int = 0


class FilterChain:
    """Folds filters into plans as far as they are constant, and applies the rest to records.

    The first filter that can't be folded ends a plan: it and all that follow
    work on what the plan made.
    """

    def __init__(
        self,
        filters: Sequence[AnyFilter],
        counted: Callable[[AnyFilter, Counts], None] = lambda *_: None,
    ) -> None:
        self._filters = tuple(filters)
        self._counted = counted
        self.changed: list[Callable[[], None]] = []
        """Called when plans that were made are no longer those of the filters."""

    def behind(self, processors: Sequence[AnyFilter]) -> FilterChain:
        """The chain of one input that has processors: they see its records before these filters."""
        return _InputChain(processors, self, self._counted) if processors else self

    def replace(self, filters: Sequence[AnyFilter]) -> None:
        """Other filters from now on, for every input at once."""
        self._filters = tuple(filters)
        for listener in tuple(self.changed):
            listener()

    def log_plan(self, source: LogSource, plan: LogPlan) -> tuple[LogPlan, Rest]:
        """The plan of a followed file, and the filters for its records."""
        matching = self._matching(source.tag)
        for number, one in enumerate(matching):
            folded = one.fold_log(plan, source)
            if folded is None:
                return plan, matching[number:]
            plan = folded
        return plan, ()

    def is_waiting(self, source: LogSource, waited_s: float) -> bool:
        """Whether records of a file should wait, since a filter is about to learn what belongs to them."""
        asked = (getattr(one, "is_waiting", None) for one in self._matching(source.tag))
        return any(is_waiting(source, waited_s) for is_waiting in asked if is_waiting)

    async def ready(self, tag: str) -> None:
        """Returns when filters know what they can find out about a tag from elsewhere, soon in any case."""
        for one in self._matching(tag):
            ready = getattr(one, "ready", None)
            if ready is not None:
                await ready(tag)

    def event_plan(self, tag: str, plan: EventPlan, identity: Identity) -> tuple[EventPlan, Rest]:
        """The same for the kernel events of one container, or of the host."""
        matching = self._matching(tag)
        for number, one in enumerate(matching):
            folded = one.fold_event(plan, tag, identity)
            if folded is None:
                return plan, matching[number:]
            plan = folded
        return plan, ()

    def record_plan(self, tag: str) -> tuple[EventPlan, Rest]:
        """The same for records made in Python, where there is nothing to fold into."""
        return EventPlan(), self._matching(tag)

    def apply(self, rest: Rest, tag: str, entries: Packed, identity: Identity | None) -> list[Tagged]:
        """What the filters leave, of this tag first (it may be nothing), then of those that they made.

        Raises ValueError for what are no entries.
        """
        if not rest:
            return [Tagged(tag, entries, count(entries))]
        return self._work(_Stretch(tag, list(records_of(entries)), rest, frozenset()), identity)

    def emit(
        self, emitter: AnyFilter, tag: str, records: Sequence[Record], identity: Identity | None
    ) -> list[Tagged]:
        """The same for records that a filter hands on later, by itself."""
        stretch = _Stretch(tag, list(records), self._after(emitter, tag), frozenset((id(emitter),)))
        return self._work(stretch, identity)

    def _after(self, emitter: AnyFilter, tag: str) -> Rest:
        """What records of this tag go through that a filter hands on later."""
        return self._matching(tag)

    def _again(self, tag: str) -> Rest:
        """What records go through that a filter gave this tag."""
        return self._matching(tag)

    def _work(self, first: _Stretch, identity: Identity | None) -> list[Tagged]:
        done: dict[str, list[Record]] = {first.tag: []}
        waiting = deque((first,))
        while waiting:
            stretch = waiting.popleft()
            emitted: list[_Stretch] = []
            done.setdefault(stretch.tag, []).extend(self._pass(stretch, identity, emitted))
            waiting.extend(emitted)
        return [Tagged(tag, packed(records), len(records)) for tag, records in done.items()]

    def _pass(self, stretch: _Stretch, identity: Identity | None, emitted: list[_Stretch]) -> list[Record]:
        records = stretch.records
        for one in stretch.rest:
            if not records:
                break
            if id(one) in stretch.emitters:
                continue
            made: dict[str, list[Record]] = {}
            before = len(records)
            records = self._apply_one(one, stretch.tag, records, identity, made)
            emitted += self._stretches(one, stretch, made)
            emitted_records = sum(map(len, made.values()))
            changed = len(records) - before
            if changed or emitted_records:
                earlier = self._earlier(one, stretch) if changed < 0 else ()
                self._counted(one, Counts(max(-changed, 0), max(changed, 0), emitted_records, earlier))
        return records

    def _earlier(self, one: AnyFilter, stretch: _Stretch) -> Rest:
        """Those that these records have gone through, folded ones too."""
        matching = self._matching(stretch.tag)
        return matching[: matching.index(one)] if one in matching else ()

    def _apply_one(
        self,
        one: AnyFilter,
        tag: str,
        records: list[Record],
        identity: Identity | None,
        made: dict[str, list[Record]],
    ) -> list[Record]:
        apply_batch = getattr(one, "apply_batch", None)
        if apply_batch is not None:

            def emit(new_tag: str, record: Record) -> None:
                made.setdefault(new_tag, []).append(record)

            found: list[Record] = apply_batch(tag, records, identity, emit)
            return found
        return list(_one_by_one(one, tag, records, identity))

    def _stretches(
        self, emitter: AnyFilter, stretch: _Stretch, made: dict[str, list[Record]]
    ) -> Iterable[_Stretch]:
        emitters = stretch.emitters | {id(emitter)}
        for tag, records in made.items():
            yield _Stretch(tag, [one.like(list(one.pairs)) for one in records], self._again(tag), emitters)

    def _matching(self, tag: str) -> Rest:
        return tuple(one for one in self._filters if one.matches(tag))


class _InputChain(FilterChain):
    """Processors, then the filters of another chain, whatever they are at the time."""

    def __init__(
        self,
        processors: Sequence[AnyFilter],
        filters: FilterChain,
        counted: Callable[[AnyFilter, Counts], None],
    ) -> None:
        super().__init__(processors, counted)
        self._behind = filters
        self.changed = filters.changed

    def _matching(self, tag: str) -> Rest:
        return (*self._filters, *self._behind._matching(tag))

    def _after(self, emitter: AnyFilter, tag: str) -> Rest:
        """Processors that stand behind it have not seen them. (In Fluent Bit they never do.)"""
        place = next(number for number, one in enumerate(self._filters, 1) if one is emitter)
        return (*self._filters[place:], *self._again(tag))

    def _again(self, tag: str) -> Rest:
        """The filters only: what has another tag is no longer of this input, as in Fluent Bit."""
        return self._behind._matching(tag)


def _one_by_one(
    one: AnyFilter, tag: str, records: Iterable[Record], identity: Identity | None
) -> Iterable[Record]:
    apply = one.apply  # type: ignore[union-attr] # it is no BatchFilter
    for record in records:
        changed = apply(tag, record.pairs, identity)
        if changed is not None:
            record.pairs = changed
            yield record
