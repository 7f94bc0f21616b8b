"""An audit log through the log core: Parser json as in Fluent Bit's parsers file, and two pairs added.

Events are recorded ones; some have a key `time` deep inside, which is not the parser's Time_Key.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from collector.config.stock_parsers import STOCK
from collector.inputs.tail_parser import reading
from collector.native.logs import INPUT_BYTES, LogStream
from collector.plan import Field, LogPlan, Op
from tests.api_server import GOLDEN
from tests.bench.log_core import GIB, MB, newline_scan
from tests.bench.row import Row

TOTAL_BYTES = 64 << 20
ROUNDS = 3
ADDED = (Field(Op.ADD, "k8s.audit.log", "true"), Field(Op.ADD, "environment", "production"))


def encode(data: memoryview) -> int:
    """Records; their entries are dropped."""
    framing, layout, step = reading("json", STOCK, "log")
    assert step is not None
    stream = LogStream(LogPlan(framing, layout).then(*ADDED))
    records = offset = 0
    while offset < len(data):
        piece = data[offset : offset + INPUT_BYTES]
        batch = stream.encode(piece, offset, 0, end=offset + len(piece) >= len(data))
        step.apply(bytes(batch.entries))
        records += batch.records
        offset += batch.consumed
    stream.close()
    return records


def run() -> list[Row]:
    events = (GOLDEN / "audit.jsonl").read_bytes()
    data = events * (TOTAL_BYTES // len(events))
    with tempfile.TemporaryDirectory() as folder:
        scan = newline_scan(Path(folder))
        rounds = [
            (_cpu_s(lambda: encode(memoryview(data))), _cpu_s(lambda: scan(data))) for _ in range(ROUNDS)
        ]
    if encode(memoryview(data)) != data.count(b"\n"):
        raise AssertionError("a figure of wrong work is none")
    ours_s, scan_s = (statistics.median(taken) for taken in zip(*rounds, strict=True))
    size = len(data)
    return [
        Row("audit events", size / MB / ours_s, "MB/s", "newline scan", size / MB / scan_s),
        Row("audit events", ours_s * GIB / size, "CPU-s/GiB", "newline scan", scan_s * GIB / size),
    ]


def _cpu_s(work: object) -> float:
    assert callable(work)
    began_s = time.process_time()
    work()
    return time.process_time() - began_s
