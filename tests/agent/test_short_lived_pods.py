"""Pods that are gone within 20 to 50 ms, beside a log whose records keep the interpreter busy."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.agent.agent import Agent
from tests.polling import until

PODS = 200
HOLD_S = (0.05, 0.02)  # in turn
BUSY_BYTES_A_S = 15_000_000
UID = "0c2f9b9e-6d0e-4a2b-9f4c-{:012d}"
TRACE = (
    "2026-01-01T00:00:00.1Z stdout F Exception in thread {} java.lang.Foo: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
    "2026-01-01T00:00:00.1Z stdout F     at com.foo.Bar(Bar.java:10)\n"
)


@contextlib.contextmanager
def busy_log(pods: Path) -> Iterator[None]:
    log = pods / f"x_big_{UID.format(PODS)}" / "work" / "0.log"
    log.parent.mkdir(parents=True)
    ended = threading.Event()
    block = "".join(map(TRACE.format, range(2000))).encode()

    def write() -> None:
        started_s, written = time.monotonic(), 0
        with log.open("wb", buffering=0) as writer:
            while not ended.wait(max(0.0, started_s + written / BUSY_BYTES_A_S - time.monotonic())):
                written += writer.write(block)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        yield
    finally:
        ended.set()
        writing.join()


def is_open(process: int, path: Path) -> bool:
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) == str(path):
                return True
    return False


def live(pods: Path, number: int, hold_s: float, process: int = 0) -> None:
    """With a `process`, until it has the log open at the least."""
    folder = pods / f"shop_job-{number}_{UID.format(number)}" / "work"
    folder.mkdir(parents=True)
    log = folder / "0.log"
    with log.open("wb", buffering=0) as writer:
        for letter in "ab":
            writer.write(f"2026-01-01T00:00:00.1Z stdout F {letter}={number}\n".encode())
    time.sleep(hold_s)
    if process:
        until(lambda: is_open(process, log))
    log.unlink()
    os.rmdir(folder)
    os.rmdir(folder.parent)


def test_none_is_lost_or_read_twice(tmp_path: Path) -> None:
    """Nor at a stop right after the last of them. Half of them live for 20 ms: on a machine that gives the
    agent no turn for so long one may be missed, and then it is told."""
    pods, config = tmp_path / "var/log/pods", tmp_path / "podwitness.conf"
    pods.mkdir(parents=True)
    config.write_text(
        f"[SERVICE]\n    Flush 0.1\n    Host_Root {tmp_path}\n"
        f"[INPUT]\n    Name tail\n    Path {pods}/*/*/*.log\n    Tag k.*\n    Read_from_Head On\n"
        f"    multiline.parser cri, java\n    DB {tmp_path}/positions.db\n"
        "[OUTPUT]\n    Name null\n    Match *big*\n"
        "[OUTPUT]\n    Name stdout\n    Match *shop*\n    Format json_lines\n"
        "[OUTPUT]\n    Name stdout\n    Match podwitness.loss\n    Format json_lines\n"
    )
    with Agent("-c", str(config)) as agent:
        agent.wait_until_running()
        live(pods, 0, 0.0, agent.process.pid)
        with busy_log(pods):
            for number in range(1, PODS - 1):
                live(pods, number, HOLD_S[number % 2])
            live(pods, PODS - 1, 0.0, agent.process.pid)
            assert agent.stop() == 0
        out = agent.out.rest()
    missed = {int(number) for number in re.findall(r'"missed".*?shop_job-(\d+)_', out)}
    assert all(HOLD_S[number % 2] == min(HOLD_S) for number in missed)
    assert len(missed) <= PODS // 20
    expected = [f"{letter}={number}" for letter in "ab" for number in range(PODS) if number not in missed]
    assert sorted(re.findall(r"\b([ab]=\d+)", out)) == sorted(expected)
