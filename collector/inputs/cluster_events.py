"""Events of a cluster as the API server sends them: in pages of a list, and in lines of a watch.

Events are core/v1 Event objects. A record is the whole object, keys in the server's order.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import Any

import msgspec

from collector.kubernetes.objects import Change, Page, UnreadableObject

Event = dict[str, Any]
_TIME = re.compile(r"(?P<seconds>[0-9T:-]+)(?:\.(?P<fraction>[0-9]{1,9}))?Z")


def read_page(text: bytes) -> Page[Event]:
    """Raises UnreadableObject."""
    page = _decoded(text)
    metadata, events = page.get("metadata"), page.get("items") or []
    if not isinstance(metadata, dict) or not isinstance(events, list):
        raise UnreadableObject("it is no list of events")
    version, rest = metadata.get("resourceVersion"), metadata.get("continue")
    there = [one for one in events if isinstance(one, dict)]
    return Page(there, str(version or ""), str(rest or ""))


def read_change(line: bytes) -> Change[Event]:
    """What is deleted was told before, so that of it, as of a bookmark, only the version counts.

    Raises UnreadableObject.
    """
    change = _decoded(line)
    kind, event = change.get("type"), change.get("object")
    if not isinstance(kind, str) or not isinstance(event, dict):
        raise UnreadableObject("it is no change of an event")
    if kind == "ERROR":
        code = event.get("code")
        message = str(event.get("message") or "")
        return Change(kind, code=code if isinstance(code, int) else 0, message=message)
    is_news = kind in ("ADDED", "MODIFIED")
    return Change(kind, version_of(event), event if is_news else None)


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as reason:
        raise UnreadableObject(str(reason)) from None
    if not isinstance(found, dict):
        raise UnreadableObject("it is no object")
    return found


def version_of(event: Event) -> str:
    metadata = event.get("metadata")
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""


def is_newer(version: str, than: str) -> bool:
    """Versions are numbers that grow, as Fluent Bit takes them too; what is none may be newer."""
    return not (version.isdecimal() and than.isdecimal()) or int(version) > int(than)


def time_ns_of(event: Event, now_ns: int) -> int:
    """When it happened last, else first, else when it was made, as Fluent Bit has it; else `now_ns`."""
    metadata = event.get("metadata")
    made = metadata.get("creationTimestamp") if isinstance(metadata, dict) else None
    for written in (event.get("lastTimestamp"), event.get("firstTimestamp"), made):
        found = read_time_ns(written)
        if found is not None:
            return found
    return now_ns


def read_time_ns(written: object) -> int | None:
    """Since the epoch; None for what is no time. `eventTime` has microseconds, the others seconds."""
    found = _TIME.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        return None
    try:
        seconds = calendar.timegm(time.strptime(found["seconds"], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
    return seconds * 10**9 + int((found["fraction"] or "0").ljust(9, "0"))
