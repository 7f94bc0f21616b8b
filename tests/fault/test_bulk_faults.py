"""Router and bulk output against a server that refuses, in every way that one can.

What must hold: every record that the server would ever take is stored, once, and what it will never take is
told as lost, record by record; a position moves only when both are so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from typing import Any

import pytest

from collector.delivery.chunk import Chunk, FileKey, Position, chunk_id
from collector.delivery.retry import Backoff
from collector.delivery.router import Route, Router
from collector.entries import pack_entry
from collector.outputs.bulk import Bulk, BulkSettings
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.web_server import Answer, Request, WebServer, serving

RECORDS_A_CHUNK, CHUNKS = 10, 60


class Store:
    """Keeps documents by id; each request has its own misfortune, and each tenth record is never taken."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.documents: dict[str, int] = {}
        self.stored = 0

    def answer(self, request: Request) -> Answer:
        mishap = self.source.random()
        if mishap < 0.1:
            return Answer(self.source.choice((429, 500, 503)))
        if mishap < 0.2:
            return Answer(hang_up=True)
        items = [self._store(*lines) for lines in _pairs(request.body)]
        body = json.dumps({"errors": any(one["create"]["status"] >= 300 for one in items), "items": items})
        if mishap < 0.3:
            return Answer(hang_up=True)  # stored, but the answer is lost
        return Answer(200, b"<html>" if mishap < 0.35 else body.encode())

    def _store(self, action: bytes, document: bytes) -> dict[str, dict[str, Any]]:
        ident, number = json.loads(action)["create"]["_id"], json.loads(document)["n"]
        if number % 10 == 3:
            return {"create": {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "n"}}}
        if self.source.random() < 0.2:
            return {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception"}}}
        if ident in self.documents:
            return {"create": {"status": 409, "error": {"type": "version_conflict_engine_exception"}}}
        self.documents[ident] = number
        self.stored += 1
        return {"create": {"status": 201}}


def _pairs(body: bytes) -> list[tuple[bytes, bytes]]:
    lines = body.splitlines()
    return list(zip(lines[::2], lines[1::2], strict=True))


def chunk(number: int) -> Chunk:
    path = f"/var/log/{number % 3}"
    entries = b"".join(
        pack_entry(10**18 + n, [("n", n)])
        for n in range(number * RECORDS_A_CHUNK, (number + 1) * RECORDS_A_CHUNK)
    )
    position = Position(FileKey(1, number % 3), path, number + 1)
    ident = chunk_id(path, number)
    return Chunk(ident, path, entries, RECORDS_A_CHUNK, "tail.0", time.monotonic_ns(), position)


@pytest.mark.parametrize("seed", range(4))
def test_every_record_is_stored_once_or_told(seed: int) -> None:
    offsets: dict[str, int] = {}
    whole = {f"/var/log/{n}": CHUNKS - 3 + n + 1 for n in range(3)}
    store, metrics = Store(seed), Metrics(TABLE)

    async def scenario() -> None:
        delivered = asyncio.Event()

        def record(source: str, position: Position) -> None:
            offsets[position.path] = position.offset
            if offsets == whole:
                delivered.set()

        async with serving(WebServer(store.answer)) as server:
            settings = BulkSettings(port=server.port, generate_id=True, response_timeout_s=5.0)
            router = Router(
                [Route("es.0", Bulk(settings, logging.getLogger("test")), lambda tag: tag[0] == "/", None)],
                metrics=metrics,
                log=logging.getLogger("test"),
                record=record,
                backoff=Backoff(0.001, 0.01),
            )
            running = asyncio.create_task(router.run())
            for number in range(CHUNKS):
                await router.submit(chunk(number))
            await asyncio.wait_for(delivered.wait(), 60)
            await router.drain(5)
            await running

    asyncio.run(scenario())
    wanted = {n for n in range(CHUNKS * RECORDS_A_CHUNK) if n % 10 != 3}
    assert set(store.documents.values()) == wanted
    assert store.stored == len(wanted)
    assert metrics.value("podwitness_lost_records_total", "rejected") == CHUNKS
    assert metrics.value("fluentbit_output_proc_records_total", "es.0") == len(wanted)
