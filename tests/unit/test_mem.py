"""mem: the machine's memory as the kernel tells it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collector.inputs.mem import Settings, sample


def test_fields_and_sums() -> None:
    ((_, pairs),) = sample()
    assert [name for name, _ in pairs] == [
        *("Mem.total", "Mem.used", "Mem.free"),
        *("Swap.total", "Swap.used", "Swap.free"),
    ]
    found = dict(pairs)
    kernel = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    assert kernel is not None
    assert found["Mem.total"] == int(kernel[1])
    for kind in ("Mem", "Swap"):
        assert abs(found[f"{kind}.total"] - found[f"{kind}.used"] - found[f"{kind}.free"]) <= 1


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="has an interval of 0"):
        Settings(interval_s=0)
