"""Several receivers: whose turn it is, and what happens when one fails and comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.upstreams import Node
from collector.delivery.chunk import Chunk
from collector.entries import pack_entry
from collector.outputs.forward import ForwardOutput, Settings
from collector.outputs.upstream import ASIDE_S, LONGEST_ASIDE_S, Turns, Upstream
from collector.plugin import DeliveryError
from tests.receiver import Behaviour, Receiver, receiving

LOG = logging.getLogger("test")


def firsts(turns: Turns, count: int, now_s: float = 0.0) -> list[int]:
    return [turns.order(now_s)[0] for _ in range(count)]


def test_turns_follow_the_weights_without_bursts() -> None:
    assert firsts(Turns([1, 1, 1]), 6) == [0, 1, 2, 0, 1, 2]
    assert firsts(Turns([5, 1, 1]), 7) == [0, 0, 1, 0, 2, 0, 0]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_in_a_round_each_has_its_weight(weights: list[int]) -> None:
    turns = Turns(weights)
    for _ in range(2):
        assert Counter(firsts(turns, sum(weights))) == dict(enumerate(weights))


def test_one_that_failed_comes_last_and_comes_back() -> None:
    turns = Turns([1, 1])
    assert turns.failed(0, 0.0)
    assert turns.order(ASIDE_S - 0.1) == [1, 0]
    assert firsts(turns, 3, 1.0) == [1, 1, 1]
    assert 0 in firsts(turns, 2, ASIDE_S)
    assert not turns.failed(0, ASIDE_S)
    assert turns.order(2.9 * ASIDE_S) == [1, 0]
    assert turns.worked(0)
    assert not turns.worked(0)
    assert Counter(firsts(turns, 4, 0.0)) == {0: 2, 1: 2}


def test_it_is_never_set_aside_for_longer_than_the_longest() -> None:
    turns, now_s = Turns([1, 1]), 0.0
    for _ in range(20):
        turns.failed(0, now_s)
        now_s += LONGEST_ASIDE_S
        assert 0 in firsts(turns, 2, now_s)


def test_failures_of_what_was_under_way_count_once() -> None:
    turns = Turns([1, 1])
    assert turns.failed(0, 0.0)
    assert not turns.failed(0, 0.1)
    assert 0 in firsts(turns, 2, ASIDE_S)


def upstream(*receivers: Receiver) -> Upstream:
    nodes = []
    for number, receiver in enumerate(receivers):
        settings = dataclasses.replace(
            Settings(), port=receiver.port, require_ack_response=True, io_timeout_s=5.0
        )
        nodes.append((Node(f"node-{number}", 1, settings), ForwardOutput(settings, LOG)))
    return Upstream(nodes, LOG)


def chunk(number: int) -> Chunk:
    return Chunk(number.to_bytes(16, "big"), "a", pack_entry(10**18, [("n", number)]), 1, "tail.0", 0)


def test_chunks_are_shared_out_and_a_dead_receiver_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        async with receiving() as first, receiving() as second:
            output = upstream(first, second)
            for number in range(6):
                await output.deliver(chunk(number))
            assert (len(first.received), len(second.received)) == (3, 3)
            first.behave = lambda received: Behaviour.CLOSE
            for number in range(6, 16):
                await output.deliver(chunk(number))
            sent = sorted(record[b"n"] for record in first.records + second.records)
            assert sent == list(range(16))
            assert len(first.received) == 3
            await output.close()

    asyncio.run(scenario())
    assert caplog.text.count("node-0 is set aside") == 1


def test_when_all_fail_the_reason_names_all() -> None:
    async def scenario() -> None:
        async with receiving() as first, receiving() as second:
            output = upstream(first, second)
            first.behave = second.behave = lambda received: Behaviour.CLOSE
            with pytest.raises(DeliveryError, match=f"{first.port}.*{second.port}"):
                await output.deliver(chunk(1))
            second.behave = lambda received: Behaviour.ACCEPT
            await output.deliver(chunk(1))
            assert len(second.received) == 1
            await output.close()

    asyncio.run(scenario())
