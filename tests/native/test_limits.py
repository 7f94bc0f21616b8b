"""collector.native.limits on the maps of the kernel; tests/kernel/test_limits_kept.py has the probes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from collector._native import ffi

from collector.native.event_kinds import Kind
from collector.native.limits import OTHER_CGROUPS, SLOTS, Limits, Rate
from tests.reference.kernel_ring import KernelLimits


@pytest.fixture
def kernel() -> Iterator[KernelLimits]:
    with KernelLimits() as made:
        yield made


@pytest.fixture
def limits(kernel: KernelLimits) -> Iterator[Limits]:
    made = Limits(kernel.rates_fd, kernel.limits_fd)
    yield made
    made.close()


def test_rates_are_intervals_and_what_may_come_at_once(kernel: KernelLimits, limits: Limits) -> None:
    assert kernel.limits() == [(0, 0)] * 3
    limits.set({"process": Rate(1000, 5), "privilege": Rate(3, 1)})
    assert kernel.limits() == [(10**6, 4 * 10**6), (0, 0), (333_333_333, 0)]
    limits.set({"network": Rate(0, 1)})
    assert kernel.limits() == [(0, 0)] * 3


def test_each_look_tells_what_is_new_by_cgroup(kernel: KernelLimits, limits: Limits) -> None:
    assert limits.suppressed() == {}
    kernel.suppress(7, 70, Kind.EXEC, 3)
    kernel.suppress(7, 70, Kind.CLOSE, 1)
    kernel.suppress(9, 90, Kind.FORK, 5)
    assert limits.suppressed() == {70: Counter({Kind.EXEC: 3, Kind.CLOSE: 1}), 90: Counter({Kind.FORK: 5})}
    assert limits.suppressed() == {}
    kernel.suppress(7, 70, Kind.EXEC, 2)
    assert limits.suppressed() == {70: Counter({Kind.EXEC: 2})}


def test_counters_wrap(kernel: KernelLimits, limits: Limits) -> None:
    kernel.suppress(7, 70, Kind.EXEC, 2**32 - 1)
    assert limits.suppressed() == {70: Counter({Kind.EXEC: 2**32 - 1})}
    kernel.suppress(7, 70, Kind.EXEC, 3)
    assert limits.suppressed() == {70: Counter({Kind.EXEC: 3})}


def test_a_cgroup_in_two_slots_is_one(kernel: KernelLimits, limits: Limits) -> None:
    """It lost one while it was idle, and has another now."""
    kernel.suppress(7, 70, Kind.EXEC, 1)
    kernel.suppress(8, 70, Kind.EXEC, 2)
    assert limits.suppressed() == {70: Counter({Kind.EXEC: 3})}


def test_the_last_slot_is_that_of_all_others(kernel: KernelLimits, limits: Limits) -> None:
    kernel.suppress(SLOTS, 0, Kind.EXEC, 4)
    assert limits.suppressed() == {OTHER_CGROUPS: Counter({Kind.EXEC: 4})}


def test_the_table_is_mapped_only_when_something_was_suppressed(kernel: KernelLimits, limits: Limits) -> None:
    """It would count as memory of the collector."""

    def mapped() -> int:
        with open("/proc/self/maps") as maps:
            return sum("bpf-map" in line for line in maps)

    before = mapped()
    kernel.suppress(7, 70, Kind.EXEC, 1)
    assert limits.suppressed()
    assert mapped() == before


def test_what_is_no_map_is_refused() -> None:
    reading, writing = os.pipe()
    with pytest.raises(OSError, match=r"device|permitted|denied|argument"):
        Limits(reading, writing)
    os.close(reading)
    os.close(writing)


def test_a_slot_is_as_long_as_the_kernel_steps() -> None:
    assert ffi.sizeof("struct pw_limit_slot") % 8 == 0
