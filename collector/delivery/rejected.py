"""Chunks that an output gave up, kept in a folder (storage.keep.rejected) until somebody looks at them.

One file each, which is the chunk as a message of the forward protocol: sent to any
receiver of it as it is, it is delivered after all (`nc HOST 24224 < FILE`), and
`podwitness rejected FILE` shows the records as JSON lines. The name has when, the
tag, the output and the chunk's id; `reasons.jsonl` beside them has a line for each.

Bounded by storage.rejected.limit: what would go beyond is not kept, as in Fluent
Bit; it is said and counted. What is removed by hand makes room again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import msgpack

from collector.delivery.chunk import Chunk
from collector.service.metrics import Metrics

SUFFIX = ".forward"
REASONS = "reasons.jsonl"
UNFINISHED = "unfinished"
# Of a file's name, of which the file system takes 255 bytes.
TAG_CHARACTERS = 120
COMPLAIN_EVERY_S = 60.0


class RejectedFolder:
    """`keep` never raises: what can't be kept is lost anyhow."""

    def __init__(self, folder: Path, limit_bytes: int, *, metrics: Metrics, log: logging.Logger) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._metrics = metrics
        self._log = log
        self._complained_s = float("-inf")
        self._exchange = asyncio.Lock()

    async def keep(self, chunk: Chunk, output: str, reason: str) -> None:
        """Writes a chunk that was given up."""
        message = message_of(chunk)
        async with self._exchange:
            line = _reason_line(chunk, output, reason)
            problem = await asyncio.to_thread(self._write, chunk, message, output, len(line))
            if problem:
                self._metrics.add("podwitness_rejected_not_kept_total")
                self._complain(f"rejected chunks are not kept: {problem}")
                return
            self._metrics.add("podwitness_rejected_kept_total")
            problem = await asyncio.to_thread(self._append_reason, line)
        if problem:
            self._complain(f"rejected chunks are kept without their reasons: {problem}")

    def _write(self, chunk: Chunk, message: bytes, output: str, line_bytes: int) -> str:
        """Why it could not be written; "" where it was."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            size_bytes = self._size_bytes()
            self._metrics.set("podwitness_rejected_bytes", to=size_bytes)
            if size_bytes + len(message) + line_bytes > self._limit_bytes:
                return f"{self._folder} has reached storage.rejected.limit"
            path = self._folder / file_name(chunk, output, time.time())
            # One name for all: what a crash leaves is written over.
            with open(self._folder / UNFINISHED, "wb") as file:
                file.write(message)
            os.rename(self._folder / UNFINISHED, path)
        except OSError as error:
            with contextlib.suppress(OSError):  # on a full disk it would take the room that is made
                os.unlink(self._folder / UNFINISHED)
            return f"{self._folder}: {error.strerror}"
        return ""

    def _append_reason(self, line: bytes) -> str:
        """Why it could not be written; "" where it was."""
        try:
            with open(self._folder / REASONS, "ab") as file:
                file.write(line)
        except OSError as error:
            return f"{self._folder / REASONS}: {error.strerror}"
        return ""

    def _size_bytes(self) -> int:
        total = 0
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # somebody tidies up
                total += entry.stat().st_size
        return total

    def _complain(self, problem: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._complained_s + COMPLAIN_EVERY_S:
            self._complained_s = now_s
            self._log.warning("%s; look at what is there and remove it", problem)


def message_of(chunk: Chunk) -> bytes:
    """PackedForward: tag, entries, options."""
    options = {"size": chunk.records, "chunk": chunk.id.hex()}
    tag = chunk.tag
    packed: bytes = msgpack.packb((tag, chunk.entries, options), unicode_errors="surrogateescape")
    return packed


def file_name(chunk: Chunk, output: str, now_s: float) -> str:
    """Of characters that every shell takes as they are."""
    when = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%S")
    tag = re.sub(r"[^A-Za-z0-9_.-]", "_", chunk.tag)[-TAG_CHARACTERS:].lstrip(".-")
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", output)[: TAG_CHARACTERS // 2]
    return f"{when}_{tag}_{name}_{chunk.id.hex()}{SUFFIX}"


def _reason_line(chunk: Chunk, output: str, reason: str) -> bytes:
    row = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "tag": chunk.tag,
        "output": output,
        "chunk": chunk.id.hex(),
        "records": chunk.records,
        "bytes": len(chunk.entries),
        "reason": reason,
    }
    return json.dumps(row).encode() + b"\n"
