"""A discovery of log files under test, and what it tells."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.errors import OperatorError
from collector.inputs.tail_files import Discovery, Found, Reports
from collector.inputs.tail_paths import compile_path, select

DEADLINE_S = 20.0

Follow = Callable[..., Discovery]


class Seen:
    """What a discovery told, and what of it is still open."""

    def __init__(self) -> None:
        self.files: list[Found] = []
        self.held: dict[tuple[int, int], str] = {}
        self.left: deque[str] = deque()
        self.refused: list[str] = []
        self.missed: list[str] = []
        self.problems: list[OperatorError] = []
        self.scanned = threading.Event()
        self._changed = threading.Condition()
        self.is_quick = threading.Event()  # cleared, the discovery waits in what it tells
        self.is_quick.set()

    def reports(self) -> Reports:
        return Reports(
            self._found,
            self.problems.append,
            lambda path, reason: self.refused.append(path),
            self.missed.append,
            self.scanned.set,
        )

    def _found(self, found: Found) -> None:
        with self._changed:
            self.files.append(found)
            self.held[found.file.device, found.file.inode] = "" if found.early else found.path
            self._changed.notify_all()
        assert self.is_quick.wait(DEADLINE_S)

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE_S), [found.path for found in self.files]

    def wait_for(self, path: Path | str) -> Found:
        self.wait(lambda: str(path) in self.paths)
        return next(found for found in self.files if found.path == str(path))

    @property
    def paths(self) -> list[str]:
        return [found.path for found in self.files]

    def wait_for_files(self, count: int) -> None:
        self.wait(lambda: len(self.files) == count)

    def close(self) -> None:
        for found in self.files:
            os.close(found.file.fd)


@contextmanager
def discovering(seen: Seen) -> Iterator[Follow]:
    """What starts one that tells `seen`; all end with the `with` block."""
    running: list[Discovery] = []

    def start(*patterns: Path | str, excluded: str = "", early: str = "", refresh_s: float = 60) -> Discovery:
        discovery = Discovery(
            select([str(pattern) for pattern in patterns], [excluded] if excluded else []),
            compile_path(early) if early else None,
            seen.held,
            seen.reports(),
            refresh_s=refresh_s,
            left=seen.left,
        )
        running.append(discovery)
        discovery.start()
        assert seen.scanned.wait(DEADLINE_S)
        return discovery

    yield start
    for discovery in running:
        discovery.close()
