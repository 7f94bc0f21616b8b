"""Takes parcels to outputs, again where that failed, and gives them up by Fluent Bit's rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from collector.delivery.chunk import Chunk, chunk_id
from collector.delivery.lanes import Parcel
from collector.delivery.losses import chunk_loss
from collector.delivery.outlet import Outlet
from collector.delivery.rejected import RejectedFolder
from collector.delivery.retry import Backoff, may_retry
from collector.delivery.telling import Telling
from collector.plugin import DeliveryError, Rejected
from collector.service.metrics import Metrics

# How soon a failed delivery is tried again once the daemon is ending.
DRAIN_RETRY_S = 0.5


class Courier:
    """`release` is called with every parcel that an output is through with."""

    def __init__(
        self,
        release: Callable[[Outlet, Parcel], None],
        telling: Telling,
        backoff: Backoff,
        rejected: RejectedFolder | None,
        *,
        metrics: Metrics,
    ) -> None:
        self._release = release
        self._telling = telling
        self._backoff = backoff
        self._rejected = rejected
        self._metrics = metrics
        self._is_hurried = False

    def hurry(self, outlets: Iterable[Outlet]) -> None:
        """The end is near: what waits to be tried again is tried now, and nothing is given up any more."""
        self._is_hurried = True
        for outlet in outlets:
            outlet.try_all_again()

    def back_off(self, backoff: Backoff) -> None:
        """Other waits from now on."""
        self._backoff = backoff

    async def work(self, outlet: Outlet) -> None:
        """Until cancelled, or the outlet has another output. Raises what outputs raise beyond their two."""
        output = outlet.route.output
        while True:
            parcel = await outlet.next()
            if outlet.route.output is not output:
                outlet.give_back(parcel)
                return
            try:
                with outlet.delivering(output):
                    await output.deliver(parcel.chunk)
            except asyncio.CancelledError:
                outlet.give_back(parcel)
                raise
            except Rejected as reason:
                await self._refused(outlet, parcel, reason)
            except DeliveryError as reason:
                await self._failed(outlet, parcel, str(reason))
            else:
                self._delivered(outlet, parcel)
            if outlet.lanes.ready:
                # A receiver that is never slower than we are would otherwise keep the loop to itself.
                await asyncio.sleep(0)

    async def _refused(self, outlet: Outlet, parcel: Parcel, reason: Rejected) -> None:
        """All of it, or some records."""
        name, chunk = outlet.route.name, parcel.chunk
        self._metrics.add("fluentbit_output_errors_total", name)
        outlet.fails(str(reason))
        if not reason.records:
            await self._give_up(outlet, parcel, "rejected", str(reason))
            return
        part = replace(chunk, id=chunk_id(chunk.id, reason.entries), entries=reason.entries)
        if not any(self._telling.is_telling(ticket) for ticket in parcel.tickets):
            # Which bytes of a file they were is not known.
            part = replace(part, records=reason.records, position=None)
            await self._keep(part, name, str(reason))
            self._telling.report(chunk_loss(part, "rejected", name))
        self._taken(outlet, parcel, chunk.records - reason.records, len(reason.entries))

    async def _keep(self, chunk: Chunk, output: str, reason: str) -> None:
        if self._rejected is not None:
            await self._rejected.keep(chunk, output, reason)

    def _delivered(self, outlet: Outlet, parcel: Parcel) -> None:
        outlet.works()
        self._taken(outlet, parcel, parcel.chunk.records)

    def _taken(self, outlet: Outlet, parcel: Parcel, records: int, bytes_refused: int = 0) -> None:
        name = outlet.route.name
        self._metrics.add("fluentbit_output_proc_records_total", name, by=records)
        self._metrics.add(
            "fluentbit_output_proc_bytes_total", name, by=len(parcel.chunk.entries) - bytes_refused
        )
        now_ns = time.monotonic_ns()
        for ticket in parcel.tickets:
            ticket.delivered += 1
            age_s = max(0.0, (now_ns - ticket.chunk.created_ns) / 1e9)
            self._metrics.observe("fluentbit_output_latency_seconds", ticket.chunk.source, name, value=age_s)
        self._release(outlet, parcel)

    async def _failed(self, outlet: Outlet, parcel: Parcel, reason: str) -> None:
        name = outlet.route.name
        outlet.fails(reason)
        if not self._is_hurried:
            parcel.failures += 1
            if not may_retry(parcel.failures, outlet.route.retry_limit):
                self._metrics.add("fluentbit_output_retries_failed_total", name)
                await self._give_up(outlet, parcel, "retry_limit", reason)
                return
        self._metrics.add("fluentbit_output_retries_total", name)
        self._metrics.add("fluentbit_output_retried_records_total", name, by=parcel.chunk.records)
        wait_s = DRAIN_RETRY_S if self._is_hurried else self._backoff.wait_s(parcel.failures)
        loop = asyncio.get_running_loop()
        parcel.is_sending = False
        outlet.held[parcel] = loop.call_later(wait_s, outlet.try_again, parcel)

    async def _give_up(self, outlet: Outlet, parcel: Parcel, cause: str, reason: str) -> None:
        name = outlet.route.name
        if not self._telling.is_telling(parcel.tickets[0]):
            await self._keep(parcel.chunk, name, reason)
        for ticket in parcel.tickets:
            if not self._telling.is_telling(ticket):
                self._telling.report(chunk_loss(ticket.chunk, cause, name))
        self._release(outlet, parcel)
