"""A podwitness process under test: what it prints can be awaited, what it serves can be asked."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

DEADLINE_S = 30.0


class Lines:
    """Lines of a stream, read in a thread as they come."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern: str, count: int = 1) -> list[str]:
        """The first `count` lines that match; fails with all lines when they don't come in time."""
        matching = re.compile(pattern)
        deadline = time.monotonic() + DEADLINE_S
        with self._changed:
            while True:
                found = [line for line in self._lines if matching.search(line)]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(
                        f"{len(found)} of {count} lines match {pattern!r}:\n" + "\n".join(self._lines)
                    )
                self._changed.wait(left)

    @property
    def text(self) -> str:
        with self._changed:
            return "\n".join(self._lines)

    def rest(self) -> str:
        """All of the stream, once the process has ended."""
        self._reader.join(DEADLINE_S)
        return self.text


class Agent:
    """`podwitness` as a child; ended with the `with` block at the latest."""

    def __init__(
        self,
        *arguments: str,
        prefix: Sequence[str] = (),
        command: Sequence[str] = (sys.executable, "-m", "collector"),
        cwd: Path | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, *command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            cwd=cwd,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = Lines(self.process.stdout)
        self.log = Lines(self.process.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait_until_running(self) -> None:
        self.log.wait_for(r"podwitness runs on ")

    def wait_until_probes(self) -> None:
        self.log.wait_for(PROBES_READY)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def records(self) -> list[dict[str, Any]]:
        """JSON lines printed so far (Format json or json_lines)."""
        return [json.loads(line) for line in self.out.text.splitlines() if line.startswith("{")]


PROBES_READY = r"kernel events: .*attached"


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()
