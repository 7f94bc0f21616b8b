"""Container logs of a node as containerd writes them: same seed, same bytes; every record is numbered.

The mix is the one that Fluent Bit was measured with: of the records 40 % text of 80 to 250 bytes and
50 % JSON of 150 to 500 bytes on stdout; 5 % of the bytes in lines that the runtime splits at 16 KiB;
5 % stack traces on stderr, a record for each line. A record says `n=123` or `"n":123`, counted from 0
in each file.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import string
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from enum import Enum
from pathlib import Path
from typing import NamedTuple

PART_BYTES = 16 << 10  # containerd's max_container_log_line_size
LONG_BYTES = 40_000
BLOCK_BYTES = 1 << 20
BODIES = 400  # of each kind and pod; numbers and times make the records differ
START_S = 1_767_225_600  # 2026-01-01T00:00:00Z


class Kind(Enum):
    """What the records of a log are."""

    MIX = "mix"
    TEXT = "text"
    JSON = "JSON"
    LONG = "lines of 1 MiB"  # in one line, as a runtime with a larger limit writes them


class PodLog(NamedTuple):
    path: Path
    records: int
    bytes: int


def write_node_logs(
    folder: Path, total_bytes: int, *, pods: int = 20, seed: int = 1, kind: Kind = Kind.MIX
) -> list[PodLog]:
    """NAMESPACE_POD_UID/CONTAINER/0.log in `folder`, together at least `total_bytes`."""
    paths = [folder / pod_directory(pod, seed) / "app" / "0.log" for pod in range(pods)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as processes:
        seeds = [seed * 100_000 + pod for pod in range(pods)]
        return list(processes.map(_write, paths, [total_bytes // pods] * pods, seeds, [kind] * pods))


def of_other_pods(logs: list[PodLog], *, seed: int) -> list[PodLog]:
    """The same logs with a line before them, in the same folder."""
    made = []
    for pod, log in enumerate(logs):
        path = log.path.parents[2] / pod_directory(pod, seed) / "app" / "0.log"
        path.parent.mkdir(parents=True)
        line = f"2026-01-01T00:00:00Z stdout F begins as {seed}\n".encode()
        with path.open("wb") as copy, log.path.open("rb") as original:
            copy.write(line)
            shutil.copyfileobj(original, copy, BLOCK_BYTES)
        made.append(PodLog(path, log.records + 1, log.bytes + len(line)))
    return made


def _write(path: Path, total_bytes: int, seed: int, kind: Kind) -> PodLog:
    path.parent.mkdir(parents=True)
    records = size = 0
    with path.open("wb") as file:
        for block, count in blocks(total_bytes, seed=seed, kind=kind):
            records, size = records + count, size + file.write(block)
    return PodLog(path, records, size)


def pod_directory(pod: int, seed: int) -> str:
    digits = f"{random.Random(f'{seed} {pod}').getrandbits(128):032x}"
    uid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return f"team-{pod % 5}_web-{pod}-7c5ddbdf54-{digits[:5]}_{uid}"


def blocks(total_bytes: int, *, seed: int, kind: Kind = Kind.MIX) -> Iterator[tuple[bytes, int]]:
    """The log of one container in blocks of whole records, each with its number of records."""
    lines = _Lines(random.Random(seed), kind)
    size = 0
    while size < total_bytes:
        before = lines.number
        parts: list[bytes] = []
        block_bytes = 0
        while block_bytes < min(BLOCK_BYTES, total_bytes - size):
            parts.append(lines.next())
            block_bytes += len(parts[-1])
        yield b"".join(parts), lines.number - before
        size += block_bytes


class _Lines:
    """One record after the other (a stack trace: several)."""

    def __init__(self, source: random.Random, kind: Kind) -> None:
        self.source = source
        self.kind = kind
        self.number = 0
        self.time_ns = 0
        self.texts = [_words(source, source.randint(70, 240)) for _ in range(BODIES)]
        self.objects = [_json_tail(source, source.randint(130, 480)) for _ in range(BODIES)]
        self.long = _words(source, LONG_BYTES if kind is Kind.MIX else BLOCK_BYTES)

    def next(self) -> bytes:
        match self.kind:
            case Kind.MIX:
                return self._any()
            case Kind.LONG:
                return self._line("stdout", f"n={self.number} {self.long}")
            case Kind.TEXT:
                return self._text()
        return self._object()

    def _any(self) -> bytes:
        kind = self.source.random()
        # 0.04 % of 40 kB among records of 290 bytes are 5 % of the bytes; a trace has some 12 records.
        if kind < 0.0004:
            return self._split(f"n={self.number} {self.long}".encode())
        if kind < 0.0048:
            return b"".join(self._trace())
        return self._text() if kind < 0.0048 + 0.45 else self._object()

    def _text(self) -> bytes:
        return self._line("stdout", f"n={self.number} {self.source.choice(self.texts)}")

    def _object(self) -> bytes:
        return self._line("stdout", f'{{"n":{self.number},{self.source.choice(self.objects)}')

    def _time(self) -> str:
        self.time_ns += self.source.randrange(1, 2_000_000)
        seconds, nanoseconds = divmod(self.time_ns, 1_000_000_000)
        minutes, second = divmod(seconds, 60)
        hours, minute = divmod(minutes, 60)
        fraction = f"{nanoseconds:09d}".rstrip("0")
        return f"2026-01-{1 + hours // 24:02d}T{hours % 24:02d}:{minute:02d}:{second:02d}.{fraction or '0'}Z"

    def _line(self, stream: str, text: str) -> bytes:
        self.number += 1
        return f"{self._time()} {stream} F {text}\n".encode()

    def _split(self, text: bytes) -> bytes:
        self.number += 1
        pieces = [text[at : at + PART_BYTES] for at in range(0, len(text), PART_BYTES)]
        tags = ["P"] * (len(pieces) - 1) + ["F"]
        heads = (f"{self._time()} stdout {tag} ".encode() for tag in tags)
        return b"".join(head + piece + b"\n" for head, piece in zip(heads, pieces, strict=True))

    def _trace(self) -> Iterator[bytes]:
        yield self._line("stderr", f"n={self.number} java.lang.IllegalStateException: connection lost")
        for depth in range(self.source.randint(8, 14)):
            place = f"com.example.app.Service{depth}.call(Service{depth}.java:{self.source.randint(10, 999)})"
            yield self._line("stderr", f"n={self.number}     at {place}")


def _words(source: random.Random, length: int) -> str:
    words: list[str] = []
    size = 0
    while size < length:
        words.append("".join(source.choices(string.ascii_lowercase, k=source.randint(2, 10))))
        size += len(words[-1]) + 1
    return " ".join(words)[:length]


def _json_tail(source: random.Random, length: int) -> str:
    """An object without its opening brace, about so long."""
    fields: dict[str, object] = {
        "level": source.choice(["info", "warn", "error"]),
        "ts": f"2026-01-01T00:00:{source.randint(10, 59)}.{source.randint(100, 999)}Z",
        "logger": "http.access",
        "status": source.choice([200, 204, 301, 404, 500]),
        "duration_ms": round(source.uniform(0.1, 900), 3),
        "path": f"/api/v1/items/{source.randint(1, 10_000_000)}",
        "cached": source.random() < 0.5,
    }
    if length > 300:
        fields["request"] = {
            "id": f"{source.getrandbits(128):032x}",
            "method": "GET",
            "bytes": source.randint(0, 1 << 20),
        }
    if length > 400:
        fields["user"] = None
        fields["tags"] = [_words(source, 8) for _ in range(4)]
    missing = length - len(json.dumps(fields, separators=(",", ":")))
    if missing > 12:
        fields["msg"] = _words(source, missing - 9).replace(" a", '"', 1)
    return json.dumps(fields, separators=(",", ":"))[1:]
