"""What every plugin section has: Match, Retry_Limit, Log_Level."""

from __future__ import annotations

import pytest

from collector.config.instances import FilterCommon, InputCommon, OutputCommon
from collector.config.schema import InvalidConfiguration, load
from collector.config.sections import Entry, Section


def section(kind: str, **entries: str) -> Section:
    return Section(kind, "a.conf", 1, tuple(Entry(key, value, "a.conf", 2) for key, value in entries.items()))


def test_match_and_match_regex_are_alternatives() -> None:
    common = load(FilterCommon, section("FILTER", Name="x", Match="kube.*", Match_Regex="^host\\.[a-z]+$"))
    assert [tag for tag in ("kube.a", "host.a", "host.1", "xkube.a") if common.matches(tag)] == [
        "kube.a",
        "host.a",
    ]


def test_without_either_nothing_would_match() -> None:
    with pytest.raises(InvalidConfiguration, match=r"^a\.conf:1: \[OUTPUT\] has no Match"):
        load(OutputCommon, section("OUTPUT", Name="x"))


@pytest.mark.parametrize(
    ("written", "limit"),
    [("3", 3), ("no_limits", None), ("False", None), ("no_retries", 0), ("NO_LIMITS", None)],
)
def test_retry_limits(written: str, limit: int | None) -> None:
    assert (
        load(OutputCommon, section("OUTPUT", Name="x", Match="*", Retry_Limit=written)).retry_limit == limit
    )


@pytest.mark.parametrize("written", ["-1", "0", "1.5", "always"])
def test_no_retry_limits(written: str) -> None:
    with pytest.raises(InvalidConfiguration, match="1 or more, or no_limits or no_retries"):
        load(OutputCommon, section("OUTPUT", Name="x", Match="*", Retry_Limit=written))


def test_inputs() -> None:
    common = load(
        InputCommon, section("INPUT", Name="x", Tag="a.*", Mem_Buf_Limit="50MB", Log_Level="Warning")
    )
    assert (common.tag, common.mem_buf_limit_bytes, common.log_level) == ("a.*", 50_000_000, "warn")
