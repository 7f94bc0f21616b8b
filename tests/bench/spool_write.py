"""What the spool takes and gives back, beside plain files written and read in the same run.

CPU and time of chunks as kernel events make them (half a MiB), with and without a
wait for the disk, and of small ones. Nothing of it is on the way of a chunk while
outputs work: the router's part then is measured by forward_send.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from collector.delivery.spool import Spool
from collector.delivery.spool_rows import Addition, Place
from tests.bench.row import Row
from tests.unit.spooled import LOG, event

TOTAL_BYTES = 128 << 20
SIZES = {"512 KiB": 512 << 10, "16 KiB": 16 << 10}
BATCH_BYTES = 4 << 20
ROOM = {"a": Place(1 << 40)}
MB = 1e6
BUILD = Path(__file__).parents[2] / "build"


def seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def batches(size: int) -> list[list[Addition]]:
    count = TOTAL_BYTES // size
    additions = [Addition(event(number, size=size), ("a",)) for number in range(count)]
    step = BATCH_BYTES // size
    return [additions[at : at + step] for at in range(0, count, step)]


def write_file(path: Path, chunks: list[list[Addition]], *, sync: bool) -> None:
    with open(path, "wb", buffering=0) as file:
        for batch in chunks:
            for one in batch:
                file.write(one.chunk.entries)
            if sync:
                os.fsync(file.fileno())


def read_back(spool: Spool) -> None:
    after = 0
    while found := spool.read("a", after=after, max_bytes=BATCH_BYTES, max_chunks=1000).stored:
        after = found[-1].seq
        spool.write((), done=[("a", one.seq) for one in found], places={})


def measure(name: str, size: int, folder: Path, *, sync: bool) -> list[Row]:
    chunks = batches(size)
    spool = Spool(folder / "spool", log=LOG, full_sync=sync)
    plain = folder / "plain"
    file_s = seconds(lambda: write_file(plain, chunks, sync=sync))
    write_s = seconds(lambda: [spool.write(batch, places=ROOM) for batch in chunks])
    file_read_s = seconds(plain.read_bytes)
    read_s = seconds(lambda: read_back(spool))
    spool.close()
    how = f"{name}, {'full' if sync else 'normal'}"
    total = TOTAL_BYTES / MB
    return [
        Row(f"spool written, {how}", total / write_s, "MB/s", "plain file", total / file_s),
        Row(f"read and removed, {how}", total / read_s, "MB/s", "plain file", total / file_read_s),
    ]


def run() -> list[Row]:
    rows = []
    for name, size in SIZES.items():
        for sync in (False, True):
            # Beside the tree: the folder for temporary files is often in memory.
            BUILD.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=BUILD) as folder:
                rows += measure(name, size, Path(folder), sync=sync)
    return rows
