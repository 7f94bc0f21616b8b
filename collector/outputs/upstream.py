"""Several receivers of one output: chunks in turns by weight, those that fail set aside for a while.

The turns are smooth weighted round robin: with weights 2 and 1 it goes a, b, a. A
chunk that one receiver does not take goes to the next at once, so that an
outage of one costs no retry. A receiver that failed is tried again after
ASIDE_S, then after twice as long and so on; when all have failed, all are tried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.upstreams import Node
from collector.plugin import Connections, DeliveryError, Output

if TYPE_CHECKING:
    from collector.delivery.chunk import Chunk

ASIDE_S, LONGEST_ASIDE_S = 5.0, 300.0


@dataclass(slots=True, eq=False)
class _Turn:
    weight: int
    credit: int = 0
    failures: int = 0
    aside_until_s: float = float("-inf")


class Turns:
    """Whose turn it is, by number; without a clock of its own."""

    def __init__(self, weights: Sequence[int]) -> None:
        self._turns = [_Turn(weight) for weight in weights]

    def order(self, now_s: float) -> list[int]:
        """All of them in the order to be tried: whose turn it is, others that work, then the rest."""
        well = [turn for turn in self._turns if turn.aside_until_s <= now_s]
        for turn in well:
            turn.credit += turn.weight
        first = max(well, key=lambda turn: turn.credit, default=None)
        if first is not None:
            first.credit -= sum(turn.weight for turn in well)
        well.sort(key=lambda turn: (turn is not first, -turn.credit))
        aside = [turn for turn in self._turns if turn.aside_until_s > now_s]
        aside.sort(key=lambda turn: turn.aside_until_s)
        return [self._turns.index(turn) for turn in (*well, *aside)]

    def failed(self, number: int, now_s: float) -> bool:
        """Sets it aside; whether that is news."""
        turn = self._turns[number]
        if turn.aside_until_s > now_s:
            return False  # others that were under way failed for the same reason
        turn.failures += 1
        turn.credit = 0
        turn.aside_until_s = now_s + min(ASIDE_S * 2 ** (turn.failures - 1), LONGEST_ASIDE_S)
        return turn.failures == 1

    def worked(self, number: int) -> bool:
        """Takes it back; whether that is news."""
        turn = self._turns[number]
        was_aside = turn.failures > 0
        turn.failures, turn.aside_until_s = 0, float("-inf")
        return was_aside


class Upstream:
    """Implements Output by several of them."""

    def __init__(self, nodes: Sequence[tuple[Node, Output]], log: logging.Logger) -> None:
        self._names = [node.name for node, _ in nodes]
        self._outputs = [output for _, output in nodes]
        self._turns = Turns([node.weight for node, _ in nodes])
        self._log = log
        self.deliveries = max(int(getattr(output, "deliveries", 1)) for output in self._outputs)

    @property
    def connections(self) -> Connections:
        """Of all of them together."""
        found = [getattr(output, "connections", Connections()) for output in self._outputs]
        return Connections(sum(one.total for one in found), sum(one.busy for one in found))

    async def deliver(self, chunk: Chunk) -> None:
        """Returns when one of them has the chunk. Raises DeliveryError, Rejected."""
        loop = asyncio.get_running_loop()
        reasons: list[str] = []
        for number in self._turns.order(loop.time()):
            try:
                await self._outputs[number].deliver(chunk)
            except DeliveryError as reason:
                reasons.append(str(reason))
                if self._turns.failed(number, loop.time()):
                    self._log.warning("%s is set aside: %s", self._names[number], reason)
            else:
                if self._turns.worked(number):
                    self._log.info("%s works again", self._names[number])
                return
        raise DeliveryError("; ".join(reasons))

    async def close(self) -> None:
        await asyncio.gather(*(output.close() for output in self._outputs))
