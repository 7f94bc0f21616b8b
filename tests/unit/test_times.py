"""Time_Format: what strftime writes is read back; Fluent Bit's fractions; times without a year or zone."""

from __future__ import annotations

import calendar
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.parsers.times import MAX_TEXT_BYTES, TimeFormat

NS = 10**9
NOW_NS = calendar.timegm((2026, 11, 28, 12, 0, 0)) * NS


def read(written: str, text: str, **more: object) -> int | None:
    return TimeFormat.compile(written, **more).read(text, NOW_NS)  # type: ignore[arg-type]


def utc(*parts: int) -> int:
    return calendar.timegm((*parts, 0, 0, 0)[:6]) * NS


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        ("%Y-%m-%dT%H:%M:%S.%L%z", "2026-11-24T01:02:03.5Z", utc(2026, 11, 24, 1, 2, 3) + 5 * 10**8),
        (
            "%Y-%m-%dT%H:%M:%S.%L%z",
            "2026-11-24T01:02:03.123456789+01:00",
            utc(2026, 11, 24, 0, 2, 3) + 123456789,
        ),
        ("%Y-%m-%dT%H:%M:%S.%L", "2026-11-24T01:02:03.000000001Z", utc(2026, 11, 24, 1, 2, 3) + 1),
        ("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", utc(2000, 10, 10, 20, 55, 36)),
        ("%a %b %d %H:%M:%S %Y", "Wed Oct 11 14:32:52 2000", utc(2000, 10, 11, 14, 32, 52)),
        ("%s", "1700000000", 1_700_000_000 * NS),
        ("%s.%L", "1700000000.25", 1_700_000_000 * NS + NS // 4),
        ("%Y-%j", "2024-366", utc(2024, 12, 31)),
        ("%y%m%d %I:%M %p", "260101 12:30 AM", utc(2026, 1, 1, 0, 30)),
        ("%D %r", "01/02/69 01:02:03 pm", utc(1969, 1, 2, 13, 2, 3)),
        ("%F %T %Z", "2026-01-01 00:00:00 EST", utc(2026, 1, 1, 5)),
        ("%F %T.%L %Z", "2026-07-01 00:00:00.5 CEST", utc(2026, 6, 30, 22) + NS // 2),
        ("%F %T%z", "2026-01-01 00:00:00 +0100", utc(2025, 12, 31, 23)),
        ("%FT%TZ", "2026-01-01T00:00:00Z", utc(2026, 1, 1)),
        ("%B %e, %Y", "february  9, 2026", utc(2026, 2, 9)),
        ("100%% %Y", "100% 2026", utc(2026, 1, 1)),
        ("%H:%M", "7:5", None),  # without a year: see below
    ],
)
def test_texts(written: str, text: str, expected: int | None) -> None:
    if expected is None:
        assert read(written, text) == utc(2026, 11, 28, 7, 5)
    else:
        assert read(written, text) == expected


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("%Y-%m-%d", "2026-02-30"),
        ("%Y-%m-%d", "2026-13-01"),
        ("%H:%M:%S", "24:00:00"),
        ("%b", "Okt"),
        ("%z", "+1"),
        ("%Y", ""),
        ("%Y-%m-%dT%H:%M:%S.%L", "2026-01-01T00:00:00Z"),
        ("%s", "x" * (MAX_TEXT_BYTES + 1)),
    ],
)
def test_texts_that_are_no_such_time(written: str, text: str) -> None:
    assert read(written, text) is None


def test_not_strict_what_fits_counts() -> None:
    found = read("%Y-%m-%dT%H:%M:%S.%L", "2026-01-01T00:00:07Z", is_strict=False)
    assert found == utc(2026, 1, 1, 0, 0, 7)


def test_a_time_without_a_year_is_of_this_one_or_the_last() -> None:
    assert read("%b %d %H:%M:%S", "Nov 28 11:00:00") == utc(2026, 11, 28, 11)
    assert read("%b %d %H:%M:%S", "Jan  5 11:00:00") == utc(2026, 1, 5, 11)
    assert read("%b %d %H:%M:%S", "Dec 31 23:59:59") == utc(2025, 12, 31, 23, 59, 59)


def test_zones_of_the_configuration_count_where_the_text_has_none() -> None:
    assert read("%F %T", "2026-01-01 00:00:00", offset_s=-3600) == utc(2026, 1, 1, 1)
    assert read("%F %T %z", "2026-01-01 00:00:00 +0000", offset_s=-3600) == utc(2026, 1, 1)


def test_the_zone_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert read("%F %T", "2026-07-01 12:00:00", is_local=True) == utc(2026, 7, 1, 10)
        assert read("%F %T", "2026-01-01 12:00:00", is_local=True) == utc(2026, 1, 1, 11)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("written", ["%Q", "%", "%Y%E"])
def test_formats_that_are_none(written: str) -> None:
    with pytest.raises(ValueError, match="which is no part of a time"):
        TimeFormat.compile(written)


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2068, 12, 30), timezones=ZONES)
FORMATS = st.sampled_from(
    [
        "%Y-%m-%dT%H:%M:%S%z",
        "%d/%b/%Y:%H:%M:%S %z",
        "%A, %d %B %Y %I:%M:%S %p %z",
        "%y%m%d%H%M%S%z",
        "%c %z",
        "%D %T %z",
        "%Y %j %R:%S %z",
        "%s",
    ]
)


@given(MOMENTS, FORMATS)
def test_what_strftime_writes_is_read_back(moment: datetime, written: str) -> None:
    text = str(int(moment.timestamp())) if written == "%s" else moment.strftime(written)
    assert read(written, text) == int(moment.replace(microsecond=0).astimezone(UTC).timestamp()) * NS


@given(st.text(max_size=70), FORMATS)
def test_any_text_is_a_time_or_none(text: str, written: str) -> None:
    for is_strict in (True, False):
        read(written, text, is_strict=is_strict)
