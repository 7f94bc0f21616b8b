"""What stands still: what makes /readyz fail, what /livez."""

from __future__ import annotations

from collector.service.stalls import Stall, dead, longest, unready

WAITS = Stall("forward.0", "it waits", 10.0, False)
HANGS = Stall("tail.0", "it hangs", 31.0, True)


def test_ready_at_the_limit_and_not_beyond() -> None:
    assert list(unready([WAITS, HANGS], 31.0)) == []
    assert list(unready([WAITS, HANGS], 10.0)) == ["tail.0: for 31 s: it hangs"]
    assert len(list(unready([WAITS, HANGS], 9.9))) == 2


def test_dead_is_only_what_stands_still_by_itself_and_for_long() -> None:
    assert list(dead([WAITS, HANGS], 10.4)) == []
    assert list(dead([WAITS, HANGS], 10.3)) == ["tail.0: for 31 s: it hangs"]
    assert list(dead([WAITS, WAITS], 0.1)) == []


def test_the_longest_of_each_subject() -> None:
    found = longest([WAITS, WAITS._replace(age_s=4), HANGS], ["forward.0", "tail.0", "null.0"])
    assert found == {"forward.0": 10.0, "tail.0": 31.0, "null.0": 0.0}
