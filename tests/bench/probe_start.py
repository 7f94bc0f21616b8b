"""What a start of the probes costs: the first on a kernel, which compiles, and the next, which need not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from probes.catalog import SUBJECTS, RingSizes
from probes.exchange import Answer, Request
from probes.launch import loader_command
from tests.bench.row import Row

RING_BYTES = 8 << 20
REPEATS = 7  # the middle one counts


@dataclass(frozen=True, slots=True)
class Start:
    """Of one child: until it has ended, CPU with what the kernel does for it, most memory.

    The kernel counts as memory of a child also what its parent had when it was forked.
    """

    elapsed_ms: float
    cpu_ms: float
    peak_mib: float
    is_cached: bool = False


def load(cache: str) -> Start:
    """Attaches all probes and lets them go."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answer = Answer()
    with ours, theirs, ExitStack() as stack:
        stack.callback(answer.close)
        command = loader_command(cache)
        started_s = time.monotonic()
        child = subprocess.Popen(
            command.on(theirs.fileno()), pass_fds=[theirs.fileno()], env=command.environment
        )
        theirs.close()
        ours.send(Request(SUBJECTS, RingSizes(RING_BYTES, RING_BYTES)).encode())
        while answer.receive(ours):
            pass
        found = ended(child, started_s)
        assert answer.results
        assert all(result.dialect for result in answer.results.values())
        return Start(found.elapsed_ms, found.cpu_ms, found.peak_mib, answer.origin.is_cached)


def empty_python() -> Start:
    started_s = time.monotonic()
    return ended(subprocess.Popen([sys.executable, "-P", "-c", ""]), started_s)


def ended(child: subprocess.Popen[bytes], started_s: float) -> Start:
    _, status, used = os.wait4(child.pid, 0)
    elapsed_s = time.monotonic() - started_s
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return Start(elapsed_s * 1000, (used.ru_utime + used.ru_stime) * 1000, used.ru_maxrss / 1024)


def middle(measure: Callable[[], Start]) -> Start:
    starts = [measure() for _ in range(REPEATS)]
    return Start(
        median(one.elapsed_ms for one in starts),
        median(one.cpu_ms for one in starts),
        median(one.peak_mib for one in starts),
        all(one.is_cached for one in starts),
    )


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        cache = str(Path(directory, "probes"))
        first = load(cache)
        second = middle(lambda: load(cache))
    assert second.is_cached
    assert not first.is_cached
    empty = middle(empty_python)
    name = "empty Python"
    return [
        Row("first start of the probes, elapsed", first.elapsed_ms, "ms"),
        Row("first start of the probes, CPU", first.cpu_ms, "ms"),
        Row("first start of the probes, peak", first.peak_mib, "MiB"),
        Row("next start of the probes, elapsed", second.elapsed_ms, "ms", name, empty.elapsed_ms),
        Row("next start of the probes, CPU", second.cpu_ms, "ms", name, empty.cpu_ms),
        Row("next start of the probes, peak", second.peak_mib, "MiB", name, empty.peak_mib),
    ]
