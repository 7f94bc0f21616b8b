"""What is gone stays a while, and what has to go first is what has been gone longest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.identity.retention import Retention


def test_gone_stays_until_its_time_is_over() -> None:
    kept = Retention(10, 100)
    for one in (1, 2, 3):
        assert kept.add(one) is None
    kept.leave(2, 50)
    kept.leave(1, 60)
    assert kept.live() == (3,)
    assert kept.expire(149) == []
    assert kept.expire(150) == [2]
    assert kept.expire(1000) == [1]
    assert (len(kept), kept.gone, kept.evicted) == (1, 0, 0)


def test_id_that_comes_back_is_live() -> None:
    kept = Retention(10, 100)
    kept.add(1)
    kept.leave(1, 0)
    kept.add(1)
    assert kept.expire(1000) == []
    assert kept.live() == (1,)


def test_full_the_longest_gone_goes_then_the_longest_here() -> None:
    kept = Retention(2, 100)
    kept.add(1)
    kept.add(2)
    kept.leave(2, 0)
    assert kept.add(3) == 2
    assert kept.add(4) == 1
    assert (kept.live(), kept.evicted) == ((3, 4), 2)


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans())), st.integers(1, 6))
def test_never_more_than_the_bound_and_never_the_one_just_added(
    steps: list[tuple[int, bool]], bound: int
) -> None:
    kept = Retention(bound, 5)
    for now, (one, comes) in enumerate(steps):
        if comes:
            assert kept.add(one) != one
            assert one in kept.live()
        else:
            kept.leave(one, now)
        kept.expire(now)
        assert len(kept) <= bound
