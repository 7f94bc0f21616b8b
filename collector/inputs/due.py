"""When files are to be looked at again that nothing happens to."""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

File = TypeVar("File", bound=Hashable)


class Due(Generic[File]):
    """Each file has one time, the earliest that was asked for. The next one is known however many wait."""

    def __init__(self) -> None:
        self._when_s: dict[File, float] = {}
        self._heap: list[tuple[float, int, File]] = []  # has times that hold no more, until they are the next
        self._order = count()

    def put(self, file: File, when_s: float) -> None:
        """A later time than the one it has changes nothing."""
        if when_s < self._when_s.get(file, math.inf):
            self._when_s[file] = when_s
            heapq.heappush(self._heap, (when_s, next(self._order), file))

    def drop(self, file: File) -> None:
        self._when_s.pop(file, None)

    @property
    def next_s(self) -> float:
        """inf: no file waits."""
        while self._heap and self._when_s.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def take(self, now_s: float) -> list[File]:
        """The files whose time has come, which wait no more."""
        due = []
        while self.next_s <= now_s:
            _, _, file = heapq.heappop(self._heap)
            del self._when_s[file]
            due.append(file)
        return due
