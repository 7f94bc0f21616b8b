"""The wire format against Google's library."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.internal.encoder import _VarintEncoder  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector import protobuf


@given(st.integers(0, 2**64 - 1))
def test_numbers(value: int) -> None:
    written: list[bytes] = []
    _VarintEncoder()(written.append, value)
    assert protobuf.varint(value) == b"".join(written)
    assert protobuf.fields(protobuf.integer(3, value)) == {3: value}


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary())
def test_fields(number: int, real: float, text: str, raw: bytes) -> None:
    assert AnyValue.FromString(protobuf.integer(3, number)).int_value == number
    assert AnyValue.FromString(protobuf.double(4, real)).double_value == real
    assert AnyValue.FromString(protobuf.text(1, text)).string_value == text
    assert AnyValue.FromString(protobuf.chunk(7, raw)).bytes_value == raw
    both = LogRecord.FromString(protobuf.fixed64(1, number) + protobuf.fixed32(8, 5))
    assert (both.time_unix_nano, both.flags) == (number % 2**64, 5)
    assert protobuf.fields(both.SerializeToString()).get(8) == b"\x05\0\0\0"


@given(st.binary(max_size=40))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        protobuf.fields(data)


def test_what_is_cut() -> None:
    for cut in (b"\x0a\x05abc", b"\x09abc", b"\x08\x80", b"\x08" + b"\x80" * 11):
        with pytest.raises(ValueError, match=r"cut|ten bytes"):
            protobuf.fields(cut)
