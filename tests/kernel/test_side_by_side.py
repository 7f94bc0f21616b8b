"""probes.side_by_side: children that work, some at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from probes.side_by_side import PIPE_BYTES, Ended, side_by_side

ROOT = Path(__file__).resolve().parents[2]


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children() -> set[int]:
    """Of this process, zombies too: other tests may have some."""
    return {child.pid for child in psutil.Process().children()}


def die() -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b"never"


def fail() -> bytes:
    raise ValueError("of the work's own")


def test_each_tells_what_it_made_and_how_it_ended(capfd: pytest.CaptureFixture[str]) -> None:
    before, own = descriptors(), children()
    long = bytes(10 * PIPE_BYTES)
    ended = sorted(side_by_side([lambda: b"first", die, fail, lambda: long], at_once=2))
    assert ended[:2] == [Ended(0, b"first", 0), Ended(1, b"", -signal.SIGKILL)]
    assert ended[2:] == [Ended(2, b"", 1), Ended(3, long, 0)]
    assert "ValueError: of the work's own" in capfd.readouterr().err
    assert descriptors() == before
    assert children() == own


def test_no_more_than_so_many_at_a_time() -> None:
    """Each waits for company, so one at a time would never end; and it says when it comes and goes."""
    reading, writing = os.pipe()
    company = multiprocessing.get_context("fork").Barrier(2)

    def work() -> bytes:
        os.write(writing, b"+")
        company.wait()
        os.write(writing, b"-")
        return b"met"

    assert [ended.said for ended in side_by_side([work] * 6, at_once=2)] == [b"met"] * 6
    said = os.read(reading, 100)
    at_once = [said[:end].count(b"+") - said[:end].count(b"-") for end in range(len(said))]
    assert len(said) == 12
    assert max(at_once) == 2
    os.close(reading)
    os.close(writing)


def test_who_stops_listening_leaves_nobody_behind() -> None:
    before, own = descriptors(), children()
    works = side_by_side([lambda: b"quick", lambda: os.read(os.pipe()[0], 1)], at_once=2)
    assert next(works).said == b"quick"
    works.close()
    assert descriptors() == before
    assert children() == own


ORPHANS = """
    import os, signal
    from probes.side_by_side import side_by_side
    def work():
        os.write(1, b"x")
        signal.pause()
    next(side_by_side([work] * 3, at_once=2))
"""


def test_children_end_with_their_parent() -> None:
    """All of them hold the pipe: it ends when the last one has."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ORPHANS)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert os.read(parent.stdout.fileno(), 1) + os.read(parent.stdout.fileno(), 1)
    parent.kill()
    assert parent.stdout.read() == b""
    parent.wait()
