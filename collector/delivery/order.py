"""Which position a file may be moved to: that of the last chunk with none unfinished before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from collector.delivery.chunk import Position


@dataclass(slots=True, eq=False)
class Step:
    """One chunk's place in the order of its file."""

    source: str
    position: Position
    finished: bool = False

    @property
    def file(self) -> tuple[str, int, int]:
        # Without the fingerprint: it changes while a short file grows.
        return self.source, self.position.file.device, self.position.file.inode


class PositionOrder:
    """Chunks finish in any order; positions move in the order in which the chunks were read."""

    def __init__(self) -> None:
        self._unfinished: dict[tuple[str, int, int], deque[Step]] = {}

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

    def may_pass(self, step: Step, granted: Container[Step]) -> bool:
        """Whether all earlier chunks of the file are finished, or among those that are about to be."""
        for earlier in self._unfinished[step.file]:
            if earlier is step:
                return True
            if not earlier.finished and earlier not in granted:
                return False
        raise KeyError(step)

    def __len__(self) -> int:
        """Files with chunks under way."""
        return len(self._unfinished)
