"""An output that has processors: chunks go through them on their way to it, and nowhere else.

Memory and spool keep a chunk once for all its outputs, as the filters left it. What
is made of it here is made anew for each delivery, so the processors must make the
same of the same chunk each time: the configuration refuses those that remember
records, give them other tags or ask others (collector.config.document).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from collector.delivery.chunk import Chunk
from collector.filters.chain import Counts, FilterChain
from collector.plugin import AnyFilter, Connections, DeliveryError, Output


class ProcessedOutput:
    """`counted` is told once a chunk is delivered."""

    def __init__(
        self, output: Output, processors: Sequence[AnyFilter], counted: Callable[[AnyFilter, Counts], None]
    ) -> None:
        self.deliveries = int(getattr(output, "deliveries", 1))
        self._output = output
        self._processors = tuple(processors)
        self._counted = counted

    @property
    def connections(self) -> Connections:
        found: Connections = getattr(self._output, "connections", Connections())
        return found

    async def deliver(self, chunk: Chunk) -> None:
        # 2 MiB of records take tenths of a second, in which inputs go on.
        processed, counts = await asyncio.to_thread(self._process, chunk)
        if processed.records:
            await self._output.deliver(processed)
        for count in counts:
            self._counted(*count)

    def _process(self, chunk: Chunk) -> tuple[Chunk, list[tuple[AnyFilter, Counts]]]:
        """The chunk as the output gets it, and what to count. In a thread of its own."""
        counts: list[tuple[AnyFilter, Counts]] = []
        chain = FilterChain(self._processors, lambda *count: counts.append(count))
        try:
            (made,) = chain.apply(self._processors, chunk.tag, chunk.entries, None)
        except ValueError as reason:
            raise DeliveryError(f"its processors can't read the chunk: {reason}") from None
        passed = Counts(passed=made.records, passed_bytes=len(made.entries))
        counts += [(one, passed) for one in self._processors]
        return replace(chunk, entries=made.entries, records=made.records), counts

    async def close(self) -> None:
        await self._output.close()
