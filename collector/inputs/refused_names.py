"""Names that match Path and are not followed: links that lead out, folders, files that were gone too soon.

Who makes them can make a million, and the own log is itself a log that is followed. So the first is said at
once, and then now and then how many came since, and the last of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.delivery.losses import Loss

if TYPE_CHECKING:
    from collector.context import InputContext

# Of what is refused. Who can write to a log directory could make a million.
MAX_REFUSED = 1000
SAY_S = 10.0
MISSED = "missed"


@dataclass(slots=True)
class _Lines:
    """What is said of names with one fate."""

    context: InputContext
    one: str  # the line of one name: %s stands for it, another for why
    more: str  # of several: %d how many, then as above of the last one
    unsaid: int = 0
    last: tuple[str, ...] = ()
    timer: asyncio.TimerHandle | None = field(default=None)

    def add(self, *last: str) -> None:
        if self.timer is None:
            self.context.log.warning(self.one, *last)
            self._wait()
        else:
            self.unsaid, self.last = self.unsaid + 1, last

    def _wait(self) -> None:
        self.timer = asyncio.get_running_loop().call_later(SAY_S, self._say)

    def _say(self) -> None:
        self.timer = None
        if self.unsaid:
            self.context.log.warning(self.more, self.unsaid, *self.last)
            self.unsaid = 0
            self._wait()

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self._say()
        if self.timer is not None:
            self.timer.cancel()


class RefusedNames:
    """Called in the loop. `tag_of_missed`: the tag that a name would have had; None: it is not meant."""

    def __init__(self, context: InputContext, tag_of_missed: Callable[[str], str | None]) -> None:
        self._context = context
        self._tag_of_missed = tag_of_missed
        self._told: set[str] = set()
        self._refused = _Lines(
            context, "%s is not followed: %s", "%d more names are not followed, the last of them %s: %s"
        )
        self._missed = _Lines(
            context,
            "%s was deleted before it could be opened; what it had is lost",
            "%d more files were deleted before they could be opened, the last of them %s",
        )

    def from_thread(
        self, loop: asyncio.AbstractEventLoop
    ) -> tuple[Callable[[str, str], object], Callable[[str], object]]:
        """`refuse` and `miss` for somebody who is not in the loop."""
        soon = loop.call_soon_threadsafe
        return lambda path, reason: soon(self.refuse, path, reason), lambda path: soon(self.miss, path)

    def refuse(self, path: str, reason: str) -> None:
        if path not in self._told and len(self._told) < MAX_REFUSED:
            self._told.add(path)
            self._context.metrics.add("podwitness_tail_files_refused_total", self._context.name)
            self._refused.add(path, reason)

    def miss(self, path: str) -> None:
        """A log, or the directory of one, that came and went; how many records it had is not known."""
        tag = self._tag_of_missed(path)
        if tag is None:
            return
        self._context.metrics.add("podwitness_tail_files_missed_total", self._context.name)
        self._missed.add(path)
        now_ns = time.time_ns()
        self._context.intake.report_loss(
            Loss(MISSED, 0, 0, tag, source=self._context.name, path=path, since_ns=now_ns, until_ns=now_ns)
        )

    def close(self) -> None:
        """Says what was not said so far."""
        self._refused.close()
        self._missed.close()
