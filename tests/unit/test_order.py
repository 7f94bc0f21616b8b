"""Positions move in the order of the file, in whatever order chunks finish."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.delivery.chunk import FileKey, Position
from collector.delivery.order import Grants, PositionOrder, Step


def position(offset: int, inode: int = 1, fingerprint: bytes = b"") -> Position:
    return Position(FileKey(1, inode, fingerprint), f"/var/log/{inode}", offset)


def test_a_later_chunk_waits_for_an_earlier_one() -> None:
    order = PositionOrder()
    first, second, third = (order.begin("tail.0", position(offset)) for offset in (10, 20, 30))
    assert order.finish(second) is None
    assert order.finish(first) == position(20)
    assert order.finish(third) == position(30)
    assert len(order) == 0


def test_files_and_inputs_do_not_wait_for_each_other() -> None:
    order = PositionOrder()
    order.begin("tail.0", position(10))
    other_file = order.begin("tail.0", position(5, inode=2))
    other_input = order.begin("tail.1", position(7))
    assert order.finish(other_file) == position(5, inode=2)
    assert order.finish(other_input) == position(7)
    assert len(order) == 1


def test_a_growing_fingerprint_is_still_the_same_file() -> None:
    order = PositionOrder()
    first = order.begin("tail.0", position(10, fingerprint=b"a"))
    second = order.begin("tail.0", position(20, fingerprint=b"b"))
    assert order.finish(second) is None
    assert order.finish(first) == position(20, fingerprint=b"b")


def test_steps_are_granted_in_the_order_of_their_file_or_not_at_all() -> None:
    order = PositionOrder()
    first, second, third = (order.begin("tail.0", position(offset)) for offset in (10, 20, 30))
    other = order.begin("tail.0", position(5, inode=2))
    grants = order.grants()
    assert not grants.grant([other, second])
    assert not grants.grant([second])
    assert grants.grant([first, second])
    assert grants.grant([other])
    assert grants.grant([third])
    order.finish(first)
    assert order.grants().grant([second])
    assert not order.grants().grant([third])


class Watched(Step):
    """Counts how often it is looked at."""

    looks = 0

    def __getattribute__(self, name: str) -> object:
        Watched.looks += name == "finished"
        return super().__getattribute__(name)


def test_what_was_granted_is_not_looked_at_again() -> None:
    """A deleted file may have ten thousand small chunks in memory, which all go to the spool at once."""
    steps = [Watched("tail.0", position(offset)) for offset in range(1000)]
    grants = Grants({steps[0].file: steps})
    Watched.looks = 0
    assert all(grants.grant([step]) for step in steps)
    assert Watched.looks <= 2 * len(steps)


@given(st.permutations(range(12)))
def test_what_is_reached_is_the_end_of_the_finished_prefix(finishing: list[int]) -> None:
    order = PositionOrder()
    steps = [order.begin("tail.0", position(index + 1)) for index in range(12)]
    finished: set[int] = set()
    reached = 0
    for index in finishing:
        finished.add(index)
        found = order.finish(steps[index])
        prefix = next((at for at in range(12) if at not in finished), 12)
        assert (found.offset if found else reached) == prefix
        reached = prefix
    assert len(order) == 0
