"""What goes to the spool because it could not be read again, and what does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.delivery import securing, spooling
from collector.delivery.admission import Admission
from collector.delivery.lanes import Ticket
from collector.delivery.order import PositionOrder
from collector.delivery.securing import Ties
from tests.unit.routing import Recorder, never, route, routing
from tests.unit.spooled import event, opened, position_of


def test_what_is_only_in_memory_is_written_unless_its_input_asks_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(securing, "AT_RISK_S", 0.01)
    monkeypatch.setattr(spooling, "LINGER_S", 0.01)

    async def scenario() -> None:
        hung = Recorder(behave=never())
        async with routing(route(hung), spool=opened(tmp_path), memory_only=["dummy.0"]) as house:
            await house.router.submit(replace(event(1, "light"), source="dummy.0"))
            await house.router.submit(event(2, "heavy"))
            await house.until(lambda: house.metrics.value("podwitness_spool_written_bytes_total") > 0)
            await house.router.drain(0.01)
        spool = opened(tmp_path)
        assert {one.tag for one in spool.contents() if one.source != "podwitness"} == {"heavy"}
        spool.close()

    asyncio.run(scenario())


def test_a_look_asks_once_whether_an_input_is_at_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer goes through all who wait: a thousand clients, and tens of thousands of chunks in memory."""

    async def scenario() -> list[str]:
        asked: list[str] = []

        def is_at_limit(_: Admission, source: str) -> bool:
            asked.append(source)
            return True

        async with routing(
            route(Recorder(behave=never())), spool=opened(tmp_path), source_limits={"ebpf.0": 1 << 20}
        ) as house:
            for number in range(50):
                await house.router.submit(event(number))
            assert house.router._securing
            monkeypatch.setattr(Admission, "is_at_limit", is_at_limit)
            house.router._securing.look()
            return list(asked)

    assert asyncio.run(scenario()) == ["ebpf.0"]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abcdef")), min_size=1, max_size=12))
def test_what_has_files_or_tags_in_common_goes_together(pairs: list[tuple[int, str]]) -> None:
    order = PositionOrder()
    tickets = [
        Ticket(event(at, tag), 1000, 1, order.begin("tail.0", position_of(at, inode)))
        for at, (inode, tag) in enumerate(pairs)
    ]
    ties = Ties(iter(tickets))  # gone through once, however many logs there are
    first = tickets[0].step
    assert first
    files, tags = {pairs[0][0]}, {pairs[0][1]}
    for _ in pairs:
        tags |= {tag for inode, tag in pairs if inode in files}
        files |= {inode for inode, tag in pairs if tag in tags}
    found, of_tags = ties.of(first.file)
    assert ({inode for _, _, inode in found}, sorted(of_tags)) == (files, sorted(tags))
    assert {one for tag in of_tags for one in ties.tickets[tag]} <= set(tickets)
