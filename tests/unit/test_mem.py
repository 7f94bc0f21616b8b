"""mem: the machine's memory as the kernel tells it."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from collector.inputs.mem import Settings, sample

MEMINFO = Path("/proc/meminfo").read_text()


def test_fields_and_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one moment: what psutil reads is a copy."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "vmstat").write_text(Path("/proc/vmstat").read_text())
    ((_, pairs),) = sample()
    assert [name for name, _ in pairs] == [
        *("Mem.total", "Mem.used", "Mem.free"),
        *("Swap.total", "Swap.used", "Swap.free"),
    ]
    found = dict(pairs)
    kernel = {name: int(number) for name, number in re.findall(r"(\w+):\s+(\d+) kB", MEMINFO)}
    assert found == {
        "Mem.total": kernel["MemTotal"],
        "Mem.used": kernel["MemTotal"] - kernel["MemFree"],
        "Mem.free": kernel["MemAvailable"],
        "Swap.total": kernel["SwapTotal"],
        "Swap.used": kernel["SwapTotal"] - kernel["SwapFree"],
        "Swap.free": kernel["SwapFree"],
    }


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="has an interval of 0"):
        Settings(interval_s=0)
