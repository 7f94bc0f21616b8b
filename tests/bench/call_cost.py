"""What the probes cost a system call that they have no interest in, which is nearly every one.

`python -m tests.bench.call_cost` as root.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from probes.catalog import SUBJECTS, Dialect
from probes.launch import launch
from tests.bench.row import Row

SOURCE = Path(__file__).parent / "call_cost.c"
RING_BYTES = 8 << 20
DEFAULT = [
    subject for subject in SUBJECTS if subject not in ("flow", "syscalls")
]  # as Trace has it, and the cgroups


@contextmanager
def built() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/call_cost"
        subprocess.run(["gcc", "-O2", str(SOURCE), "-o", program], check=True)
        yield program


def measure(program: str) -> tuple[float, float]:
    """Nanoseconds of a getppid(), and of an open() with its close()."""
    said = subprocess.run(
        [program], check=True, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {0})
    )
    call, opened = said.stdout.split()
    return float(call), float(opened)


def watched(program: str, subjects: Sequence[str], dialect: Dialect) -> tuple[float, float]:
    probes = asyncio.run(launch(subjects, ring_bytes=RING_BYTES, dialect=dialect))
    try:
        return measure(program)
    finally:
        probes.close()


def run() -> list[Row]:
    rows = []
    with built() as program:
        without = measure(program)
        for name, subjects, dialect in (
            ("default set", DEFAULT, Dialect.TP_BTF),
            ("with syscalls", list(SUBJECTS), Dialect.TP_BTF),
            ("with syscalls, as raw_tp", list(SUBJECTS), Dialect.RAW_TP),
        ):
            call, opened = watched(program, subjects, dialect)
            rows.append(Row(f"getppid, {name}", call, "ns", "without probes", without[0]))
            rows.append(Row(f"open and close, {name}", opened, "ns", "without probes", without[1]))
    return rows


def main() -> None:
    for row in run():
        print(f"{row.name:45} {row.value:10.1f} {row.unit:3} {row.limit_name} {row.limit_value:.1f}")


if __name__ == "__main__":
    main()
