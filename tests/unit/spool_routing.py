"""A running router with a spool for tests: its outputs, lines of a file, what arrived and was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from collector.delivery import securing, spooling
from collector.delivery.chunk import Chunk, FileKey, Position, chunk_id
from collector.delivery.outlet import Route
from tests.unit.routing import House, Recorder, everything, logs, routing
from tests.unit.spooled import opened


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that waits for time waits for less of it."""
    monkeypatch.setattr(spooling, "LINGER_S", 0.01)
    monkeypatch.setattr(spooling, "PATIENCE_S", 0.05)
    monkeypatch.setattr(spooling, "RETRY_S", 0.02)
    monkeypatch.setattr(securing, "AT_RISK_S", 0.03)


def spooled(folder: Path, *routes: Route, **changes: object) -> AbstractAsyncContextManager[House]:
    return routing(*routes, spool=opened(folder), **changes)


def line(number: int, vanishing: Callable[[], bool] | None = None, tag: str = "kube.a") -> Chunk:
    position = Position(FileKey(1, 2), "/var/log/a", number * 1000)
    entries = number.to_bytes(4, "big") * 250
    ident = chunk_id(tag, number)
    return Chunk(
        ident, tag, memoryview(entries), 1, "tail.0", time.monotonic_ns(), position, 1000, vanishing=vanishing
    )


def numbers(output: Recorder, tag: str = "") -> list[int]:
    """What arrived, in order."""
    found = b"".join(one.entries for one in output.accepted if one.tag.startswith(tag) and logs(one.tag))
    return [int.from_bytes(found[at : at + 4], "big") for at in range(0, len(found), 1000)]


def written(house: House) -> float:
    return house.metrics.value("podwitness_spool_written_bytes_total")


def to(output: Recorder, name: str = "out.0", limit: int = 1 << 30, **more: object) -> Route:
    matches = more.get("matches", everything)
    return Route(name, output, matches, None, limit)  # type: ignore[arg-type]
