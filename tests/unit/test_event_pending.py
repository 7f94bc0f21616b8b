"""collector.inputs.event_pending: waiting is bounded, nothing is dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.inputs.event_pending import Pending

SECOND = 10**9


def test_records_of_a_cgroup_keep_their_order_by_subject() -> None:
    pending = Pending(1000, SECOND)
    for subject, record in (("process", b"a"), ("network", b"b"), ("process", b"c")):
        pending.add(7, subject, record, 0)
    parked = pending.take(7)
    assert parked is not None
    assert (parked.process, parked.network) == ([b"a", b"c"], [b"b"])
    assert (pending.size_bytes, len(pending), pending.take(7)) == (0, 0, None)


def test_due_after_the_timeout_counted_from_the_first_record() -> None:
    pending = Pending(1000, SECOND)
    pending.add(1, "process", b"a", 0)
    pending.add(2, "process", b"a", SECOND // 2)
    pending.add(1, "process", b"a", SECOND - 1)
    assert pending.due(SECOND - 1) == []
    assert pending.due(SECOND) == [1]
    assert pending.due(2 * SECOND) == [1, 2]


def test_the_oldest_are_due_when_all_take_too_much_room() -> None:
    pending = Pending(100, SECOND)
    for cgroup in range(5):
        pending.add(cgroup, "network", b"x" * 40, cgroup)
    assert pending.due(5) == [0, 1, 2]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60), st.integers(0, SECOND // 4))),
    st.integers(0, 200),
)
def test_never_more_than_the_limit_once_the_due_are_taken(
    arrivals: list[tuple[int, int, int]], limit: int
) -> None:
    pending = Pending(limit, SECOND)
    now_ns = put = taken = 0
    for cgroup, size, pause_ns in arrivals:
        now_ns += pause_ns
        pending.add(cgroup, "process", bytes(size), now_ns)
        put += size
        for due in pending.due(now_ns):
            parked = pending.take(due)
            assert parked is not None
            taken += parked.size_bytes
        assert pending.size_bytes <= limit
        assert pending.size_bytes == put - taken
