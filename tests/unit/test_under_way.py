"""collector.inputs.under_way: what was received and is not handed over, by who could be the reason."""

from __future__ import annotations

import time

from collector.inputs.under_way import UnderWay


def test_the_oldest_counts_until_it_has_gone_on() -> None:
    way = UnderWay("forward.0", "message")
    assert not list(way.stalls(time.monotonic()))
    before_s = time.monotonic()
    first = way.taken()
    first.__enter__()
    first_s = time.monotonic()
    with way.taken():
        (stall,) = way.stalls(first_s + 100)
        assert (stall.subject, stall.is_own) == ("forward.0", True)
        assert 100 <= stall.age_s <= 100 + first_s - before_s
        assert stall.reason == "a message that was received is not read or filtered"
        first.__exit__(None, None, None)
        (stall,) = way.stalls(first_s + 100)
        assert stall.age_s <= 100
    assert not list(way.stalls(time.monotonic()))


def test_what_waits_for_outputs_is_not_its_own_fault() -> None:
    way = UnderWay("http.0", "request")
    with way.taken(), way.offered():
        assert [(one.is_own, one.reason) for one in way.stalls(time.monotonic())] == [
            (True, "a request that was received is not read or filtered"),
            (False, "a request waits for the outputs"),
        ]
