"""What an input has received and not handed over yet: of a listener that nobody hears of otherwise."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from collector.service.stalls import Stall


class UnderWay:
    """`what` is how the input calls it: a message, a request."""

    def __init__(self, source: str, what: str) -> None:
        self._source = source
        self._what = what
        self._taken_s: dict[object, float] = {}  # oldest first, as are the others
        self._offered_s: dict[object, float] = {}

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """It is there whole, and read and filtered: nothing outside can hold that up."""
        with self._noted(self._taken_s):
            yield

    @contextlib.contextmanager
    def offered(self) -> Iterator[None]:
        """It waits for the outputs: for room, or, to be acknowledged, until they have it."""
        with self._noted(self._offered_s):
            yield

    @contextlib.contextmanager
    def _noted(self, since_s: dict[object, float]) -> Iterator[None]:
        one = object()
        since_s[one] = time.monotonic()
        try:
            yield
        finally:
            del since_s[one]

    def stalls(self, now_s: float) -> Iterator[Stall]:
        """The oldest of each."""
        for since_s, reason, is_own in (
            (self._taken_s, f"a {self._what} that was received is not read or filtered", True),
            (self._offered_s, f"a {self._what} waits for the outputs", False),
        ):
            if since_s:
                yield Stall(self._source, reason, now_s - next(iter(since_s.values())), is_own)
