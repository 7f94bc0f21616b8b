"""Takes parcels to outputs, again where that failed, and gives them up by Fluent Bit's rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

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
            for parcel in list(outlet.held):
                _try_again(outlet, parcel)

    async def work(self, outlet: Outlet) -> None:
        """Until cancelled. Raises what an output raises, but for its own two errors."""
        while True:
            parcel = await outlet.next()
            try:
                await outlet.route.output.deliver(parcel.chunk)
            except Rejected as reason:
                self._metrics.add("fluentbit_output_errors_total", outlet.route.name)
                outlet.fails(str(reason))
                await self._give_up(outlet, parcel, "rejected", str(reason))
            except DeliveryError as reason:
                await self._failed(outlet, parcel, str(reason))
            else:
                self._delivered(outlet, parcel)
            # A receiver that is never slower than we are would otherwise keep the loop to itself.
            await asyncio.sleep(0)

    def _delivered(self, outlet: Outlet, parcel: Parcel) -> None:
        name = outlet.route.name
        self._metrics.add("fluentbit_output_proc_records_total", name, by=parcel.chunk.records)
        self._metrics.add("fluentbit_output_proc_bytes_total", name, by=len(parcel.chunk.entries))
        outlet.works()
        for ticket in parcel.tickets:
            ticket.delivered += 1
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
        outlet.held[parcel] = loop.call_later(wait_s, _try_again, outlet, parcel)

    async def _give_up(self, outlet: Outlet, parcel: Parcel, cause: str, reason: str) -> None:
        name = outlet.route.name
        self._metrics.add("fluentbit_output_dropped_records_total", name, by=parcel.chunk.records)
        is_told = self._telling.is_telling(parcel.tickets[0])
        if self._rejected and not is_told:
            await self._rejected.keep(parcel.chunk, name, reason)
        for ticket in parcel.tickets:
            if not self._telling.is_telling(ticket):
                self._telling.report(chunk_loss(ticket.chunk, cause, name))
        self._release(outlet, parcel)


def _try_again(outlet: Outlet, parcel: Parcel) -> None:
    outlet.held.pop(parcel).cancel()
    outlet.lanes.again(parcel)
    outlet.wake()
