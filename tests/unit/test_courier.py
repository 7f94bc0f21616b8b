"""Taking parcels to an output: tried again, given up, kept as rejected."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import msgpack
import pytest

from collector.delivery.chunk import Chunk
from collector.delivery.courier import Courier
from collector.delivery.lanes import Parcel, Ticket
from collector.delivery.outlet import Outlet, Route
from collector.delivery.rejected import REASONS, SUFFIX, RejectedFolder
from collector.delivery.retry import Backoff
from collector.delivery.telling import Telling
from collector.plugin import Rejected
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.unit.routing import Recorder, chunk, everything, refuse, reject

LOG = logging.getLogger("test")


class Desk:
    """A courier with one output, and what it released."""

    def __init__(self, output: Recorder, retry_limit: int | None, rejected: Path | None = None) -> None:
        self.metrics = Metrics(TABLE)
        self.telling = Telling("node-1", metrics=self.metrics, log=LOG)
        folder = RejectedFolder(rejected, 1 << 20, metrics=self.metrics, log=LOG) if rejected else None
        self.outlet = Outlet(Route("out.0", output, everything, retry_limit), 1 << 20, LOG)
        self.released: list[Parcel] = []
        self.is_released = asyncio.Event()
        self.courier = Courier(self._release, self.telling, Backoff(60, 60), folder, metrics=self.metrics)

    def _release(self, outlet: Outlet, parcel: Parcel) -> None:
        outlet.lanes.done(parcel)
        self.released.append(parcel)
        self.is_released.set()

    async def deliver(self, one: Chunk) -> None:
        self.outlet.lanes.push(Ticket(one, 100, 1))
        working = asyncio.create_task(self.courier.work(self.outlet))
        async with asyncio.timeout(20):
            await self.is_released.wait()
        working.cancel()


def test_delivered() -> None:
    async def scenario() -> None:
        desk = Desk(Recorder(), 1)
        await desk.deliver(chunk(b"1"))
        assert [parcel.tickets[0].delivered for parcel in desk.released] == [1]
        assert desk.metrics.value("fluentbit_output_proc_records_total", "out.0") == 1

    asyncio.run(scenario())


def test_without_retries_it_is_given_up_at_once_and_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk(Recorder(behave=refuse), 0, tmp_path)
        await desk.deliver(chunk(b"\x92\x00\x80"))
        assert desk.metrics.value("podwitness_lost_records_total", "retry_limit") == 1

    asyncio.run(scenario())
    (kept,) = tmp_path.glob(f"*{SUFFIX}")
    assert msgpack.unpackb(kept.read_bytes())[:2] == ["kube.a", b"\x92\x00\x80"]
    assert json.loads((tmp_path / REASONS).read_text())["reason"] == "nobody listens"


def test_some_records_of_a_chunk_are_kept(tmp_path: Path) -> None:
    async def part(sent: Chunk) -> None:
        raise Rejected("too old", b"\x92\x01\x80", 1)

    async def scenario() -> None:
        desk = Desk(Recorder(behave=part), 0, tmp_path)
        await desk.deliver(chunk(b"\x92\x00\x80\x92\x01\x80"))
        assert desk.metrics.value("podwitness_lost_records_total", "rejected") == 1

    asyncio.run(scenario())
    (kept,) = tmp_path.glob(f"*{SUFFIX}")
    assert msgpack.unpackb(kept.read_bytes())[:2] == ["kube.a", b"\x92\x01\x80"]


@pytest.mark.parametrize("behave", [refuse, reject])
def test_at_the_end_nothing_waits_for_long(behave: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.delivery.courier.DRAIN_RETRY_S", 0.01)

    async def scenario() -> None:
        output = Recorder(behave=refuse)
        desk = Desk(output, None)
        delivering = asyncio.create_task(desk.deliver(chunk(b"1")))
        await output.wait_until(lambda: bool(output.tried))
        output.behave = None if behave is refuse else reject
        await asyncio.sleep(0)
        desk.courier.hurry([desk.outlet])
        await delivering
        assert len(output.tried) == 2

    asyncio.run(scenario())
