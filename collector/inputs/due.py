"""When files are to be looked at again that nothing happens to."""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

File = TypeVar("File", bound=Hashable)


@dataclass(order=True, slots=True)
class _Entry(Generic[File]):
    when_s: float
    number: int
    file: File | None = field(compare=False)  # None: it holds no more


class Due(Generic[File]):
    """Each file has one time, the earliest that was asked for. The next one is known however many wait."""

    def __init__(self) -> None:
        self._entries: dict[File, _Entry[File]] = {}
        self._heap: list[_Entry[File]] = []
        self._numbers = count()

    def put(self, file: File, when_s: float) -> None:
        """A later time than the one it has changes nothing."""
        known = self._entries.get(file)
        if known is None or when_s < known.when_s:
            self.drop(file)
            entry = self._entries[file] = _Entry(when_s, next(self._numbers), file)
            heapq.heappush(self._heap, entry)

    def drop(self, file: File) -> None:
        """Nothing is kept of it."""
        entry = self._entries.pop(file, None)
        if entry is not None:
            entry.file = None

    @property
    def next_s(self) -> float:
        """inf: no file waits."""
        while self._heap and self._heap[0].file is None:
            heapq.heappop(self._heap)
        return self._heap[0].when_s if self._heap else math.inf

    def take(self, now_s: float) -> list[File]:
        """The files whose time has come, which wait no more."""
        due = []
        while self.next_s <= now_s:
            file = heapq.heappop(self._heap).file
            assert file is not None
            del self._entries[file]
            due.append(file)
        return due
