"""How fast the delivery room sends, beside a bare sender of the same bytes to the same counting sink.

The sink is a process of its own that reads and counts. The bare sender is a blocking
loop of `sendall` of ready-made messages: no router, no loop, no acks. Both send
whole chunks of a size that a busy node hands over.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import multiprocessing
import resource
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from collector.delivery.chunk import Chunk, FileKey, Position, chunk_id
from collector.delivery.router import Route, Router
from collector.entries import pack_entry
from collector.outputs.forward import ForwardOutput, Settings
from collector.outputs.forward_protocol import encode_message
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.bench.row import Row
from tests.certificates import Authority

CHUNK_BYTES = 1 << 20
TOTAL_BYTES = 1 << 30
TAGS = 20
READ_BYTES = 1 << 20


def run() -> list[Row]:
    """What `make bench` prints of this file."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority.make(Path(directory))
        for name, tls in (("plain", None), ("TLS", authority)):
            ours, bare = (_median(measure, tls) for measure in (_measure_ours, measure_bare))
            limit = "sendall of the same bytes"
            rows.append(Row(f"{name}: sent", ours.mb_per_s, "MB/s", limit, bare.mb_per_s))
            rows.append(Row(f"{name}: CPU", ours.cpu_s_per_gib, "CPU-s/GiB", limit, bare.cpu_s_per_gib))
    return rows


class Measured(NamedTuple):
    mb_per_s: float
    cpu_s_per_gib: float


Measure = Callable[[Authority | None], Measured]


def _median(measure: Measure, tls: Authority | None) -> Measured:
    return sorted(measure(tls) for _ in range(3))[1]


@contextmanager
def _stopwatch(results: list[Measured], total_bytes: int) -> Iterator[None]:
    def cpu_s() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    began_s, cpu_before_s = time.perf_counter(), cpu_s()
    yield
    took_s, cpu_took_s = time.perf_counter() - began_s, cpu_s() - cpu_before_s
    results.append(Measured(total_bytes / 1e6 / took_s, cpu_took_s * (1 << 30) / total_bytes))


@contextmanager
def _sink(tls: Authority | None) -> Iterator[tuple[int, Connection]]:
    """Port of the sink, and where it tells how many bytes a connection had, when that has ended."""
    own, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_count, args=(its, tls), daemon=True)
    process.start()
    try:
        yield own.recv(), own
    finally:
        process.terminate()
        process.join()


def _count(to: Connection, tls: Authority | None) -> None:
    context = tls.server_context() if tls else None
    buffer = bytearray(READ_BYTES)
    with socket.create_server(("127.0.0.1", 0)) as server:
        to.send(server.getsockname()[1])
        connection: socket.socket
        connection, _ = server.accept()
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        total = 0
        while count := connection.recv_into(buffer):
            total += count
        to.send(total)


def _chunks() -> list[Chunk]:
    record = pack_entry(10**18, [("log", "x" * 180), ("stream", "stdout"), ("n", 1)])
    entries = record * (CHUNK_BYTES // len(record))
    return [
        Chunk(
            chunk_id(number),
            f"kube.var.log.containers.pod-{number % TAGS}",
            entries,
            CHUNK_BYTES // len(record),
            "tail.0",
            time.monotonic_ns(),
            Position(FileKey(1, number % TAGS), f"/var/log/{number % TAGS}", number),
        )
        for number in range(TOTAL_BYTES // CHUNK_BYTES)
    ]


def measure_bare(tls: Authority | None) -> Measured:
    chunks = _chunks()
    results: list[Measured] = []
    with _sink(tls) as (port, told):
        sock: socket.socket = socket.create_connection(("127.0.0.1", port))
        if tls:
            context = ssl.create_default_context(cafile=str(tls.certificate))
            sock = context.wrap_socket(sock, server_hostname="localhost")
        with _stopwatch(results, TOTAL_BYTES):
            for chunk in chunks:
                for part in encode_message(chunk.tag, chunk.entries, None):
                    sock.sendall(part)
            sock.shutdown(socket.SHUT_WR)
            told.recv()
    return results[0]


def _measure_ours(tls: Authority | None) -> Measured:
    results: list[Measured] = []
    with _sink(tls) as (port, told):
        asyncio.run(_send_ours(port, told, tls, results))
    return results[0]


async def _send_ours(port: int, told: Connection, tls: Authority | None, results: list[Measured]) -> None:
    settings = dataclasses.replace(
        Settings(), port=port, tls=tls is not None, ca_file=str(tls.certificate) if tls else ""
    )
    log = logging.getLogger("bench")
    output = ForwardOutput(settings, log)
    output.deliveries = 1  # the sink takes one connection
    metrics = Metrics(TABLE)
    router = Router(
        [Route("forward.0", output, lambda tag: True)], metrics=metrics, log=log, record=lambda *_: None
    )
    chunks = _chunks()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(router.run())
        with _stopwatch(results, TOTAL_BYTES):
            for chunk in chunks:
                await router.submit(chunk)
            await router.drain(600)
            told.recv()
    assert metrics.value("fluentbit_output_proc_bytes_total", "forward.0") == sum(
        len(chunk.entries) for chunk in chunks
    )
