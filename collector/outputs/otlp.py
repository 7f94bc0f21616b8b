"""Records as OTLP log records, and what a collector answers.

Source: opentelemetry-proto, opentelemetry/proto/{common,resource,logs}/v1 and
collector/logs/v1; which value goes where, Fluent Bit's plugins/out_opentelemetry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from collector import protobuf
from collector.accessor import ABSENT, Accessor, without
from collector.entries import Pairs
from collector.outputs.text import MAX_DEPTH, TOO_DEEP, plain_text

_SEVERITIES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
_MOST_SEVERE = 24


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which values of a record are what in a log record."""

    bodies: tuple[Accessor, ...]  # the first that is there; the whole record where none is
    rest_as_attributes: bool = False
    severity_text: Accessor | None = None
    severity_number: Accessor | None = None
    trace_id: Accessor | None = None
    span_id: Accessor | None = None

    def log_record(self, time_ns: int, observed_ns: int, record: Pairs) -> bytes:
        """A LogRecord."""
        parts = [protobuf.fixed64(1, time_ns)]
        severity = _text_of(self.severity_text, record)
        number = self._severity_number(record, severity)
        if number:
            parts.append(protobuf.integer(2, number))
        if severity:
            parts.append(protobuf.text(3, severity))
        body, attributes = self._body(record)
        parts.append(protobuf.chunk(5, any_value(body)))
        parts += [protobuf.chunk(6, key_value(name, value)) for name, value in attributes]
        for field, accessor, size in ((9, self.trace_id, 16), (10, self.span_id, 8)):
            ident = _ident(accessor, record, size)
            if ident:
                parts.append(protobuf.chunk(field, ident))
        parts.append(protobuf.fixed64(11, observed_ns))
        return b"".join(parts)

    def _body(self, record: Pairs) -> tuple[Any, Pairs]:
        for accessor in self.bodies:
            value = accessor.value(record)
            if value is not ABSENT:
                return value, without(record, [accessor]) if self.rest_as_attributes else []
        return _Map(record), []

    def _severity_number(self, record: Pairs, severity: str) -> int:
        value = self.severity_number.value(record) if self.severity_number else ABSENT
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_SEVERE:
            return value
        return _SEVERITIES.get(severity.upper(), 0)


@dataclass(frozen=True, slots=True)
class _Map:
    """Pairs of a record, which may repeat a key."""

    pairs: Pairs


def _text_of(accessor: Accessor | None, record: Pairs) -> str:
    value = accessor.value(record) if accessor else ABSENT
    return plain_text(value) if isinstance(value, str | bytes) else ""


def _ident(accessor: Accessor | None, record: Pairs, size: int) -> bytes:
    """An id of `size` bytes, or that many pairs of hex digits; b"" for what is neither."""
    value = accessor.value(record) if accessor else ABSENT
    if isinstance(value, bytes) and len(value) == size:
        return value
    if isinstance(value, str) and len(value) == 2 * size:
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    return b""


def key_value(name: Any, value: Any, depth: int = 0) -> bytes:
    """A KeyValue."""
    return protobuf.text(1, plain_text(name)) + protobuf.chunk(2, any_value(value, depth))


def any_value(value: Any, depth: int = 0) -> bytes:
    """An AnyValue; empty for null. What is no UTF-8 has U+FFFD, and an integer beyond 64 bits is a text."""
    if value is None:
        return b""
    if depth > MAX_DEPTH:
        return protobuf.text(1, TOO_DEEP)
    if isinstance(value, bool):
        return protobuf.integer(2, value)
    if isinstance(value, int):
        return protobuf.integer(3, value) if -(1 << 63) <= value < 1 << 63 else protobuf.text(1, str(value))
    if isinstance(value, float):
        return protobuf.double(4, value)
    if isinstance(value, msgpack.ExtType | bytes):
        return protobuf.chunk(7, value if isinstance(value, bytes) else value.data)
    if isinstance(value, list | tuple):
        return protobuf.chunk(5, b"".join(protobuf.chunk(1, any_value(one, depth + 1)) for one in value))
    if isinstance(value, dict | _Map):
        pairs = value.items() if isinstance(value, dict) else value.pairs
        inside = (protobuf.chunk(1, key_value(name, inner, depth + 1)) for name, inner in pairs)
        return protobuf.chunk(6, b"".join(inside))
    return protobuf.text(1, plain_text(value))


def request(attributes: Iterable[tuple[str, str]], records: Sequence[bytes]) -> bytes:
    """An ExportLogsServiceRequest with one resource and one scope."""
    resource = b"".join(protobuf.chunk(1, key_value(name, value)) for name, value in attributes)
    scope = b"".join(protobuf.chunk(2, record) for record in records)
    return protobuf.chunk(1, protobuf.chunk(1, resource) + protobuf.chunk(2, scope))


def refused(response: bytes) -> tuple[int, str]:
    """Of an ExportLogsServiceResponse: how many records were refused, and why; 0 for what is none."""
    try:
        partial = protobuf.fields(response).get(1, b"")
        inside = protobuf.fields(partial) if isinstance(partial, bytes) else {}
    except ValueError:
        return 0, ""
    count, reason = inside.get(1, 0), inside.get(2, b"")
    return count if isinstance(count, int) else 0, plain_text(reason)
