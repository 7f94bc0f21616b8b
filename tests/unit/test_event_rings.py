"""collector.inputs.event_rings: both rings are mapped and watched, and what of them is unread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from collector.inputs.event_rings import Rings, RingWatch, Unread
from tests.reference.kernel_ring import FORCE_WAKEUP
from tests.unit.ebpf_rig import FLOW_RING_BYTES, RING_BYTES, Probes, fork, made_probes


@pytest.fixture
def probes() -> Iterator[Probes]:
    with made_probes() as made:
        yield made


@pytest.fixture
def rings(probes: Probes) -> Iterator[Rings]:
    made = Rings.open(probes, RING_BYTES, FLOW_RING_BYTES)
    yield made
    made.close()


@pytest.mark.parametrize("number", [0, 1])
def test_either_ring_can_be_past_its_half(probes: Probes, rings: Rings, number: int) -> None:
    kernel = (probes.ring, probes.flow_ring)[number]
    for _ in range(rings[number].size_bytes // 2 // (len(fork(1)) + 8)):
        assert kernel.submit(fork(1))
    assert not rings.is_past_half
    assert kernel.submit(fork(1))
    assert rings.is_past_half
    assert rings.fill_bytes[1 - number] == 0


def test_a_ring_that_is_none_leaves_nothing_mapped(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes.flow_ring, "ring_fd", -1)

    def mapped() -> int:
        with open("/proc/self/maps") as maps:
            return sum("bpf-map" in line for line in maps)

    before = mapped()
    with pytest.raises(OSError, match="mmap"):
        Rings.open(probes, RING_BYTES, FLOW_RING_BYTES)
    assert mapped() == before


@pytest.mark.parametrize("number", [0, 1])
def test_a_notification_of_either_ring_ends_the_wait(probes: Probes, number: int) -> None:
    async def scenario() -> None:
        watch = RingWatch(probes, asyncio.Event())
        assert not await watch.wait(0.01)
        assert (probes.ring, probes.flow_ring)[number].submit(fork(1), FORCE_WAKEUP)
        assert await watch.wait(60)
        assert not await watch.wait(0.01)
        watch.close()

    asyncio.run(scenario())


def test_nothing_is_unread_when_all_rings_were_read_that_far() -> None:
    unread = Unread((10, 20))
    unread.read((500, 19))
    assert not unread.is_nothing
    unread.read((0, 1))
    assert unread.is_nothing
