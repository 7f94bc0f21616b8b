"""A receiver that has a chunk but for some records: those are told as lost, and the position moves on."""

from __future__ import annotations

import asyncio
import logging
import time

from collector.delivery.chunk import Chunk, FileKey, Position
from collector.delivery.losses import LOSS_TAG
from collector.delivery.router import Route, Router
from collector.entries import unpack_entries
from collector.plugin import Rejected
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.unit.chunks import chunk_of


class Picky:
    """Refuses one record of each chunk of logs."""

    def __init__(self) -> None:
        self.losses: list[dict[object, object]] = []

    async def deliver(self, chunk: Chunk) -> None:
        if chunk.tag == LOSS_TAG:
            self.losses += [dict(pairs) for _, pairs in unpack_entries(chunk.entries)]
            return
        raise Rejected("one is too old", bytes(chunk_of({"n": 1}).entries), 1)

    async def close(self) -> None:
        pass


def test_some_records_rejected() -> None:
    reached: list[int] = []
    metrics = Metrics(TABLE)
    output = Picky()
    made = chunk_of({"n": 0}, {"n": 1}, {"n": 2})
    position = Position(FileKey(1, 2), "/var/log/a", 100)
    chunk = Chunk(made.id, made.tag, made.entries, 3, "tail.0", time.monotonic_ns(), position, 100)

    async def scenario() -> None:
        router = Router(
            [Route("es.0", output, lambda tag: True)],
            metrics=metrics,
            log=logging.getLogger("test"),
            record=lambda source, position: reached.append(position.offset),
        )
        running = asyncio.create_task(router.run())
        await router.submit(chunk)
        await router.drain(5)
        await running

    asyncio.run(scenario())
    assert reached == [100]
    (loss,) = output.losses
    told = loss["podwitness"]
    assert isinstance(told, dict)
    assert (told["loss"]["cause"], told["loss"]["records"], told["loss"]["stream"]) == (
        "rejected",
        1,
        "kube.a",
    )
    assert told["loss"]["bytes"] == len(chunk_of({"n": 1}).entries)
    assert "path" not in told["loss"]
    counted = {name: metrics.value(name, "es.0") for name in
               ("fluentbit_output_proc_records_total", "fluentbit_output_dropped_records_total")}  # fmt: skip
    assert counted == {"fluentbit_output_proc_records_total": 3, "fluentbit_output_dropped_records_total": 1}
