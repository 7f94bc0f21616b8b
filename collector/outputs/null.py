"""`[OUTPUT] Name null`: takes records and throws them away, to measure what comes before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.plugin import Output

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk

SUMMARY = "Throws records away."


@dataclass(frozen=True, slots=True)
class Settings:
    """It has no keys of its own."""


class Null:
    async def deliver(self, chunk: Chunk) -> None:
        """Has it at once."""

    async def close(self) -> None:
        """Holds nothing."""


def make(settings: Settings, context: Context) -> Output:
    return Null()
