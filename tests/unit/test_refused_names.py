"""Names that are not followed are said seldom, and counted (collector.inputs.refused_names)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from collector.context import InputContext
from collector.delivery.losses import Loss
from collector.inputs import refused_names
from collector.inputs.refused_names import RefusedNames
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.polling import until_so

REFUSED, MISSED = "podwitness_tail_files_refused_total", "podwitness_tail_files_missed_total"


@dataclass
class House:
    """What the names are told to."""

    losses: list[Loss] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics(TABLE))

    def names(self) -> RefusedNames:
        context = SimpleNamespace(
            name="tail.0",
            log=logging.getLogger("test"),
            metrics=self.metrics,
            plugin=SimpleNamespace(tag="kube.*"),
            intake=SimpleNamespace(report_loss=self.losses.append),
        )
        return RefusedNames(
            cast(InputContext, context), lambda path: None if "hidden" in path else f"kube{path}"
        )

    def count(self, name: str) -> float:
        return self.metrics.value(name, "tail.0")


def test_each_counts_once_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_names, "MAX_REFUSED", 2)
    house = House()

    async def refuse() -> None:
        names = house.names()
        for path in ("/a", "/a", "/b", "/c", "/b"):
            names.refuse(path, "it is a folder")
        names.close()

    asyncio.run(refuse())
    assert house.count(REFUSED) == 2


def test_the_first_is_said_at_once_and_the_others_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused_names, "SAY_S", 0.05)
    one, more = (
        "{} is not followed: it is a folder",
        "{} more names are not followed, the last of them {}: {}",
    )
    first, rest = one.format("/0"), more.format(149, "/149", "it is a folder")

    async def refuse() -> None:
        names = House().names()
        for number in range(150):
            names.refuse(f"/{number}", "it is a folder")
        assert caplog.messages == [first]
        await until_so(lambda: len(caplog.messages) == 2)
        names.refuse("/next", "it is a folder")
        names.close()

    asyncio.run(refuse())
    assert caplog.messages == [first, rest, more.format(1, "/next", "it is a folder")]


def test_nothing_is_said_when_nothing_came(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next after a quiet time is said at once again."""
    monkeypatch.setattr(refused_names, "SAY_S", 0.0)

    async def refuse() -> None:
        names = House().names()
        names.refuse("/a", "x")
        await until_so(lambda: names._refused.timer is None)
        names.refuse("/b", "x")
        names.close()

    asyncio.run(refuse())
    assert caplog.messages == ["/a is not followed: x", "/b is not followed: x"]


def test_what_was_missed_is_a_loss_of_its_own_cause(caplog: pytest.LogCaptureFixture) -> None:
    house = House()

    async def miss() -> None:
        names = house.names()
        _, told = names.from_thread(asyncio.get_running_loop())
        await asyncio.to_thread(told, "/pods/p/c/0.log")
        await asyncio.to_thread(told, "/pods/hidden/c/0.log")
        await asyncio.to_thread(told, "/pods/q/c/0.log")
        await until_so(lambda: len(house.losses) == 2)
        names.close()

    asyncio.run(miss())
    assert house.count(MISSED) == 2
    assert [(loss.cause, loss.path, loss.stream, loss.records) for loss in house.losses] == [
        ("missed", f"/pods/{pod}/c/0.log", f"kube/pods/{pod}/c/0.log", 0) for pod in "pq"
    ]
    assert caplog.messages == [
        "/pods/p/c/0.log was deleted before it could be opened; what it had is lost",
        "1 more files were deleted before they could be opened, the last of them /pods/q/c/0.log",
    ]
