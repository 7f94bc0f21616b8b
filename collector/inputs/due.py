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
        self._turns: dict[File, tuple[float, int]] = {}
        self._files: dict[int, File] = {}  # by number of the turn
        self._heap: list[tuple[float, int]] = []  # has turns that hold no more, until they are the next
        self._order = count()

    def put(self, file: File, when_s: float) -> None:
        """A later time than the one it has changes nothing."""
        turn = self._turns.get(file)
        if turn is None or when_s < turn[0]:
            self.drop(file)
            turn = self._turns[file] = when_s, next(self._order)
            self._files[turn[1]] = file
            heapq.heappush(self._heap, turn)

    def drop(self, file: File) -> None:
        """It is not kept until its time."""
        turn = self._turns.pop(file, None)
        if turn is not None:
            del self._files[turn[1]]

    @property
    def next_s(self) -> float:
        """inf: no file waits."""
        while self._heap and self._heap[0][1] not in self._files:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def take(self, now_s: float) -> list[File]:
        """The files whose time has come, which wait no more."""
        due = []
        while self.next_s <= now_s:
            _, number = heapq.heappop(self._heap)
            file = self._files.pop(number)
            del self._turns[file]
            due.append(file)
        return due
