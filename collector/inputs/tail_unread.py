"""Files that have something to read which nobody reads, seen from outside of the coroutine that should."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice

from collector.inputs.follow import FollowedFile
from collector.inputs.succession import Succession
from collector.service.stalls import Stall

LOGS_A_LOOK = 1000


class UnreadFiles:
    """Notes when a file was first seen to have more than was read, since its last turn.

    A turn may leave something: a line without its end, a file that the outputs have no room for. So only a
    file counts that gets no turn, and it gets one every Refresh_Interval at the latest, or once the files
    of the same log before it are read. Of many logs so many are looked at each time, and those noted.
    """

    def __init__(self, source: str, successions: Mapping[str, Succession], refresh_s: float) -> None:
        self._source = source
        self._successions = successions
        self._refresh_s = refresh_s
        self._since_s: dict[FollowedFile, float] = {}
        self._round: Iterator[str] = iter(())

    def stalls(self, now_s: float) -> Iterator[Stall]:
        """At most one: the file that has waited longest. Asked every ten seconds or so."""
        before, self._since_s = self._since_s, {}
        for place in {one.place for one in before}.union(self._next()):
            file = self._unread(place)
            if file is not None:
                since_s = before.get(file, now_s)
                self._since_s[file] = now_s if file.turned_s >= since_s else since_s
        if self._since_s:
            file, since_s = min(self._since_s.items(), key=lambda item: item[1])
            reason = f"{file.place} has grown beyond byte {file.offset} and is not read"
            yield Stall(self._source, reason, max(0.0, now_s - since_s - self._refresh_s), True)

    def _next(self) -> list[str]:
        places = list(islice(self._round, LOGS_A_LOOK))
        if len(places) < LOGS_A_LOOK:
            self._round = iter(tuple(self._successions))
            places += islice(self._round, LOGS_A_LOOK - len(places))
        return places

    def _unread(self, place: str) -> FollowedFile | None:
        """The first file of a log that has more."""
        succession = self._successions.get(place)
        return next((one for one in succession.files if _has_more(one)), None) if succession else None


def _has_more(file: FollowedFile) -> bool:
    if file.file.is_compressed:
        return not file.is_read
    try:
        return os.fstat(file.fd).st_size > file.offset
    except OSError:
        return False
