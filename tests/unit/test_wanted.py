"""collector.cri.wanted: how long a runtime is asked for a container."""

from __future__ import annotations

from collector.cri.wanted import MAX_WANTED, TRIES, UNKNOWN_S, Wanted


def test_a_wish_is_new_once_and_over_when_it_is_known() -> None:
    wanted = Wanted()
    assert wanted.since_s() is None
    assert wanted.want("a", 1.0)
    assert not wanted.want("a", 2.0)
    assert wanted.want("b", 3.0)
    assert wanted.since_s() == 1.0
    wanted.listed({"a"}.__contains__, 4.0)
    assert wanted.since_s() == 3.0


def test_what_the_runtime_does_not_have_is_left_alone_for_a_while() -> None:
    wanted = Wanted()
    wanted.want("docker's", 0.0)
    for at in range(TRIES):
        assert wanted.since_s() == 0.0
        wanted.listed(set[str]().__contains__, float(at))
    assert wanted.since_s() is None
    given_up_s = float(TRIES - 1)
    assert not wanted.want("docker's", given_up_s + UNKNOWN_S - 0.1)
    assert wanted.want("docker's", given_up_s + UNKNOWN_S)


def test_an_event_is_no_try() -> None:
    wanted = Wanted()
    wanted.want("a", 0.0)
    for _ in range(2 * TRIES):
        wanted.listed(set[str]().__contains__, None)
    assert wanted.since_s() == 0.0


def test_bounded() -> None:
    wanted = Wanted()
    assert sum(wanted.want(str(one), 0.0) for one in range(MAX_WANTED + 10)) == MAX_WANTED
    for _ in range(TRIES):
        wanted.listed(set[str]().__contains__, 0.0)
    assert wanted.want("more", 0.0)
    for _ in range(TRIES):
        wanted.listed(set[str]().__contains__, 0.0)
    assert wanted.want("0", 0.0)  # the oldest that was given up is forgotten
    assert not wanted.want("1", 0.0)
