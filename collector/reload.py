"""Another configuration while podwitness runs: checked whole, then put in place between two records.

What is the same in both goes on untouched: probes stay attached, files stay open,
queues stay as they are. All that can fail (reading, checking, making plugins)
happens before anything changes, so a configuration that can't be run changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector import own_log
from collector.config.changes import obstacles, turnover
from collector.config.schema import InvalidConfiguration
from collector.errors import OperatorError
from collector.pipeline import Pipeline, Rooms, backoff, count_from_zero, memory_only, source_limits
from collector.privilege import situation_of, wanted

if TYPE_CHECKING:
    from collector.config.changes import Turnover
    from collector.config.document import Document
    from collector.delivery.router import Route
    from collector.pipeline import Made
    from collector.plugin import AnyFilter

log = logging.getLogger("podwitness")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problems` are for the operator, one sentence or line each; none: the new configuration runs."""

    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """All that a reload puts in place, made and not yet in use."""

    document: Document
    inputs: Turnover
    outputs: Turnover
    made_inputs: dict[str, Made]
    filters: dict[str, AnyFilter]
    routes: list[Route]


class Reload:
    """Asked by a signal or over HTTP; one at a time, and questions that come meanwhile share the next."""

    def __init__(
        self, rooms: Rooms, pipeline: Pipeline, tasks: asyncio.TaskGroup, read: Callable[[], Document]
    ) -> None:
        self._rooms = rooms
        self._pipeline = pipeline
        self._tasks = tasks
        self._read = read
        self._next: asyncio.Future[Outcome] | None = None
        self._working: asyncio.Task[None] | None = None
        self._is_closed = False
        self.count = 0

    @property
    def is_offered(self) -> bool:
        """Whether it may be asked for over HTTP."""
        return self._rooms.document.service.hot_reload

    def on_signal(self, number: signal.Signals) -> None:
        asyncio.get_running_loop().add_signal_handler(number, self.ask)

    def ask(self) -> asyncio.Future[Outcome]:
        """The outcome of a reload that begins from now on."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        asked = self._next
        if self._is_closed:
            asked.set_result(Outcome(("podwitness is stopping.",)))
        elif self._working is None:
            self._working = self._tasks.create_task(self._work(), name="reload")
        return asked

    async def close(self) -> None:
        """None begins any more; the one at work is awaited, since it has inputs in its hands."""
        self._is_closed = True
        if self._working is not None:
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        while self._next is not None:
            asked, self._next = self._next, None
            outcome = await self._reload()
            self._note(outcome)
            if not asked.done():
                asked.set_result(outcome)
        self._working = None

    def _note(self, outcome: Outcome) -> None:
        metrics = self._rooms.metrics
        if not outcome.problems:
            self.count += 1
            metrics.set("fluentbit_hot_reloaded_times", self._rooms.identities.node, to=self.count)
            log.info("reload: the new configuration runs")
            return
        metrics.add("podwitness_reload_failures_total")
        for problem in outcome.problems:
            log.error("reload: %s", problem)
        log.error("reload: the configuration stays as it was")

    async def _reload(self) -> Outcome:
        try:
            # Files and parsers: some ms, in which nothing else should wait.
            document = await asyncio.to_thread(self._read)
            problems = tuple(self._obstacles(document))
            if problems:
                return Outcome(problems)
            change = self._make(document)
        except InvalidConfiguration as error:
            return Outcome(tuple(str(problem) for problem in error.problems))
        except (OperatorError, OSError) as error:
            return Outcome((str(error),))
        await self._put_in_place(change)
        return Outcome()

    def _obstacles(self, document: Document) -> Iterator[str]:
        before = self._rooms.document
        yield from obstacles(before, document)
        asked, given = situation_of(document), situation_of(before)
        if asked.has_probes and not given.has_probes:
            yield "An input ebpf takes privileges that were given up at the start: restart podwitness."
        elif more := wanted("collector", asked) - wanted("collector", given):
            given_up = ", ".join(sorted(more))
            yield f"It takes capabilities that were given up at the start ({given_up}): restart podwitness."

    def _make(self, document: Document) -> Change:
        """Raises OperatorError."""
        before, pipeline = self._rooms.document, self._pipeline
        parsers_changed = before.parsers != document.parsers
        inputs = turnover(before.inputs, document.inputs, parsers_changed=parsers_changed)
        filters = turnover(before.filters, document.filters, parsers_changed=parsers_changed)
        outputs = turnover(before.outputs, document.outputs)
        return Change(
            document,
            inputs,
            outputs,
            pipeline.make_inputs(inputs.begun, document),
            pipeline.make_filters(document, filters),
            pipeline.make_routes(document, outputs),
        )

    async def _put_in_place(self, change: Change) -> None:
        document, pipeline = change.document, self._pipeline
        await pipeline.end_some(change.inputs.ended, document.service.grace_s)
        await pipeline.set_filters(change.filters, document.service.grace_s)
        router = pipeline.router
        router.reroute([one.name for one in document.outputs], change.routes, document.service.grace_s)
        router.configure(
            backoff(document), source_limits(document), memory_only(document), document.service.flush_s
        )
        self._rooms.health.configure(document.service)
        self._rooms.document = document
        own_log.set_level(document.service.log_level)
        count_from_zero(self._rooms.metrics, document)
        pipeline.add_inputs(change.made_inputs)
        pipeline.begin(self._tasks)
