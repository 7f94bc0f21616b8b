"""The outputs that chunks go to, their workers, and how they change while chunks are under way.

A changed output takes over what its predecessor of the same name had not delivered; what that is
sending just now it may finish, so that nothing is sent twice. A removed one delivers what it was given
for as long as Grace lasts; then the rest is given up, counted and told, as if its receiver refused it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from collector.delivery.outlet import Outlet, Route
from collector.plugin import DeliveryError, Output, Rejected

# How long an output may take to end its connections in good order.
CLOSE_S = 3.0

Work = Callable[[Outlet], Coroutine[Any, Any, None]]
"""What a worker of an outlet does; it ends when the outlet has another output than it began with."""


class Removed:
    """In the place of an output that is not in the configuration any more."""

    async def deliver(self, chunk: object) -> None:
        raise Rejected("the output was removed from the configuration")

    async def close(self) -> None:
        """There is nothing to end."""


class Roster:
    """`taking` are given chunks, `leaving` only deliver what they were given."""

    def __init__(self, routes: Sequence[Route], total_bytes: int, log: logging.Logger) -> None:
        self._total_bytes = total_bytes
        self._log = log
        self._group: asyncio.TaskGroup | None = None
        self._work: Work | None = None
        self._workers: dict[Outlet, list[asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.taking = tuple(Outlet(route, 0, log) for route in routes)
        self.leaving: tuple[Outlet, ...] = ()
        self._share()

    @property
    def all(self) -> tuple[Outlet, ...]:
        return self.taking + self.leaving

    def matching(self, tag: str) -> tuple[Outlet, ...]:
        return tuple(outlet for outlet in self.taking if outlet.route.matches(tag))

    def begin(self, group: asyncio.TaskGroup, work: Work) -> None:
        """Starts the workers."""
        self._group, self._work = group, work
        for outlet in self.all:
            self._staff(outlet)

    def end(self) -> None:
        """Cancels them."""
        for task in tuple(self._tasks):
            task.cancel()

    async def close(self) -> None:
        await asyncio.gather(*(self._close(outlet.route.name, outlet.route.output) for outlet in self.all))

    def replace(self, names: Collection[str], routes: Sequence[Route], grace_s: float) -> None:
        """From now on these outputs, of which `routes` are other ones or new."""
        known = {outlet.route.name: outlet for outlet in self.all}
        given = {route.name: route for route in routes}
        made = [Outlet(given[name], 0, self._log) for name in names if name not in known]
        known |= {outlet.route.name: outlet for outlet in made}
        before, self.taking = self.taking, tuple(known[name] for name in names)
        gone = [outlet for outlet in before if outlet not in self.taking]
        self.leaving = (*(one for one in self.leaving if one not in self.taking), *gone)
        self._share()
        for outlet in self.taking:
            if outlet not in made and outlet.route.name in given:
                self._hand_over(outlet, given[outlet.route.name], grace_s)
        for outlet in gone if self._group is not None else ():
            self._begin(self._leave(outlet, grace_s), f"leave {outlet.route.name}")
        for outlet in made:
            self._staff(outlet)

    def _share(self) -> None:
        for outlet in self.taking:
            outlet.share_bytes = self._total_bytes // max(1, len(self.taking))

    def _staff(self, outlet: Outlet) -> None:
        if self._group is None or self._work is None:
            return
        name = f"deliver to {outlet.route.name}"
        self._workers[outlet] = [
            self._begin(self._work(outlet), name) for _ in range(outlet.route.deliveries)
        ]

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._group is not None
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _hand_over(self, outlet: Outlet, route: Route, grace_s: float) -> None:
        """To workers of its own: those of before may wait for an output that hangs."""
        before, workers = outlet.route.output, self._workers.get(outlet, [])
        outlet.route = route
        outlet.try_all_again()
        self._staff(outlet)
        name = f"end {route.name}"
        self._begin(self._end_output(outlet, before, workers, grace_s), name)

    async def _end_output(
        self, outlet: Outlet, output: Output, workers: Sequence[asyncio.Task[None]], grace_s: float
    ) -> None:
        """Once it has sent what it is sending; what it does not get rid of goes to its successor."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await outlet.until_quiet(output)
        for worker in workers:
            worker.cancel()
        await self._close(outlet.route.name, output)

    async def _leave(self, outlet: Outlet, grace_s: float) -> None:
        output = outlet.route.output
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await outlet.until_idle()
        if outlet in self.taking:  # it is back
            return
        if outlet.route.output is output:
            self._hand_over(outlet, Route(outlet.route.name, Removed(), outlet.route.matches), grace_s)
        await outlet.until_idle()
        if outlet in self.taking:
            return
        self.leaving = tuple(one for one in self.leaving if one is not outlet)
        for task in self._workers.pop(outlet, []):
            task.cancel()

    async def _close(self, name: str, output: Output) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await output.close()
        except (TimeoutError, OSError, DeliveryError) as reason:
            self._log.warning("%s did not close in good order: %r", name, reason)
