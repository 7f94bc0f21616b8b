"""The thread in which the spool works, so that nothing of what the outputs do waits for the disk."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from collector.delivery.spool import SpoolDamaged
from collector.service.metrics import Metrics

# A disk that is full stays so for a while.
COMPLAIN_EVERY_S = 10.0

Result = TypeVar("Result")


class SpoolThread:
    """`using` is held from a call until its result is taken note of; `damaged` is told where a spool was."""

    def __init__(
        self, path: Path, damaged: Callable[[SpoolDamaged], None], *, metrics: Metrics, log: logging.Logger
    ) -> None:
        self.using = asyncio.Lock()
        self._path = path
        self._damaged = damaged
        self._metrics = metrics
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._complained_s = float("-inf")

    async def call(self, work: Callable[[], Result]) -> Result | None:
        """None where the spool refused, which is said and counted. Cancelled, it is done all the same."""
        try:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))
        except SpoolDamaged as reason:
            self._damaged(reason)
        except sqlite3.Error as reason:
            self._metrics.add("podwitness_spool_failures_total")
            self._complain(f"the spool {self._path} can't be used ({reason})")
        return None

    async def end(self, work: Callable[[], None]) -> None:
        """After this work."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown()

    def _complain(self, reason: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._complained_s + COMPLAIN_EVERY_S:
            self._complained_s = now_s
            self._log.error("%s; chunks stay in memory as long as they fit: free space on its disk", reason)
