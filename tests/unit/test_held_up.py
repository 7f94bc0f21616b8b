"""An input that one output holds up for the others: said once, seen in health, over when it is over."""

from __future__ import annotations

import asyncio
import time

import pytest

from collector.delivery import held_up
from tests.unit.routing import Recorder, chunk, logs, refuse, route, routing


def reports_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool, str]]:
    monkeypatch.setattr(held_up, "PATIENCE_S", 0.02)
    return []


def test_who_holds_up_whom_is_said_once_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reports = reports_of(monkeypatch)

    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        async with routing(
            route(dead, "dead", None, logs),
            route(alive, "alive"),
            total_bytes=8000,
            report=lambda *what: reports.append(what),
        ) as house:
            router = house.router
            await router.submit(chunk(bytes(1900), offset=1))
            await alive.wait_until(lambda: len(alive.accepted) == 1)
            assert not router.takes("tail.0", "kube.a", lambda: False)
            await house.until(lambda: bool(reports))
            assert not router.takes("tail.0", "kube.a", lambda: False)
            await asyncio.sleep(0.05)
            (line,) = [line for line in caplog.messages if "stands still" in line]
            assert "tail.0 stands still because dead takes nothing (nobody listens), since 2" in line
            assert "nor does alive get it" in line
            for remedy in ("storage.path", "Retry_Limit", "storage.total_limit_size"):
                assert remedy in line
            assert reports == [
                ("delivery", False, "tail.0 stands still because dead takes nothing (nobody listens)")
            ]
            assert router.holds_up("tail.0")
            stalls = {stall.subject: stall for stall in router.stalls(time.monotonic())}
            assert stalls["tail.0"].age_s >= 0.02
            assert not stalls["tail.0"].is_own
            dead.behave = None
            await house.until(lambda: len(reports) == 2)
            assert reports[1] == ("delivery", True, "")
            assert not router.holds_up("tail.0")

    asyncio.run(scenario())


def test_where_no_output_takes_anything_nobody_is_held_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reports = reports_of(monkeypatch)

    async def scenario() -> None:
        outputs = [route(Recorder(behave=refuse), name, None, logs) for name in ("one", "other")]
        async with routing(*outputs, total_bytes=8000, report=lambda *what: reports.append(what)) as house:
            await house.router.submit(chunk(bytes(1900), offset=1))
            assert not house.router.takes("tail.0", "kube.a", lambda: False)
            await asyncio.sleep(0.1)
            assert not house.router.holds_up("tail.0")

    asyncio.run(scenario())
    assert reports == []
    assert not any("stands still" in line for line in caplog.messages)


def test_an_inputs_own_bound_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = reports_of(monkeypatch)

    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        async with routing(
            route(dead, "dead", None, logs),
            route(alive, "alive"),
            source_limits={"tail.0": 3000},
            report=lambda *what: reports.append(what),
        ) as house:
            await house.router.submit(chunk(bytes(1900), offset=1))
            waiting = asyncio.create_task(house.router.submit(chunk(bytes(900), offset=2)))
            await house.until(lambda: bool(reports))
            dead.behave = None
            await waiting

    asyncio.run(scenario())
    assert reports[0][1] is False
