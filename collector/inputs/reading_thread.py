"""A thread beside the loop that reads files for it, one call after the other.

An executor's futures have a lock and a copy in the loop each, which with what surrounds them
is 60 us of the loop's thread for each portion of a file, instead of 37 here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Result = TypeVar("Result")


class ReadingThread(Generic[Result]):
    """To be made in the loop that asks it, and to be closed."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked: SimpleQueue[tuple[Callable[[], Result], asyncio.Future[Result]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def ask(self, call: Callable[[], Result]) -> asyncio.Future[Result]:
        """What the call gives or raises, once those before it are done."""
        told = self._loop.create_future()
        self._asked.put((call, told))
        return told

    def close(self) -> None:
        """Waits for what was asked; nothing may be asked any more."""
        self._asked.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            call, told = asked
            try:
                result = call()
            except BaseException as error:  # raised where it was asked
                self._loop.call_soon_threadsafe(_fail, told, error)
            else:
                self._loop.call_soon_threadsafe(_tell, told, result)
                del result  # it may be a slab, which is used again when nobody has it
            del asked, call, told


def _tell(told: asyncio.Future[Result], result: Result) -> None:
    if not told.done():
        told.set_result(result)


def _fail(told: asyncio.Future[Result], error: BaseException) -> None:
    if not told.done():
        told.set_exception(error)
