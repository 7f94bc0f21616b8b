"""collector.cri.runtime with grpc's own server: lists, events, outages, and who is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collector.cri import messages
from collector.cri.places import PLACES
from collector.cri.runtime import LIST_EVERY_S, Runtime
from collector.delivery.retry import Backoff
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests import cri_runtime
from tests.cri_runtime import CriRuntime

PODS, CONTAINERS = cri_runtime.golden("pods"), cri_runtime.golden("ps")
POD, CONTAINER = PODS[0], CONTAINERS[0]
UNKNOWN = "0" * 64


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pw-", dir="/tmp") as folder:
        yield Path(folder)


@dataclass
class Rig:
    root: Path
    socket: str = "auto"
    news: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics(TABLE))

    def __post_init__(self) -> None:
        self.changed = asyncio.Event()
        self.runtime = Runtime(
            self.socket,
            str(self.root),
            metrics=self.metrics,
            report=self._report,
            learned=self._learned,
            backoff=Backoff(0.01, 0.05),
        )

    def _report(self, part: str, ok: bool, reason: str) -> None:
        assert (part, ok) == ("cri", True)
        self.reports.append(reason)
        self.changed.set()

    def _learned(self, ids: list[str]) -> None:
        self.news += ids
        self.changed.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not is_so():
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.05)


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    task = asyncio.create_task(rig.runtime.run())
    try:
        yield rig
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_all_is_learned_at_the_start(root: Path) -> None:
    async def scenario() -> None:
        async with running(Rig(root)) as rig:
            known = len(PODS) + len(CONTAINERS)
            await rig.until(lambda: rig.metrics.value("podwitness_cri_containers") == known)
            assert len(rig.news) == known
            found = rig.runtime.read(CONTAINER["id"])
            assert found is not None
            assert (found.image, dict(found.labels)["app"]) == ("docker.io/library/busybox:1.35", "web")
            assert rig.reports == [f"containerd 1.7.24 at {root / PLACES[0]}"]
            for method in ("Version", "ListPodSandbox", "ListContainers", "ListImages"):
                assert rig.metrics.value("podwitness_cri_calls_total", method, "ok") == 1

    with CriRuntime(root / PLACES[0]):
        asyncio.run(scenario())


def test_a_container_that_shows_up_is_asked_for(root: Path) -> None:
    """Without events: by another list, not before LIST_EVERY_S after the last."""

    async def scenario(runtime: CriRuntime) -> None:
        late = runtime.containers.pop(0)
        async with running(Rig(root)) as rig:
            await rig.until(lambda: CONTAINERS[1]["id"] in rig.news)
            runtime.containers.append(late)
            began_s = time.monotonic()
            assert rig.runtime.read(CONTAINER["id"]) is None
            await rig.until(lambda: CONTAINER["id"] in rig.news)
            assert LIST_EVERY_S * 0.5 < time.monotonic() - began_s < 5
            assert rig.runtime.read(CONTAINER["id"]) is not None
            assert runtime.calls.count("ListContainers") == 2

    with CriRuntime(root / PLACES[0]) as runtime:
        asyncio.run(scenario(runtime))


def test_events_tell_at_once(root: Path) -> None:
    async def scenario(runtime: CriRuntime) -> None:
        runtime.sandboxes, runtime.containers = [], []
        async with running(Rig(root)) as rig:
            status = cri_runtime.container_status(CONTAINER, "docker.io/library/busybox:1.35")
            pod = cri_runtime.sandbox(POD, 7)
            runtime.events.put(cri_runtime.event(CONTAINER["id"], messages.CREATED, pod, (status,)))
            await rig.until(lambda: CONTAINER["id"] in rig.news)
            assert rig.runtime.read(CONTAINER["id"]) is not None
            assert rig.metrics.value("podwitness_cri_events_total") == 1

    with CriRuntime(root / PLACES[0], has_events=True) as runtime:
        asyncio.run(scenario(runtime))


def test_an_event_that_is_none_ends_the_connection_only(root: Path) -> None:
    async def scenario(runtime: CriRuntime) -> None:
        async with running(Rig(root)) as rig:
            runtime.events.put(b"\x0f")
            await rig.until(lambda: any("type 7" in one for one in rig.reports))
            await rig.until(lambda: rig.reports[-1].startswith("containerd"))

    with CriRuntime(root / PLACES[0], has_events=True) as runtime:
        asyncio.run(scenario(runtime))


def test_outage_is_said_once_and_ends(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        lead(root, "first.sock")
        async with running(Rig(root)) as rig:
            await rig.until(lambda: CONTAINER["id"] in rig.news)
            lead(root, "stale.sock")
            first.close()
            assert rig.runtime.read(UNKNOWN) is None
            await rig.until(lambda: sum("refused" in one for one in rig.reports) >= 3)
            assert rig.runtime.read(CONTAINER["id"]) is not None
            lead(root, "second.sock")
            await rig.until(lambda: rig.reports[-1].startswith("containerd"))
            await rig.until(lambda: "answers again" in caplog.text)

    caplog.set_level(logging.INFO, "podwitness.cri")
    first = CriRuntime(root / "first.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(root / "stale.sock"))
    with CriRuntime(root / "second.sock"):
        asyncio.run(scenario())
    assert caplog.text.count("it is asked again") == 1


def lead(root: Path, to: str) -> None:
    """The runtime's place leads to this socket: grpc's server unlinks its own at some time after its end."""
    place, made = root / PLACES[0], root / "link"
    place.parent.mkdir(parents=True, exist_ok=True)
    made.symlink_to(root / to)
    made.replace(place)


def test_off(root: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(1):
            await Rig(root, "off").runtime.run()

    asyncio.run(scenario())


@pytest.mark.parametrize(("asked", "warned"), [("auto", False), ("/run/other.sock", True)])
def test_no_socket(root: Path, asked: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with running(Rig(root, asked)) as rig:
            await rig.until(lambda: bool(rig.reports))
            assert rig.reports == ["no socket of a runtime: labels and image ids come from the API only"]

    asyncio.run(scenario())
    assert (f"Cri_Socket {asked}: there is no socket" in caplog.text) == warned
