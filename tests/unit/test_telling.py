"""Losses on their way: one chunk at a time, told again when it was not delivered."""

from __future__ import annotations

import logging

import pytest

from collector.delivery.chunk import Chunk
from collector.delivery.lanes import Ticket
from collector.delivery.losses import LOSS_TAG, Batch, Loss, Untold, unpacked
from collector.delivery.telling import Telling
from collector.entries import unpack_entries
from collector.service.metrics import Metrics
from collector.service.table import TABLE


def made(*names: str) -> Telling:
    telling = Telling("node-1", metrics=Metrics(TABLE), log=logging.getLogger("test"))
    telling.listen(names or ("out.0",))
    return telling


def loss(records: int = 1) -> Loss:
    return Loss("shed", records, 10, "kernel.network", "out.0")


def test_what_an_output_will_not_have_is_counted_whatever_the_cause() -> None:
    metrics = Metrics(TABLE)
    telling = Telling("node-1", metrics=metrics, log=logging.getLogger("test"))
    for cause in ("storage_limit", "shed", "retry_limit", "rejected"):
        telling.report(Loss(cause, 3, 10, "kube.a", "out.0"))
    telling.report(Loss("missed", 1, 10, "kube.a", ""))
    assert metrics.value("fluentbit_output_dropped_records_total", "out.0") == 12
    assert metrics.total("fluentbit_output_dropped_records_total") == 12


def told(chunk: Chunk) -> int:
    return sum(
        dict(pairs)["podwitness"]["loss"]["records"] for _, pairs in unpack_entries(bytes(chunk.entries))
    )


def gathered(telling: Telling) -> list[tuple[str, Chunk]]:
    telling.gather()
    return list(telling.chunks())


def take(telling: Telling, name: str, chunk: Chunk) -> None:
    """The output has it."""
    ticket = Ticket(chunk, 100, 1, delivered=1)
    telling.sent(name, ticket)
    telling.finished(ticket)


def untold(telling: Telling) -> dict[str, list[int]]:
    return {name: [row.records for row in one.rows] for name, one in telling.untold().items()}


def test_one_at_a_time_and_again_when_the_output_did_not_take_it() -> None:
    telling = made()
    assert list(telling.chunks()) == []
    telling.report(loss())
    assert list(telling.chunks()) == []
    ((name, chunk),) = gathered(telling)
    assert (name, chunk.tag, chunk.records) == ("out.0", LOSS_TAG, 1)
    ticket = Ticket(chunk, 100, 1)
    telling.sent(name, ticket)
    telling.report(loss(2))
    assert gathered(telling) == []
    assert telling.is_telling(ticket)
    assert untold(telling) == {"out.0": [1, 2]}
    telling.finished(ticket)
    ((_, again),) = gathered(telling)
    assert (again.id, again.entries) == (chunk.id, chunk.entries)
    take(telling, name, again)
    ((_, second),) = gathered(telling)
    assert told(second) == 2
    take(telling, name, second)
    assert gathered(telling) == []
    assert telling.untold() == {"out.0": Untold()}


def test_what_was_told_before_a_crash_is_told_in_the_same_chunk() -> None:
    telling = made()
    telling.report(loss())
    ((name, chunk),) = gathered(telling)
    telling.sent(name, Ticket(chunk, 100, 1))
    telling.report(loss(2))
    kept = {name: unpacked(one.packed()) for name, one in telling.untold().items()}
    after = made()
    after.restore(kept)
    after.report(loss(3))
    ((_, again),) = gathered(after)
    assert (again.id, again.entries) == (chunk.id, chunk.entries)
    take(after, name, again)
    ((_, rest),) = gathered(after)
    assert (rest.id != chunk.id, told(rest)) == (True, 5)


def test_one_that_takes_nothing_keeps_no_other_from_hearing() -> None:
    telling = made("dead", "alive")
    for number in range(5):
        telling.report(loss())
        for name, chunk in gathered(telling):
            if name == "alive":
                assert told(chunk) == 1
                take(telling, name, chunk)
            else:
                assert number == 0
                telling.sent(name, Ticket(chunk, 100, 1))
    assert untold(telling) == {"dead": [1, 4], "alive": []}


def test_who_is_new_hears_what_one_that_is_gone_had_not_heard() -> None:
    telling = made("dead", "alive")
    telling.report(loss(7))
    telling.listen(["alive", "heir"])
    assert untold(telling) == {"alive": [7], "heir": [7]}
    other = made("alive", "second")
    heard = Untold(waiting=(loss(7),))
    other.restore({"alive": Untold(), "heir": heard, "gone": Untold(Batch((loss(7),), 5))})
    assert untold(other) == {"alive": [], "second": [7]}


def test_said_once_in_a_while_with_the_sum(caplog: pytest.LogCaptureFixture) -> None:
    telling = made()
    telling.report(loss())
    telling.say(100.0)
    for now_s in range(100, 110):
        telling.report(loss(2))
        telling.say(now_s + 0.5)
    assert caplog.messages == ["out.0 lost 1 records (shed)"]
    telling.report(Loss("rejected", 1, 10, "kube.a", "out.0"))
    telling.say(109.9)
    telling.say(110.0)
    telling.report(loss(3))
    telling.say_all()
    assert caplog.messages[1:] == [
        "out.0 lost 1 records (rejected)",
        "out.0 lost 20 records (shed)",
        "out.0 lost 3 records (shed)",
    ]


def test_a_loss_of_unknown_size_is_told_and_no_line_counts_it(caplog: pytest.LogCaptureFixture) -> None:
    telling = made()
    telling.report(loss(0))
    telling.say(100.0)
    telling.say_all()
    assert caplog.messages == []
    ((_, chunk),) = gathered(telling)
    assert (chunk.records, told(chunk)) == (1, 0)
