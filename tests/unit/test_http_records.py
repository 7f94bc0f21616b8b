"""What requests to the input http hold: JSON in its forms, forms, and bodies that are refused."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.entries import Pairs
from collector.inputs.http_records import BadBody, records, tag_in, tag_of, unpacked

JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b'{"a": 1}', JSON, [[("a", 1)]]),
        (
            b' [{"a": 1}, {"b": [2, {"c": null}]} ] ',
            "application/json; charset=utf-8",
            [[("a", 1)], [("b", [2, {"c": None}])]],
        ),
        (b"[]", JSON, []),
        (b'{"a":1}\n\n{"a":2}\n', "application/x-ndjson", [[("a", 1)], [("a", 2)]]),
        (b'{"a":1}\n{"a":2}\n', JSON, [[("a", 1)], [("a", 2)]]),
        (b'{"a":"}{"}{"b":1,"b":2}', JSON, [[("a", "}{")], [("b", 1), ("b", 2)]]),
        (
            b"a=1&b=x+y%21&a=2&c=",
            "application/x-www-form-urlencoded",
            [[("a", "1"), ("b", "x y!"), ("a", "2"), ("c", "")]],
        ),
        ('{"é": "ß"}'.encode(), JSON, [[("é", "ß")]]),
        (b'{"a": 1, "a": 18446744073709551615}', JSON, [[("a", 1), ("a", 2**64 - 1)]]),
    ],
)
def test_bodies(body: bytes, kind: str, expected: list[Pairs]) -> None:
    assert records(body, kind) == expected


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"{", JSON, "the body is no JSON"),
        (b"", JSON, "the body is no JSON"),
        (b'{"a": 1} {', JSON, "the body is no JSON"),
        (b'{"a": 1} 5', JSON, "record 2 is no JSON object"),
        (b"5", JSON, "record 1 is no JSON object"),
        (b'[{"a": 1}, 5]', JSON, "record 2 is no JSON object"),
        (b'[{"a": 1} {"b": 2}]', JSON, "the body is no JSON"),
        (b'[{"a": 1}] x', JSON, "the body is no JSON"),
        (b"[" * 100_000, JSON, "the body is no JSON"),
        (b"\xff", JSON, "the body is no JSON"),
        (b"a=1", "text/plain", "the Content-Type text/plain is not one that is read"),
        (b"a=1&" * 2000, "application/x-www-form-urlencoded", "the body is no form"),
    ],
)
def test_bodies_that_are_refused(body: bytes, kind: str, reason: str) -> None:
    with pytest.raises(BadBody, match=reason):
        records(body, kind)


def test_compressed_bodies_are_bounded() -> None:
    packed = zlib.compress(b"x" * 1_000_000, wbits=31)
    assert unpacked(packed, "gzip", 1_000_000) == b"x" * 1_000_000
    assert unpacked(b"as it is", "", 10) == b"as it is"
    for body, encoding, reason in (
        (packed, "GZIP", "larger than 1000 bytes once it is unpacked"),
        (b"none", "gzip", "the body is not gzip"),
        (b"none", "br", "the Content-Encoding br is not one"),
    ):
        with pytest.raises(BadBody, match=reason):
            unpacked(body, encoding, 1000)


def test_tags() -> None:
    assert [tag_of(path) for path in ("/", "/app.log", "/a/b-c", "/\x1b[1m")] == [
        "",
        "app.log",
        "a_b_c",
        "__1m",
    ]
    assert len(tag_of("/" + "x" * 9000)) == 1024
    record: Pairs = [("t", "kube.a\n"), ("n", 5), ("empty", "")]
    assert [tag_in(record, key) for key in ("t", "n", "empty", "none")] == ["kube.a_", None, None, None]


@given(
    st.binary(max_size=100),
    st.sampled_from([JSON, "application/x-ndjson", "application/x-www-form-urlencoded"]),
)
def test_any_bytes_are_records_or_refused(body: bytes, kind: str) -> None:
    try:
        found = records(body, kind)
    except BadBody:
        return
    assert all(isinstance(record, list) for record in found)


OBJECTS = st.dictionaries(
    st.text(max_size=4), st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4), max_size=3
)


@given(st.lists(OBJECTS, max_size=4), st.sampled_from([None, 2]))
def test_what_is_written_is_read_back(written: list[dict[str, object]], indent: int | None) -> None:
    text = json.dumps(written, indent=indent)
    assert [dict(record) for record in records(text.encode(), JSON)] == written
