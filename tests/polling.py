"""Waiting for what tells nobody when it changes: another process's pages and files, the kernel's own lists.

Whatever has an event, a condition or a line of a log is awaited by that.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Generic, TypeVar

DEADLINE_S = 30.0
EVERY_S = 0.02

Answer = TypeVar("Answer")


def until(
    probe: Callable[[], Answer | None],
    what: str = "",
    deadline_s: float = DEADLINE_S,
    *,
    every_s: float = EVERY_S,
) -> Answer:
    """The first true answer. Fails with `what`, or the code of `probe`, and the last answer."""
    awaited = _Awaited(probe, what, deadline_s)
    while not (answer := awaited.look()):
        time.sleep(every_s)
    return answer


async def until_so(
    probe: Callable[[], Answer | None],
    what: str = "",
    deadline_s: float = DEADLINE_S,
    *,
    every_s: float = EVERY_S,
) -> Answer:
    """The same, while the loop goes on."""
    awaited = _Awaited(probe, what, deadline_s)
    while not (answer := awaited.look()):  # noqa: ASYNC110
        await asyncio.sleep(every_s)
    return answer


def throughout(for_s: float, probe: Callable[[], bool]) -> None:
    """Looks again and again, for so long; fails at the first answer that is not true."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        assert probe(), f"no longer: {_code_of(probe)}"
        time.sleep(EVERY_S)


class _Awaited(Generic[Answer]):
    def __init__(self, probe: Callable[[], Answer | None], what: str, deadline_s: float) -> None:
        self._probe = probe
        self._what = what or _code_of(probe)
        self._deadline_s = deadline_s
        self._end_s = time.monotonic() + deadline_s

    def look(self) -> Answer | None:
        answer = self._probe()
        if not answer and time.monotonic() > self._end_s:
            raise AssertionError(f"not in {self._deadline_s:g} s: {self._what}; the last answer: {answer!r}")
        return answer


def _code_of(probe: Callable[[], object]) -> str:
    try:
        return " ".join(inspect.getsource(probe).split())
    except (OSError, TypeError):  # a partial, or a method of C
        return repr(probe)
