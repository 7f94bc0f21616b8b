"""Responses in any pieces: heads, bodies by length, in chunks, until the end; and what is none."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.outputs.connector import ProtocolError
from collector.outputs.http_response import MAX_HEAD_BYTES, Response, ResponseReader

WHOLE = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello",
    "chunks": b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("name", WHOLE)
@given(cuts=st.lists(st.integers(0, 200), max_size=8))
def test_a_response_in_any_pieces(name: str, cuts: list[int]) -> None:
    data = WHOLE[name]
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    reader, found = ResponseReader(1000), None
    for begin, end in itertools.pairwise(edges):
        assert found is None or begin == len(data)
        found = reader.feed(data[begin:end]) or found
    assert found is not None
    assert (found.body, found.reusable) == (b"hello", True)
    assert found.is_success == (name != "chunks")


def read(data: bytes, max_body_bytes: int = 1000) -> Response | None:
    return ResponseReader(max_body_bytes).feed(data)


def test_repeated_headers_are_joined() -> None:
    found = read(WHOLE["length"])
    assert found is not None
    assert found.headers == {"content-length": "5", "x-a": "1, 2"}


def test_no_body_where_there_is_none() -> None:
    found = read(b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n")
    assert found is not None
    assert (found.status, found.reason, found.body, found.reusable) == (204, "No Content", b"", True)


def test_until_the_end_of_the_connection() -> None:
    reader = ResponseReader(1000)
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    ended = reader.end()
    assert (ended.body, ended.reusable) == (b"hello", False)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_whether_the_connection_is_kept(head: bytes, reusable: bool) -> None:
    found = read(head + b"Content-Length: 0\r\n\r\n")
    assert found is not None
    assert found.reusable is reusable


def test_more_than_the_response_spoils_the_connection() -> None:
    found = read(WHOLE["length"] + b"HTTP")
    assert found is not None
    assert not found.reusable


def test_a_large_body_is_read_to_its_end_and_kept_in_part() -> None:
    found = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, 1000)
    assert found is not None
    assert (len(found.body), found.reusable) == (1000, True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (MAX_HEAD_BYTES + 1),
    ],
)
def test_what_is_no_response(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="sent"):
        read(data)


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        reader = ResponseReader(1000)
        with contextlib.suppress(ProtocolError):
            reader.feed(prefix + data)
            reader.end()


def test_an_end_too_early() -> None:
    for data in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"):
        reader = ResponseReader(1000)
        reader.feed(data)
        assert reader.has_begun == bool(data)
        with pytest.raises(ProtocolError, match="within its response"):
            reader.end()
