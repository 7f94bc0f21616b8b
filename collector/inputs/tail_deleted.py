"""Deleted files that are held open because no output takes them: their room on disk has a bound.

Beyond it the oldest are given up: they are read, so that it is known what they had, and lost, told by the
cause `deleted`. One of a log that was read a moment ago is not: its turn comes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from collector.delivery.losses import Loss
from collector.inputs.follow import FollowedFile
from collector.inputs.portion import Portion
from collector.inputs.succession import Succession

if TYPE_CHECKING:
    from collector.context import InputContext

CAUSE = "deleted"
GAUGE = "podwitness_tail_deleted_bytes"
# What one costs beside its blocks: a descriptor, a stream of the log core, and what is known of it.
FILE_BYTES = 64 << 10
BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own
# So long a log is not read only where outputs take nothing, or far less than is written.
IDLE_S = 10.0
LOOK_S = 1.0


class DeletedFiles:
    """Files in the order in which they were first held."""

    def __init__(
        self, context: InputContext, limit_bytes: int, successions: Mapping[str, Succession]
    ) -> None:
        self._context = context
        self._limit_bytes = limit_bytes
        self._successions = successions
        self._held: dict[FollowedFile, int] = {}
        self._held_bytes = 0
        self._look_s = 0.0
        self._has_said = False

    def hold(self, file: FollowedFile, now_s: float) -> Iterable[FollowedFile]:
        """The file has no name and can't be read now; gives those that may be read now as they are lost."""
        if succession := self._successions.get(file.place):
            succession.hurry_before(file)
        if not file.is_given_up:
            self._count(file, os.fstat(file.fd).st_blocks * BLOCK_BYTES + FILE_BYTES)
        if self._held_bytes <= self._limit_bytes or now_s < self._look_s:
            return ()
        self._look_s = now_s + LOOK_S
        given_up = self._beyond_limit(now_s)
        for one in given_up:
            one.is_given_up = True
            self._count(one, 0)
        return given_up

    def leave(self, file: FollowedFile) -> None:
        """It is closed."""
        self._count(file, 0)

    def lose(self, file: FollowedFile, tag: str, portion: Portion) -> None:
        """Tells what was read of a file that is given up."""
        if portion.to_offset == portion.from_offset and not portion.records:
            return
        if not self._has_said:
            self._has_said = True
            self._context.log.error(
                "deleted files that no output takes hold more than Deleted_Limit on disk: the oldest are "
                "lost, which storage.path would have kept"
            )
        now_ns = time.time_ns()
        loss = Loss(
            CAUSE,
            portion.records,
            len(portion.entries),
            tag,
            source=self._context.name,
            path=file.place,
            from_offset=portion.from_offset,
            to_offset=portion.to_offset,
            since_ns=now_ns,
            until_ns=now_ns,
        )
        self._context.intake.report_loss(loss)

    def _count(self, file: FollowedFile, size_bytes: int) -> None:
        change = size_bytes - self._held.get(file, 0)
        if not change:
            return
        self._held[file] = size_bytes
        if not size_bytes:
            del self._held[file]
        self._held_bytes += change
        self._context.metrics.set(GAUGE, self._context.name, to=self._held_bytes)

    def _beyond_limit(self, now_s: float) -> list[FollowedFile]:
        """Oldest first, of a log in the order of its files."""
        excess = self._held_bytes - self._limit_bytes
        found: dict[FollowedFile, None] = {}
        for file in self._held:
            if excess <= 0:
                break
            for one in self._idle_up_to(file, now_s):
                if excess > 0 and one not in found:
                    found[one] = None
                    excess -= self._held.get(one, 0)
        return list(found)

    def _idle_up_to(self, file: FollowedFile, now_s: float) -> list[FollowedFile]:
        """The file and those of its log before it; [] if one was read a moment ago, or still has a name."""
        succession = self._successions.get(file.place)
        if succession is None or file not in succession.files:
            return []
        files = [*succession.before(file), file]
        read_s = max(max(one.looked_s, one.found_s) for one in files)
        is_idle = read_s + IDLE_S <= now_s and all(one.is_gone for one in files)
        return [one for one in files if not one.is_given_up] if is_idle else []
