"""Zones by number, by abbreviation and by military letter."""

from __future__ import annotations

import pytest

from collector.parsers.zones import zone_offset_s


@pytest.mark.parametrize(
    ("written", "hours"),
    [
        ("Z", 0),
        ("+0200", 2),
        ("-05:30", -5.5),
        ("+02", 2),
        ("EST", -5),
        ("pdt", -7),
        ("CEST", 2),
        ("IST", 5.5),
        ("NPT", 5.75),
        ("NST", -3.5),
        ("JST", 9),
        ("A", 1),
        ("I", 9),
        ("k", 10),
        ("M", 12),
        ("N", -1),
        ("Y", -12),
    ],
)
def test_zones(written: str, hours: float) -> None:
    assert zone_offset_s(written) == hours * 3600


@pytest.mark.parametrize("written", ["", "x1", "+2", "J", "ESTX", "Europe/Berlin", "+02:0"])
def test_what_is_no_zone(written: str) -> None:
    assert zone_offset_s(written) is None
