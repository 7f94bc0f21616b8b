"""Events as the API server sends them: pages, lines of a watch, and which time counts."""

from __future__ import annotations

import calendar
import json
from typing import Any

import pytest

from collector.inputs.cluster_events import (
    is_newer,
    read_change,
    read_page,
    read_time_ns,
    time_ns_of,
    version_of,
)
from collector.kubernetes.objects import UnreadableObject
from tests.api_server import EXPIRED, GOLDEN, recorded


def test_a_recorded_page() -> None:
    page = read_page((GOLDEN / "events.json").read_bytes())
    assert page.objects == recorded("events")
    assert (page.version, page.rest) == ("", "")
    more = read_page(b'{"metadata": {"resourceVersion": "7", "continue": "x/y"}, "items": null}')
    assert (more.objects, more.version, more.rest) == ([], "7", "x/y")


def test_keys_stay_in_their_order() -> None:
    (event,) = read_page(b'{"metadata": {}, "items": [{"z": 1, "a": {"y": 1, "b": 2}}]}').objects
    assert json.dumps(event) == '{"z": 1, "a": {"y": 1, "b": 2}}'


def test_changes() -> None:
    event = {"metadata": {"resourceVersion": "9"}, "reason": "Pulled"}
    for kind, told in (("ADDED", event), ("MODIFIED", event), ("DELETED", None), ("BOOKMARK", None)):
        change = read_change(json.dumps({"type": kind, "object": event}).encode())
        assert (change.version, change.object, change.code) == ("9", told, 0)
    gone = read_change(EXPIRED)
    assert (gone.version, gone.object, gone.code) == ("", None, 410)
    assert gone.message.startswith("too old resource version")


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"\xff", b'{"metadata": 1}', b'{"metadata": {}, "items": 1}', b"[" * 100_000]
)
def test_what_is_no_page(text: bytes) -> None:
    with pytest.raises(UnreadableObject):
        read_page(text)


@pytest.mark.parametrize("text", [b"{}", b'{"type": 1, "object": {}}', b'{"type": "ADDED", "object": 1}'])
def test_what_is_no_change(text: bytes) -> None:
    with pytest.raises(UnreadableObject):
        read_change(text)


LAST, FIRST, MADE = ("2026-11-24T00:14:0" + digit + "Z" for digit in "321")
BASE_NS = calendar.timegm((2026, 11, 24, 0, 14, 0)) * 10**9


@pytest.mark.parametrize(
    ("event", "seconds"),
    [
        ({"lastTimestamp": LAST, "firstTimestamp": FIRST, "metadata": {"creationTimestamp": MADE}}, 3),
        ({"lastTimestamp": None, "firstTimestamp": FIRST, "metadata": {"creationTimestamp": MADE}}, 2),
        ({"lastTimestamp": None, "firstTimestamp": None, "metadata": {"creationTimestamp": MADE}}, 1),
        ({"lastTimestamp": "yesterday", "firstTimestamp": 5, "metadata": {"creationTimestamp": MADE}}, 1),
    ],
)
def test_the_time_of_an_event(event: dict[str, Any], seconds: int) -> None:
    assert time_ns_of(event, 0) == BASE_NS + seconds * 10**9


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        ("1970-01-01T00:00:02Z", 2 * 10**9),
        ("1970-01-01T00:00:02.000005Z", 2 * 10**9 + 5000),
        ("1970-01-01T00:00:02", None),
        ("1970-13-01T00:00:02Z", None),
        (5, None),
    ],
)
def test_times(written: object, ns: int | None) -> None:
    assert read_time_ns(written) == ns


def test_an_event_without_a_time() -> None:
    assert time_ns_of({"metadata": None}, 7) == 7
    assert version_of({"metadata": None}) == version_of({}) == ""


def test_versions() -> None:
    assert is_newer("10", "9")
    assert not is_newer("9", "9")
    assert not is_newer("9", "10")
    assert is_newer("abc", "9")
