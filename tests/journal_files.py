"""Real journal files with chosen content, written by systemd-journal-remote."""

from __future__ import annotations

import subprocess
from pathlib import Path

WRITER = "/lib/systemd/systemd-journal-remote"
START_US = 1_700_000_000_000_000


def export(number: int, unit: str, message: str) -> str:
    """An entry in the journal's export format, `number` microseconds after START_US."""
    return (
        f"__REALTIME_TIMESTAMP={START_US + number}\n__MONOTONIC_TIMESTAMP={number + 1}\n"
        "_BOOT_ID=0123456789abcdef0123456789abcdef\n_MACHINE_ID=0123456789abcdef0123456789abcdef\n"
        f"_SYSTEMD_UNIT={unit}\n_PID={number}\nMESSAGE={message}\n\n"
    )


def write_journal(folder: Path, *entries: str | bytes, name: str = "test") -> None:
    folder.mkdir(exist_ok=True)
    source = folder.parent / "export"
    source.write_bytes(b"".join(one.encode() if isinstance(one, str) else one for one in entries))
    command = [WRITER, "-o", str(folder / f"{name}.journal"), str(source)]
    subprocess.run(command, check=True, capture_output=True)
