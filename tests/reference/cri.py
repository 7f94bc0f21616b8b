"""A CRI log line as ext/cri.c reads it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

TIME = (
    rb"(?P<time>(?P<minute>\d{4}-\d\d-\d\dT\d\d:\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?"
    rb"(?:Z|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d)))"
)
LINE = re.compile(
    TIME + rb" (?P<stream>stdout|stderr)"
    rb" (?P<logtag>[FP](?::[^ ]{0,62})?)"
    rb" (?P<content>.*)",
    re.DOTALL,
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CriLine(NamedTuple):
    time: bytes
    time_ns: int
    stream: bytes
    logtag: bytes
    content: bytes

    @property
    def is_partial(self) -> bool:
        return self.logtag.startswith(b"P")


def parse_line(line: bytes) -> CriLine | None:
    """None: the line does not have the form, or no time of the years 1970 to 2106."""
    match = LINE.fullmatch(line)
    if not match:
        return None
    time_ns = _time_ns(match)
    if time_ns is None:
        return None
    return CriLine(match["time"], time_ns, match["stream"], match["logtag"], match["content"])


def parse_time(text: bytes) -> int | None:
    """An RFC 3339 time of those years in nanoseconds."""
    match = re.fullmatch(TIME, text)
    return _time_ns(match) if match else None


def _time_ns(match: re.Match[bytes]) -> int | None:
    second = int(match["second"])  # 60: a leap second
    hours, minutes = int(match["hours"] or 0), int(match["minutes"] or 0)
    if second > 60 or hours > 23 or minutes > 59:
        return None
    try:
        minute = datetime.strptime(match["minute"].decode(), "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    zone = timedelta(hours=hours, minutes=minutes)
    if match["sign"] == b"-":
        zone = -zone
    seconds = (minute - EPOCH) // timedelta(seconds=1) + second - zone // timedelta(seconds=1)
    if not 0 <= seconds < 1 << 32:
        return None
    return seconds * 1_000_000_000 + int((match["fraction"] or b"0").ljust(9, b"0"))
