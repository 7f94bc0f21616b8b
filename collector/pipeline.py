"""Inputs, filters and outputs: made of their configurations, begun, ended and replaced."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, cast

from collector import own_log, plugins
from collector.config.changes import Turnover
from collector.config.document import Document, PluginConfig
from collector.context import Context, InputContext
from collector.delivery.census import Census
from collector.delivery.chunk import Chunk
from collector.delivery.positions import PositionStores
from collector.delivery.retry import Backoff
from collector.delivery.router import TAGS_REMEMBERED, Route, Router
from collector.delivery.storage import open_storage
from collector.errors import ConfigError, OperatorError
from collector.filters.chain import Counts, FilterChain
from collector.identity.identity import Identity
from collector.identity.table import IdentityTable
from collector.inputs.made_chunks import chunks
from collector.plugin import AnyFilter, Input
from collector.processed_output import ProcessedOutput
from collector.record import Record
from collector.service.exposition import set_storage_gauges
from collector.service.fluent_bit_metrics import begin_at_zero
from collector.service.health import Health
from collector.service.metrics import Metrics
from collector.service.stalls import Stall, longest
from probes.starter import Starter

# A source that begins so is a filter that hands on by itself.
EMITTER = "emitter_for_"


@dataclass(slots=True)
class Rooms:
    """What the plugins share. `document` is the one that runs."""

    document: Document
    metrics: Metrics
    health: Health
    identities: IdentityTable
    node_id: bytes
    starter: Starter | None


class Working(Protocol):
    """An input, or a filter that hands records on by itself."""

    async def run(self, stop: asyncio.Event) -> None: ...


@dataclass(frozen=True, slots=True)
class Running:
    """A plugin at work. `stop` is its own."""

    stop: asyncio.Event
    task: asyncio.Task[None]

    @classmethod
    def begin(cls, plugin: Working, name: str, tasks: asyncio.TaskGroup) -> Running:
        stop = asyncio.Event()
        return cls(stop, tasks.create_task(plugin.run(stop), name=name))


class Made(NamedTuple):
    """An input, with the filters that are its processors, by name, and the chain that begins with them."""

    plugin: Input
    processors: dict[str, AnyFilter]
    chain: FilterChain


async def end(running: Sequence[Running], timeout_s: float) -> None:
    """They hand over what they hold. One that takes longer still starts, or waits for what will not come."""
    for one in running:
        one.stop.set()
    if running:
        await asyncio.wait([one.task for one in running], timeout=timeout_s)


class Pipeline:
    """Plugins by name, in the order of the configuration."""

    def __init__(self, rooms: Rooms) -> None:
        """Makes all of them; inputs begin to work with `begin`. Raises OperatorError."""
        document = rooms.document
        self._rooms = rooms
        self._seen_by = functools.lru_cache(TAGS_REMEMBERED)(self._names_of_filters)
        self._filters: dict[str, AnyFilter] = {
            one.name: make(one, self._context(one, document)) for one in document.filters
        }
        self.chain = FilterChain(list(self._filters.values()), self._count)
        storage = open_storage(document.service, metrics=rooms.metrics, log=own_log.part("storage"))
        self.stores = PositionStores(
            log=own_log.part("positions"),
            metrics=rooms.metrics,
            flush_s=document.service.flush_s,
            inherited=storage.spool.positions() if storage.spool else (),
        )
        self.router = Router(
            [self._route(one, document) for one in document.outputs],
            metrics=rooms.metrics,
            log=own_log.part("delivery"),
            record=self.stores.record,
            node=rooms.identities.node,
            backoff=backoff(document),
            source_limits=source_limits(document),
            memory_only=memory_only(document),
            flush_s=document.service.flush_s,
            spool=storage.spool,
            bounds=storage.bounds,
            rejected=storage.rejected,
            accepted=self._count_passed,
            report=rooms.health.report,
        )
        self.stores.spooling = self.router.spooling
        self._made: dict[str, Made] = self.make_inputs(document.inputs, document)
        self._begun: dict[str, Made] = {}
        self._inputs: dict[str, Running] = {}
        self._working_processors: dict[str, list[Running]] = {}  # by the input's name
        self._working_filters: dict[str, Running] = {}
        self._leaving: dict[str, AnyFilter] = {}
        self._had_chunks: tuple[str, ...] = ()
        self.phase: Literal["starting", "running", "stopping"] = "starting"
        count_from_zero(rooms.metrics, document)

    def _context(self, config: PluginConfig, document: Document) -> Context:
        rooms = self._rooms
        return Context(
            plugin=config,
            document=document,
            node=rooms.identities.node,
            node_id=rooms.node_id,
            log=own_log.part(config.name, config.log_level),
            metrics=rooms.metrics,
            identities=rooms.identities,
            report=rooms.health.report,
            send=self._send,
        )

    def _route(self, config: PluginConfig, document: Document) -> Route:
        output = make(config, self._context(config, document))
        if config.processors:
            made = {make(one, self._context(one, document)): one.name for one in config.processors}
            output = ProcessedOutput(
                output, list(made), lambda *what: self._count_as(made.__getitem__, *what)
            )
        return Route(config.name, output, config.matches, config.retry_limit, config.spool_limit_bytes)

    def _count(self, one: AnyFilter, counts: Counts) -> None:
        self._count_as(self._name_of, one, counts)

    def _count_as(self, name_of: Callable[[AnyFilter], str], one: AnyFilter, counts: Counts) -> None:
        name, add = name_of(one), self._rooms.metrics.add
        add("fluentbit_filter_drop_records_total", name, by=counts.dropped)
        add("fluentbit_filter_add_records_total", name, by=counts.added)
        add("fluentbit_filter_emit_records_total", name, by=counts.emitted)
        add("fluentbit_filter_bytes_total", name, by=counts.passed_bytes)
        add("fluentbit_filter_records_total", name, by=counts.passed + counts.dropped)
        for earlier in counts.before:
            add("fluentbit_filter_records_total", name_of(earlier), by=counts.dropped)

    def _count_passed(self, chunk: Chunk) -> None:
        """Filters that are folded into plans see no records: what is handed over went through all of them."""
        for name in self._seen_by(chunk.source, chunk.tag):
            self._rooms.metrics.add("fluentbit_filter_records_total", name, by=chunk.records)
            self._rooms.metrics.add("fluentbit_filter_bytes_total", name, by=len(chunk.entries))

    def _names_of_filters(self, source: str, tag: str) -> tuple[str, ...]:
        """Filters, and processors of the input, that records of this tag go through."""
        own = self._begun[source].processors if source in self._begun else {}
        emitter = source.removeprefix(EMITTER)
        found = ((name, one) for many in (own, self._filters) for name, one in many.items())
        return tuple(name for name, one in found if one.matches(tag) and name != emitter)

    def _name_of(self, one: AnyFilter) -> str:
        processors = [made.processors for made in self._begun.values()]
        known = (each for many in (self._filters, self._leaving, *processors) for each in many.items())
        return next(name for name, other in known if other is one)

    def _chain_of(self, one: AnyFilter) -> FilterChain:
        own = (
            made.chain
            for made in self._begun.values()
            if any(other is one for other in made.processors.values())
        )
        return next(own, self.chain)

    async def _send(
        self, emitter: AnyFilter, tag: str, records: Sequence[Record], identity: Identity | None
    ) -> None:
        """What a filter hands on later has no place in a file any more."""
        name = self._name_of(emitter)
        chain = self._chain_of(emitter)
        parts = [part for part in chain.emit(emitter, tag, records, identity) if part.records]
        for chunk in chunks(f"{EMITTER}{name}", parts, (os.urandom(16),)):
            await self.router.submit(chunk)

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Starts the inputs that were made and do not run yet, and filters that work by themselves."""
        self._seen_by.cache_clear()
        for name, made in self._made.items():
            self._begun[name] = made
            self._working_processors[name] = [
                Running.begin(cast(Working, one), own, tasks)
                for own, one in made.processors.items()
                if hasattr(one, "run")
            ]
            self._inputs[name] = Running.begin(made.plugin, name, tasks)
        self._made = {}
        self.phase = "running"
        for name, one in self._filters.items():
            if name not in self._working_filters and hasattr(one, "run"):
                self._working_filters[name] = Running.begin(cast(Working, one), name, tasks)

    async def end_inputs(self, timeout_s: float) -> None:
        """All of them, then their processors and the filters, which hand on what they hold."""
        self.phase = "stopping"
        await end(list(self._inputs.values()), timeout_s)
        await end([one for many in self._working_processors.values() for one in many], timeout_s)
        await end(list(self._working_filters.values()), timeout_s)

    def cancel(self) -> None:
        """Those that have not returned."""
        processors = (one for many in self._working_processors.values() for one in many)
        for one in (*self._inputs.values(), *processors, *self._working_filters.values()):
            one.task.cancel()

    # What can be seen

    def census(self) -> Census:
        """Of all chunks; every input that has or had one has its place."""
        census = self.router.census((*self._inputs, *self._had_chunks))
        self._had_chunks = tuple(census.sources)
        return census

    def stalls(self, now_s: float) -> Iterator[Stall]:
        """What does not go on. Inputs that have nothing to say have no `stalls`."""
        yield from self.router.stalls(now_s)
        for name in self._inputs:
            plugin, is_held_up = self._begun[name].plugin, self.router.holds_up(name)
            for stall in plugin.stalls(now_s) if hasattr(plugin, "stalls") else ():
                yield stall._replace(is_own=stall.is_own and not is_held_up)

    def set_gauges(self) -> None:
        """Brings gauges up to date; called before they are shown."""
        metrics, document = self._rooms.metrics, self._rooms.document
        self.router.set_gauges()
        set_storage_gauges(metrics, self.census())
        names = [one.name for one in (*document.inputs, *document.outputs)]
        for name, age_s in longest(self.stalls(time.monotonic()), names).items():
            metrics.set("podwitness_stalled_seconds", name, to=age_s)
        for name in self._inputs:
            metrics.set("fluentbit_input_ingestion_paused", name, to=self.router.holds_up(name))

    # Reload

    async def end_some(self, names: Sequence[str], timeout_s: float) -> None:
        """Inputs that go, and their processors. They are cut off when they take longer."""
        inputs = [self._inputs.pop(name) for name in names]
        processors = [one for name in names for one in self._working_processors.pop(name)]
        for ending in (inputs, processors):
            await end(ending, timeout_s)
            for one in ending:
                one.task.cancel()
        for name in names:
            del self._begun[name]

    def make_filters(self, document: Document, turnover: Turnover) -> dict[str, AnyFilter]:
        """Those of another configuration; one that is the same there goes on with what it remembers."""
        begun = {one.name for one in turnover.begun}
        return {
            one.name: make(one, self._context(one, document))
            if one.name in begun
            else self._filters[one.name]
            for one in document.filters
        }

    def make_routes(self, document: Document, turnover: Turnover) -> list[Route]:
        """Those of the outputs that begin."""
        return [self._route(one, document) for one in turnover.begun]

    async def set_filters(self, filters: dict[str, AnyFilter], timeout_s: float) -> None:
        """Other filters from now on; those that go hand on what they hold, to the new ones."""
        gone = [name for name, one in self._filters.items() if filters.get(name) is not one]
        before, self._filters = self._filters, filters
        self._seen_by.cache_clear()
        self.chain.replace(list(filters.values()))
        ending = [self._working_filters.pop(name) for name in gone if name in self._working_filters]
        self._leaving = {name: before[name] for name in gone}
        await end(ending, timeout_s)
        self._leaving = {}

    def make_inputs(self, configs: Sequence[PluginConfig], document: Document) -> dict[str, Made]:
        """Raises OperatorError."""
        return {one.name: self._make_input(one, document) for one in configs}

    def _make_input(self, config: PluginConfig, document: Document) -> Made:
        processors = {one.name: make(one, self._context(one, document)) for one in config.processors}
        chain = self.chain.behind(list(processors.values()))
        base = self._context(config, document)
        parts = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
        positions = functools.partial(self.stores.open, config.name)
        context = InputContext(
            **parts,
            intake=self.router,
            chain=chain,
            positions=positions,
            starter=self._rooms.starter,
        )
        return Made(make(config, context), processors, chain)

    def add_inputs(self, made: dict[str, Made]) -> None:
        """To be begun. Each goes on behind what is under way of an input of its name that has ended."""
        for name in made:
            self.stores.begin_behind(name, self.router.begun(name))
        self._made |= made


def backoff(document: Document) -> Backoff:
    return Backoff(document.service.retry_base_s, document.service.retry_cap_s)


def source_limits(document: Document) -> dict[str, int]:
    return {one.name: one.mem_buf_limit_bytes for one in document.inputs if one.mem_buf_limit_bytes}


def memory_only(document: Document) -> list[str]:
    """Inputs whose storage.type is memory."""
    return [one.name for one in document.inputs if not one.uses_spool]


def count_from_zero(metrics: Metrics, document: Document) -> None:
    begin_at_zero(
        metrics,
        inputs=[one.name for one in document.inputs],
        filters=[one.name for one in document.all_filters],
        outputs=[one.name for one in document.outputs],
    )


def make(config: PluginConfig, context: Context) -> Any:
    """The plugin that a section asks for. Raises OperatorError."""
    row = plugins.find(config.kind, config.plugin)
    assert row is not None  # the document was checked
    try:
        return row.load().make(config.settings, context)
    except ConfigError:
        raise
    except OperatorError as error:
        place = f"{config.section.place}: [{config.section.name}] {config.plugin}: "
        raise ConfigError(place + error.problem, error.consequence, error.remedy) from error
