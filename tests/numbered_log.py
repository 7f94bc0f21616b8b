"""A container whose log has numbered lines, rotated and compressed by a kubelet, and what arrived of it."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.receiver import Behaviour, Received

LINE_BYTES = 1000
LINES = 1000  # in one write
FILL = "x" * (LINE_BYTES - 60)
GENERATION_WRITES = 6


class Container:
    """Writes numbered lines; the kubelet's part is done by the same thread, so nothing is cut off."""

    def __init__(self, log: Path, bytes_s: float = 20e6, compress_every: int = 1) -> None:
        """At each so many rotations the older generations are compressed."""
        self.log = log
        self._write_s = LINE_BYTES * LINES / bytes_s
        self._compress_every = compress_every
        self._rotations = 0
        self.records = 0
        self.compressed = 0  # all records before this one are in compressed files, or about to be
        self._ended = threading.Event()
        self._written = threading.Condition()
        self._generations: list[tuple[Path, int]] = []  # not compressed; the number behind the last record
        self._thread = threading.Thread(target=self._live)
        log.touch()

    def __enter__(self) -> Container:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self.log.touch()

    def _live(self) -> None:
        next_s = time.monotonic()
        while not self._ended.is_set():
            writer = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for _ in range(GENERATION_WRITES):
                self._write(writer)
                next_s += self._write_s
                self._ended.wait(max(0.0, next_s - time.monotonic()))
            os.close(writer)
            self._rotate()

    def _write(self, writer: int) -> None:
        first = self.records
        block = "".join(
            f"2026-01-01T00:00:00.{number:09}Z stdout F {number} {FILL}\n"
            for number in range(first, first + LINES)
        )
        assert os.write(writer, block.encode()) == len(block)
        with self._written:
            self.records += LINES
            self._written.notify_all()

    def until(self, records: int) -> None:
        """Until so many are written."""
        with self._written:
            assert self._written.wait_for(lambda: self.records >= records, 30)

    def _rotate(self) -> None:
        """Older generations are compressed when it is time, then the log is renamed."""
        self._rotations += 1
        is_time = self._rotations % self._compress_every == 0
        while is_time and self._generations:
            path, end = self._generations.pop(0)
            self.compressed = end
            temporary = Path(f"{path}.tmp")
            temporary.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
            temporary.rename(f"{path}.gz")
            path.unlink()
        number = self.records // LINES
        rotated = Path(f"{self.log}.{20260101 + number // 1_000_000}-{number % 1_000_000:06}")
        self._generations.append((rotated, self.records))
        self.log.rename(rotated)


class Count:
    """What arrived: only numbers are kept, and which a chunk had. `compressed()`: see Container."""

    def __init__(self, compressed: Callable[[], int] = lambda: 0) -> None:
        self._compressed = compressed
        self._chunks: dict[str | None, tuple[int, int, int]] = {}  # first number, last, how many
        self.seen = bytearray()
        self.next = 0  # all before it are there
        self.doubled = 0
        self.strange: list[tuple[str | None, int, int, int]] = []  # chunk, with what of it had come in others
        self._arrivals: list[tuple[float, int]] = []  # when (monotonic), how many
        self.out_of_order: list[tuple[int, int]] = []

    def behave(self, received: Received) -> Behaviour:
        numbers = [int(record[b"log"].split(b" ", 1)[0]) for _, record in received.entries]
        received.entries.clear()
        received.packed = b""
        self._arrivals.append((time.monotonic(), len(numbers)))
        self._look_at_id(received.chunk, numbers)
        for number in numbers:
            if number < len(self.seen) and self.seen[number]:
                self.doubled += 1
                continue
            if number != self.next:
                self.out_of_order.append((self.next, number))
            self.seen.extend(bytes(max(0, number + 1 - len(self.seen))))
            self.seen[number] = 1
            while self.next < len(self.seen) and self.seen[self.next]:
                self.next += 1
        return Behaviour.ACCEPT

    def _look_at_id(self, chunk: str | None, numbers: list[int]) -> None:
        """What comes again does so in a chunk that has come, with its records; compressed it need not."""
        outline = (numbers[0], numbers[-1], len(numbers))
        if chunk in self._chunks:
            is_strange = self._chunks[chunk] != outline
        else:
            self._chunks[chunk] = outline
            again = [number for number in numbers if number < len(self.seen) and self.seen[number]]
            is_strange = bool(again) and again[-1] >= self._compressed()
        if is_strange:
            self.strange.append((chunk, *outline))

    def since(self, time_s: float) -> int:
        """Records that have come since then (monotonic), doubles too."""
        return sum(records for arrived_s, records in self._arrivals if arrived_s >= time_s)
