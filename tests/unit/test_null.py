"""`null` takes everything."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from collector.outputs import null
from tests.unit.chunks import broken


def test_it_takes_what_comes() -> None:
    output = null.make(null.Settings(), SimpleNamespace())  # type: ignore[arg-type]
    asyncio.run(output.deliver(broken()))
    asyncio.run(output.close())
