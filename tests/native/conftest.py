"""The process-wide arena of the log core is what it was after a test that took one of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.native import logs


@pytest.fixture(autouse=True)
def same_arena_after() -> Iterator[None]:
    arena = logs.ARENA
    yield
    logs.ARENA = arena
