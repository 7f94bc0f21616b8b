"""Which position a file may be moved to: that of the last chunk with none unfinished before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.delivery.chunk import Position

File = tuple[str, int, int]
"""Input, device and inode."""


@dataclass(slots=True, eq=False)
class Step:
    """One chunk's place in the order of its file."""

    source: str
    position: Position
    finished: bool = False

    @property
    def file(self) -> File:
        # Without the fingerprint: it changes while a short file grows.
        return self.source, self.position.file.device, self.position.file.inode


class Grants:
    """Which steps may be finished now, each file's in its order. `unfinished`: by file."""

    def __init__(self, unfinished: Mapping[File, Iterable[Step]]) -> None:
        self._unfinished = unfinished
        self._steps: dict[File, list[Step]] = {}
        self._passed: dict[File, int] = {}  # how many of these are finished, or granted

    def grant(self, steps: Iterable[Step]) -> bool:
        """Whether all earlier chunks of their files are finished or granted; if so, these are, too."""
        passed: dict[File, int] = {}
        for step in steps:
            file = step.file
            if file not in self._steps:
                self._steps[file] = list(self._unfinished[file])
            at = passed.get(file, self._passed.get(file, 0))
            while (earlier := self._steps[file][at]) is not step:
                if not earlier.finished:
                    return False
                at += 1
            passed[file] = at + 1
        self._passed |= passed
        return True


class PositionOrder:
    """Chunks finish in any order; positions move in the order in which the chunks were read."""

    def __init__(self) -> None:
        self._unfinished: dict[File, deque[Step]] = {}

    def begin(self, source: str, position: Position) -> Step:
        """Chunks of one file are begun in the order of the file."""
        step = Step(source, position)
        self._unfinished.setdefault(step.file, deque()).append(step)
        return step

    def finish(self, step: Step) -> Position | None:
        """The position that the file has now reached; None while an earlier chunk is open."""
        step.finished = True
        steps = self._unfinished[step.file]
        reached = None
        while steps and steps[0].finished:
            reached = steps.popleft().position
        if not steps:
            del self._unfinished[step.file]
        return reached

    def begun(self, source: str) -> list[Position]:
        """Of each file of an input with chunks under way, the position of the last of them."""
        return [steps[-1].position for (one, _, _), steps in self._unfinished.items() if one == source]

    def grants(self) -> Grants:
        """For steps that are to be finished together. Good until a step is begun or finished."""
        return Grants(self._unfinished)

    def __len__(self) -> int:
        """Files with chunks under way."""
        return len(self._unfinished)
