"""Header lists of collector.cri.hpack, against the RFC's examples and what no peer should send."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.cri import hpack


@pytest.mark.parametrize(
    ("block", "headers"),
    [  # RFC 7541, C.2, C.3.1 and C.4.1
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", [("custom-key", "custom-header")]),
        ("040c2f73616d706c652f70617468", [(":path", "/sample/path")]),
        ("100870617373776f726406736563726574", [("password", "secret")]),
        ("82", [(":method", "GET")]),
        (
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
        ),
        ("2088", [(":status", "200")]),
        ("", []),
    ],
)
def test_examples(block: str, headers: list[tuple[str, str]]) -> None:
    assert hpack.decode(bytes.fromhex(block)) == headers


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("80", "header 0 of a table"),
        ("be", "header 62 of a table"),
        ("7e0161", "header 62 of a table"),
        ("3fe11f", "another size of the table"),
        ("8820", "another size of the table"),
        ("0005", "cut"),
        ("00056162", "cut"),
        ("000161", "cut"),
        ("00", "cut"),
        ("ff80", "cut"),
        ("ffffffffffff7f", "too large"),
        ("88" * 65, "more than 64 headers"),
        ("0081000161", "text is cut"),
    ],
)
def test_what_is_refused(block: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        hpack.decode(bytes.fromhex(block))


@given(st.lists(st.tuples(st.text(), st.text(max_size=400)), max_size=20))
def test_what_is_written_is_read(headers: list[tuple[str, str]]) -> None:
    assert hpack.decode(hpack.encode(headers)) == headers


@given(st.binary(max_size=60))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        hpack.decode(data)
